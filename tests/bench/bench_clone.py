# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""1,000 overlay clones by one task, with the catalog and all, against a shell loop of `qemu-img create`.

Ours are also on the disk, checked and registered when the task ends; the loop's are not.
``.venv/bin/python -m tests.bench.bench_clone [COUNT]``
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.contract.pools import make_layout
from tests.tools.collection_path import PROJECT, link_checkout

ROUNDS = 2
VIRTUAL_BYTES = 3 << 30


def make_library(pool: Path) -> tuple[Path, str]:
    """Make a pool with one published master of the usual size; return its path and its digest."""
    make_layout(pool)
    raw = pool / "source.raw"
    with raw.open("wb") as stream:
        stream.write(os.urandom(16 << 20))
        stream.truncate(VIRTUAL_BYTES)
    draft = pool / "draft.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, draft], check=True)
    raw.unlink()
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(pool / "masters" / f"{digest}.qcow2"), digest


def register(url: str, pool: Path, master: Path, digest: str) -> None:
    """Tell a new catalog of the pool and the master."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

    status = master.stat()
    place = {"path": str(master), "fingerprint": f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"}
    volume = {"name": "root", "digest": digest, "format": "qcow2", "virtual_bytes": VIRTUAL_BYTES}
    catalog = open_catalog(url)
    with catalog.transaction() as tx:
        tx.put(
            "pool",
            "localhost:default",
            {"pool": "default", "type": "dir", "path": str(pool), "shared": False, "providers": ["localhost"]}
            | {"filesystem": "", "reflink": False},
        )
        tx.put(
            "master",
            "web-v1",
            {"function": "web", "version": 1, "state": "available", "items": [], "inputs": [], "source": {}}
            | {"volumes": [{**volume, "allocated_bytes": status.st_blocks * 512}], "hardware": {}, "layout": {}}
            | {"replicas": [{"provider": "localhost", "pool": "default", "volumes": {"root": place}}]},
        )
    catalog.close()


def time_task(scratch: Path, collections: Path, state: str, names: list[str]) -> float:
    """Run module clone once, as a user would; return the seconds of the whole command."""
    clones = [{"name": name, "master": "web-v1"} for name in names]
    task = {"encompass.images.clone": {"state": state, "clones": clones}}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    (scratch / "play.json").write_text(json.dumps(play), encoding="utf-8")
    environment = {
        **os.environ,
        "HOME": str(scratch),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ENCOMPASS_CATALOG_URL": f"sqlite://{scratch}/catalog.sqlite",
    }
    command = [PROJECT / ".venv/bin/ansible-playbook", "-i", "localhost,", scratch / "play.json"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - started
    if done.returncode != 0 or "changed=1" not in done.stdout:
        raise SystemExit(f"the clones were not made:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return took_s


def time_loop(scratch: Path, master: Path, count: int) -> float:
    """Make as many overlays with qemu-img alone; return the seconds."""
    target = scratch / "loop"
    target.mkdir()
    script = 'for n in $(seq "$2"); do qemu-img create -q -f qcow2 -b "$1" -F qcow2 "$n.qcow2"; done'
    started = time.monotonic()
    subprocess.run(["sh", "-ec", script, "loop", master, str(count)], cwd=target, check=True)
    took_s = time.monotonic() - started
    shutil.rmtree(target)
    return took_s


def main() -> None:
    """Measure both in turn, the best of each counts; print the ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    scratch = Path(tempfile.mkdtemp(prefix="encompass-bench-"))
    try:
        collections = link_checkout()
        sys.path.insert(0, str(collections))
        master, digest = make_library(scratch / "pool")
        register(f"sqlite://{scratch}/catalog.sqlite", scratch / "pool", master, digest)
        names = [f"web-v1-{number}" for number in range(1, count + 1)]
        ours, loops = [], []
        for _round in range(ROUNDS):
            loops.append(time_loop(scratch, master, count))
            ours.append(time_task(scratch, collections, "present", names))
            made = len(list((scratch / "pool" / "clones").iterdir()))
            assert made == count, f"{made} clones were made instead of {count}"
            time_task(scratch, collections, "absent", names)
        ratio = min(ours) / min(loops)
        print(
            f"clone: {count} overlays, one task {min(ours):.2f} s, loop of qemu-img create {min(loops):.2f} s, "
            f"ratio {ratio:.2f} (goal <= 1.0)"
        )
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()

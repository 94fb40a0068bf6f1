# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out `make demo` and `make demo-clean`: everything else is the collection's own playbooks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from dataclasses import asdict
from pathlib import Path

from tests.lab.commands import ProcessId, read_start_time
from tests.lab.images import recipe_key
from tests.tools.collection_path import PROJECT

BIN = PROJECT / ".venv/bin"
STATE = PROJECT / ".state" / "demo"
IMAGE = STATE / "web-server.qcow2"
CATALOG = STATE / "catalog.sqlite"
DAEMONS = STATE / "daemons.json"
INVENTORY = "inventory/demo"
POOL = Path("/var/lib/encompass-demo")
NETWORK = "encompass-demo"

FAREWELL = """
The servers keep running.
  See:     .venv/bin/ansible-inventory -i inventory/demo --graph
           .venv/bin/ansible-playbook -i inventory/demo encompass.images.report
  Change:  edit inventory/demo/group_vars/all.yml (try count: 4), then
           .venv/bin/ansible-playbook -i inventory/demo encompass.images.deploy
  Remove:  make demo-clean
"""


def show() -> None:
    """Build the master's image and deploy."""
    require_root_rights()
    if POOL.exists() and not CATALOG.exists():
        raise SystemExit(
            f"demo: {POOL} is of a demo of another checkout: run make demo-clean there, or here if that one is gone"
        )
    STATE.mkdir(parents=True, exist_ok=True)
    build_image()
    before = find_daemons()
    for name in ("hypervisor", "add_master", "deploy", "report"):
        started = time.monotonic()
        play(name)
        if name == "hypervisor":
            remember_daemons(before)
        print(f"demo: {name} took {time.monotonic() - started:.0f} s", flush=True)
    print(FAREWELL, end="")


def clean() -> None:
    """Remove the servers, the master, the network and the pool."""
    require_root_rights()
    if CATALOG.exists() and POOL.exists():
        play("retire", "-e", json.dumps({"encompass_retire": ["web"]}))
        absent = {"state": "absent", "masters": [{"function": "web-server", "version": 1, "pool": POOL.name}]}
        module = ["-m", "encompass.images.master", "-a", json.dumps(absent)]
        call([f"{BIN}/ansible", "-i", INVENTORY, "this-machine", *module])
    for domain in find_domains():  # of a checkout that is gone, and its catalog with it
        for verb in ("destroy", "undefine"):
            virsh(verb, domain, check=False)
    for verb in ("net-destroy", "net-undefine"):
        virsh(verb, NETWORK, check=False)
    for process in started_daemons():
        as_root("kill", str(process.pid), check=False)
    as_root("rm", "-rf", POOL)
    as_root("rm", "-rf", STATE)
    print("demo: the servers, their master, network and pool are gone")


def build_image() -> None:
    """Build the web server image, unless it is there and made by the present recipe."""
    mark, recipe = STATE / "web-server.recipe", recipe_key("full", "")
    if IMAGE.exists() and mark.exists() and mark.read_text(encoding="ascii") == recipe:
        return
    print("demo: building a Debian web server image from Debian packages, which takes a minute or two", flush=True)
    as_root(f"{BIN}/python", "-m", "tests.lab.images", "full", IMAGE)
    mark.write_text(recipe, encoding="ascii")


def find_daemons() -> set[ProcessId]:
    """Return libvirt's daemons that run now, where no systemd minds them."""
    if Path("/run/systemd/system").exists():
        return set()
    pids = [Path("/run", f"{name}.pid") for name in ("virtlogd", "virtlockd", "libvirtd")]
    running = (int(path.read_text(encoding="ascii")) for path in pids if path.exists())
    return {ProcessId.of(pid) for pid in running if read_start_time(pid) is not None}


def remember_daemons(before: set[ProcessId]) -> None:
    """Write down what the demo started, to be ended with it."""
    started = {*started_daemons(), *(find_daemons() - before)}
    DAEMONS.write_text(json.dumps([asdict(process) for process in started]), encoding="ascii")


def started_daemons() -> list[ProcessId]:
    records = json.loads(DAEMONS.read_text(encoding="ascii")) if DAEMONS.exists() else []
    return [process for process in (ProcessId(**record) for record in records) if process.is_alive()]


def find_domains() -> list[str]:
    """Return the UUIDs of the domains that have disks in the demo's pool; none where libvirt does not answer."""
    domains = virsh("list", "--all", "--uuid", check=False).split()
    return [domain for domain in domains if f"{POOL}/" in virsh("domblklist", domain)]


def virsh(*arguments: str, check: bool = True) -> str:
    """Return what virsh prints; what it complains of is only of interest where its success is."""
    argv: list[str | Path] = [
        "sh",
        PROJECT / "tests/tools/as_root.sh",
        "virsh",
        "-q",
        "-c",
        "qemu:///system",
        *arguments,
    ]
    found = subprocess.run(argv, cwd=PROJECT, check=False, capture_output=True, text=True)
    if check and found.returncode:
        raise SystemExit(f"demo: virsh {' '.join(arguments)} failed: {found.stderr.strip()}")
    return found.stdout


def play(name: str, *arguments: str) -> None:
    call([f"{BIN}/ansible-playbook", "-i", INVENTORY, f"encompass.images.{name}", *arguments])


def call(argv: t.Sequence[str | Path], *, check: bool = True) -> None:
    """Run a command with its output on ours; end with one line when it fails."""
    code = subprocess.run(argv, cwd=PROJECT, check=False).returncode
    if check and code:
        raise SystemExit(f"demo: {' '.join(map(str, argv))} failed; the reason is above")


def as_root(*argv: str | Path, check: bool = True) -> None:
    call(["sh", PROJECT / "tests/tools/as_root.sh", *argv], check=check)


def require_root_rights() -> None:
    """Ask for sudo's password once, at the start."""
    if os.geteuid() == 0:
        return
    if shutil.which("sudo") is None:
        raise SystemExit("demo: libvirt's system instance needs root: run this as root, or install sudo")
    call(["sudo", "--validate"])


if __name__ == "__main__":
    clean() if sys.argv[1:] == ["clean"] else show()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""32 clones customized by one module run, against `virt-customize` once per clone.

virt-customize is timed on a few clones and its time scaled to all. It writes the same files and makes the same edit,
but no identity beyond the host name, keeps nothing to take it back, and reads nothing back. Run it by ``make bench`` or
``.venv/bin/python -m tests.tools.bench customize``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.contract.guests import Clone, customize, make_master

CLONES = 32
SAMPLE = 3
LIMIT_S = 600
FILES = {f"/etc/bench-{number}.conf": f"number={number}\n" for number in range(10)}
# Both without KVM, so that the ratio does not depend on whether the machine has it.
TCG = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


def time_module(clones: list[Clone]) -> float:
    """Customize all clones in one run; return the seconds."""
    items = [{"name": path, "type": "file", "path": path, "content": text} for path, text in FILES.items()]
    items.append(
        {"name": "port", "type": "regexp", "path": "/etc/app.conf", "pattern": "^port=.*", "replacement": "port=2"}
    )
    started = time.monotonic()
    options = {"clones": [clone.entry(items) for clone in clones], "virt_type": "qemu"}
    result = customize(options)
    took_s = time.monotonic() - started
    if result["failed"] or len(result["objects"]) != len(clones):
        raise SystemExit(f"the clones were not customized: {result.get('msg')}")
    return took_s


def time_virt_customize(clones: list[Clone]) -> float:
    """Customize each clone in a run of its own; return the seconds of all."""
    writes = [word for path, text in FILES.items() for word in ("--write", f"{path}:{text}")]
    edit = ["--edit", "/etc/app.conf:s/^port=.*/port=2/"]
    started = time.monotonic()
    for clone in clones:
        command = [
            "virt-customize",
            "-q",
            "--format",
            "qcow2",
            "-a",
            clone.volume,
            "--hostname",
            clone.name,
            *writes,
            *edit,
        ]
        subprocess.run(command, check=True, env={**os.environ, **TCG}, timeout=LIMIT_S, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    """Measure and print the ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CLONES
    with tempfile.TemporaryDirectory(prefix="encompass-bench-") as folder:
        scratch = Path(folder)
        master = make_master(scratch)
        before = time_virt_customize(
            [Clone.make(scratch / "raw", f"raw-{number}", master) for number in range(SAMPLE - 1)]
        )
        ours_s = time_module([Clone.make(scratch / "ours", f"ours-{number}", master) for number in range(count)])
        after = time_virt_customize([Clone.make(scratch / "raw", "raw-last", master)])
    theirs_s = (before + after) * count / SAMPLE
    print(
        f"customize: {count} clones, one run {ours_s:.1f} s; virt-customize {theirs_s:.1f} s "
        f"({SAMPLE} clones took {before + after:.1f} s, scaled); {theirs_s / ours_s:.1f} times as fast (goal >= 8)"
    )


if __name__ == "__main__":
    main()

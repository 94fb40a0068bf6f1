# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone with 1 GiB of data captured, against `qemu-img convert` of the same and what sealing costs by itself.

What sealing costs is the capture of a clone that holds next to nothing. Capturing also reads the copy once more, for
the digest that it is named by, and has it on the disk. Run it by ``make bench`` or
``.venv/bin/python -m tests.tools.bench capture``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.contract.guests import Clone, make_master, run
from tests.contract.test_capture import Pool, capture

DATA_MIB = 1024
GOAL = 1.2


def time_convert(clone: Clone, target: Path) -> float:
    """Flatten the clone by hand; return the seconds until it is on the disk."""
    started = time.monotonic()
    run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", clone.volume, target)
    run("sync", target)
    took_s = time.monotonic() - started
    target.unlink()
    return took_s


def time_capture(pool: Pool, clone: Clone) -> float:
    """Capture the clone; return the seconds."""
    started = time.monotonic()
    result = capture([pool.entry(clone)])
    took_s = time.monotonic() - started
    if result["failed"]:
        raise SystemExit(f"the clone was not captured: {result['msg']}")
    return took_s


def main() -> None:
    """Measure and print the ratio."""
    data_mib = int(sys.argv[1]) if len(sys.argv) > 1 else DATA_MIB
    with tempfile.TemporaryDirectory(prefix="encompass-bench-") as folder:
        scratch = Path(folder)
        pools = {}
        for name, size_mib in (("large", data_mib), ("small", 0)):
            (scratch / name / "clones").mkdir(parents=True)
            pools[name] = Pool(scratch / name, make_master(scratch / name, data_mib=size_mib))
        large, small = pools["large"].make_clone("large"), pools["small"].make_clone("small")
        before_s = time_convert(large, scratch / "copy.qcow2")
        seal_s = time_capture(pools["small"], small)
        ours_s = time_capture(pools["large"], large)
        convert_s = (before_s + time_convert(large, scratch / "copy.qcow2")) / 2
    print(
        f"capture: {data_mib} MiB of data in {ours_s:.1f} s; qemu-img convert {convert_s:.1f} s and sealing "
        f"{seal_s:.1f} s; {ours_s / (convert_s + seal_s):.2f} times as long (goal <= {GOAL})"
    )


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clone's disk holds below /etc, read from outside, whether or not its guest runs; for tests alone."""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path

from tests.lab.commands import run
from tests.lab.hosts import LabHost

_DRAWN = ("ssh/ssh_host_", "machine-id")
"""What is drawn for each clone alone: only that it is there can be compared."""
_WRITTEN_BY_GUEST = ("mtab", "resolv.conf", "adjtime", "ld.so.cache")
_SECTOR_BYTES = 512


def describe_clones(host: LabHost, pool: str) -> t.Iterator[str]:
    """Return a line for each file below /etc of each clone in a pool, with its mode and content."""
    listed = host.exec("find", f"{pool}/clones", "-name", "root.qcow2").stdout.split()
    for volume in sorted(listed):
        yield from (f"{volume} on {host.name}: {line}" for line in describe_disk(host, volume))


def describe_disk(host: LabHost, volume: str) -> t.Iterator[str]:
    """Return a line for each file below /etc of a qcow2 volume with one ext4 file system, which may be in use."""
    with tempfile.TemporaryDirectory(prefix="disk-", dir=host.local) as folder:
        inside = f"/srv/local/{Path(folder).name}"
        host.exec("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", volume, f"{inside}/raw")
        start = int(run("sfdisk", "-l", "-o", "start", f"{folder}/raw").stdout.split()[-1]) * _SECTOR_BYTES
        run("debugfs", "-R", f"rdump /etc {folder}", f"{folder}/raw?offset={start}")
        yield from _describe_tree(Path(folder, "etc"))


def _describe_tree(root: Path) -> t.Iterator[str]:
    for folder, _folders, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder, name)
            # Scripts of the first boot are renamed when they begin; how far the guest has come is a matter of luck.
            place = str(path.relative_to(root)).removesuffix(".ran")
            if place not in _WRITTEN_BY_GUEST:
                yield f"/etc/{place} {_describe_file(path, is_drawn=place.startswith(_DRAWN))}"


def _describe_file(path: Path, *, is_drawn: bool) -> str:
    if path.is_symlink():
        return f"leads to {path.readlink()}"
    status = path.stat()
    content = path.read_bytes()
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {len(content) if is_drawn else content!r}"

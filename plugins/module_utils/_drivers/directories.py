# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories and the file systems that they are on. Private to this collection; may change without notice."""

from __future__ import annotations

import fcntl
import os
import pathlib
import stat

from .._core.errors import InvalidRequest
from .._core.os_errors import explain_os_error

_MOUNTS = pathlib.Path("/proc/self/mountinfo")

# Linux' XFS_IOC_FSGEOMETRY: _IOR('X', 126, struct xfs_fsop_geom of 256 bytes); its flags are at byte 92.
_XFS_GEOMETRY, _XFS_GEOMETRY_BYTES, _XFS_FLAGS_AT, _XFS_REFLINK = 0x8100587E, 256, 92, 1 << 20


def see_mode(path: str, subject: str) -> int | None:
    """Return a directory's permissions; None when there is nothing. Raises for what is no directory."""
    try:
        seen = pathlib.Path(path).stat()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise explain_os_error(subject, "look at it", exc) from exc
    if not stat.S_ISDIR(seen.st_mode):
        raise InvalidRequest(subject, f"{path} is not a directory")
    return stat.S_IMODE(seen.st_mode)


def make_directory(path: str, mode: int, subject: str) -> None:
    """Make a directory with those above it, or give one that is there the permissions."""
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        # By itself, mkdir obeys the umask.
        pathlib.Path(path).chmod(mode)
    except OSError as exc:
        raise explain_os_error(subject, "make it", exc) from exc


def find_file_system(path: str) -> str:
    """Return the type of the file system that holds a directory (``xfs``); empty when it is not known."""
    device, found = pathlib.Path(path).stat().st_dev, ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    real = os.path.realpath(path)
    best = -1
    for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split()
        at = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        is_above = at in ("/", real) or real.startswith(f"{at}/")
        # btrfs tells its subvolumes' files another device than its mounts: there only the path can decide.
        rank = len(at) + (10_000 if fields[2] == wanted else 0)
        if is_above and rank >= best:
            best, found = rank, after.split()[0]
    return found


def can_reflink(path: str, file_system: str) -> bool:
    """Tell whether files in a directory can share blocks, without writing any."""
    return file_system == "btrfs" or (file_system == "xfs" and _has_xfs_reflink(path))


def _has_xfs_reflink(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        geometry = fcntl.ioctl(descriptor, _XFS_GEOMETRY, bytes(_XFS_GEOMETRY_BYTES))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    flags = int.from_bytes(geometry[_XFS_FLAGS_AT : _XFS_FLAGS_AT + 4], "little")
    return bool(flags & _XFS_REFLINK)


def measure_room(path: str) -> tuple[int, int]:
    """Return (capacity, room for us) in bytes of the file system that holds a directory."""
    seen = os.statvfs(path)
    return seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize

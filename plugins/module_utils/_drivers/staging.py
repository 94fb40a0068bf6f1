# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private copies of sources: what is checked in them is what is used. Private to this collection."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import stat
import typing as t

from .._core.errors import ImageRefused, InvalidRequest
from .._core.os_errors import explain_os_error
from .._core.ova import Digest, Member, Package
from .._core.sources import refuse_bytes

_BLOCK_BYTES = 1 << 20
_FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h


def copy_file(source: str, target: str, *, max_bytes: int, subject: str) -> None:
    """Make a new file (0600) with what a regular file holds; blocks are shared where that is possible.

    A pipe or device that took the file's place after it was looked at is not waited for.
    """
    with _opened(source, target, subject) as (origin, copy):
        status = os.fstat(origin)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidRequest(subject, f"{source} is not a regular file")
        what = f"{source} holds"
        refuse_bytes(status.st_blocks * 512, max_bytes, what, subject)
        try:
            fcntl.ioctl(copy, _FICLONE, origin)
        except OSError:
            _copy_data(origin, copy, status.st_size, lambda count: refuse_bytes(count, max_bytes, what, subject))


def _copy_data(origin: int, copy: int, size_bytes: int, refuse: t.Callable[[int], None]) -> None:
    """Copy what is not a hole; ``refuse`` is told how many bytes that will have been, since holes may be filled now."""
    os.ftruncate(copy, size_bytes)
    end = data_bytes = 0
    while end < size_bytes:
        try:
            start = os.lseek(origin, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = min(os.lseek(origin, start, os.SEEK_HOLE), size_bytes)
        data_bytes += end - start
        refuse(data_bytes)
        _copy_range(origin, copy, slice(start, end), start)


def _copy_range(origin: int, copy: int, place: slice, target: int) -> None:
    for offset in range(place.start, place.stop, _BLOCK_BYTES):
        block = os.pread(origin, min(_BLOCK_BYTES, place.stop - offset), offset)
        _write_fully(copy, block, target + offset - place.start)


def copy_member(source: str, member: Member, target: str, subject: str) -> None:
    """Make a new file (0600) of one file of a package."""
    with _opened(source, target, subject) as (origin, copy):
        _copy_range(origin, copy, slice(member.offset, member.offset + member.length), 0)


def refuse_digests(path: str, package: Package, subject: str) -> None:
    """Raise :class:`ImageRefused` unless the package holds what its manifest says."""
    for digest in package.digests:
        if _hash_member(path, digest, subject) != digest.value:
            raise ImageRefused(
                subject,
                f"its manifest says something else of {digest.member.name} than it holds",
                remedy="Fetch or export the package again.",
                reason="package",
            )


def _hash_member(path: str, digest: Digest, subject: str) -> str:
    total = hashlib.new(digest.algorithm, usedforsecurity=False)  # old packages have SHA-1, against accidents
    left = digest.member.length
    try:
        with pathlib.Path(path).open("rb") as stream:
            stream.seek(digest.member.offset)
            while block := stream.read(min(_BLOCK_BYTES, left)):
                total.update(block)
                left -= len(block)
    except OSError as exc:
        raise explain_os_error(subject, "read it", exc) from exc
    return total.hexdigest()


@contextlib.contextmanager
def _opened(source: str, target: str, subject: str) -> t.Iterator[tuple[int, int]]:
    """Yield the descriptors of a file to read, without waiting for it, and of a new one to write."""
    with contextlib.ExitStack() as stack:
        try:
            descriptors = []
            for path, flags in ((source, os.O_RDONLY | os.O_NONBLOCK), (target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)):
                descriptors.append(os.open(path, flags | os.O_CLOEXEC, 0o600))
                stack.callback(os.close, descriptors[-1])
            yield descriptors[0], descriptors[1]
        except OSError as exc:
            raise explain_os_error(subject, "stage it", exc) from exc


def _write_fully(descriptor: int, block: bytes, offset: int) -> None:
    while block:
        written = os.pwrite(descriptor, block, offset)
        block, offset = block[written:], offset + written

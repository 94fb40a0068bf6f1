# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single image files: headers, fingerprints, digests, locks, shared blocks. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import pathlib
import stat
import struct
import time
import typing as t

from .._core import ova
from .._core.errors import InvalidRequest, ToolFailed, Unsupported
from .._core.image_formats.facts import ImageHeader, Reader
from .._core.image_header import inspect_header, refuse_wrapping
from .._core.os_errors import explain_os_error
from .._core.ova import Member, Package
from .._core.pool_layout import FileSeen

_HEAD_BYTES = 4096
_HASH_BLOCK_BYTES = 1 << 20
_LONGEST_HASH_S = 4 * 3600.0
_IMPRINT_BLOCK_BYTES = 4096
_FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
_NO_REFLINK = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)

# qemu marks the images that it has open by open-file-description locks on these bytes (block/file-posix.c:
# RAW_LOCK_PERM_BASE 100 and RAW_LOCK_SHARED_BASE 200, one byte for each permission).
_QEMU_LOCK_START, _QEMU_LOCK_LENGTH = 100, 200
_FLOCK = "hhqqi0q"


@dataclasses.dataclass(frozen=True)
class Imprint:
    """A small sparse file's bytes: its size, and its blocks that are not zero, by offset."""

    size_bytes: int
    blocks: tuple[tuple[int, bytes], ...]


def see_file(path: str, subject: str) -> FileSeen | None:
    """Return what a regular file looks like; None when nothing is there. A symbolic link is followed."""
    try:
        status = pathlib.Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise explain_os_error(subject, "look at it", exc) from exc
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(subject, f"{path} is not a regular file")
    fingerprint = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    return FileSeen(path, fingerprint, status.st_size, status.st_blocks * 512)


def read_header(path: str, subject: str) -> ImageHeader:
    """Return what an image's header says."""
    with _open_reader(path, subject) as (read, size_bytes):
        return inspect_header(read, size_bytes, subject)


def read_package(path: str, number: int, subject: str) -> tuple[Package, Member, ImageHeader]:
    """Return what a package holds, the disk of this number in it, and what that disk's header says."""
    with _open_reader(path, subject) as (read, size_bytes):
        refuse_wrapping(inspect_header(read, size_bytes, subject), subject)
        package = ova.read_package(read, size_bytes, subject)
        disk = ova.choose_disk(package, number, subject)
        start, length = disk.offset, disk.length

        def read_disk(offset: int, count: int) -> bytes:
            return read(start + offset, max(0, min(count, length - offset)))

        return package, disk, inspect_header(read_disk, length, f"{subject}, disk {disk.name}")


@contextlib.contextmanager
def _open_reader(path: str, subject: str) -> t.Iterator[tuple[Reader, int]]:
    """Yield what reads a file's bytes at a place, and the file's size."""
    try:
        with _open_descriptor(path) as descriptor:
            size_bytes = os.fstat(descriptor).st_size
            head = os.pread(descriptor, _HEAD_BYTES, 0)

            def read(offset: int, length: int) -> bytes:
                if offset + length <= len(head):
                    return head[offset : offset + length]
                # Offsets come out of the image: what lies beyond the file reads as nothing.
                return os.pread(descriptor, length, offset) if offset < size_bytes else b""

            yield read, size_bytes
    except OSError as exc:
        raise explain_os_error(subject, "read its header", exc) from exc


def hash_file(path: str, subject: str, *, timeout_s: float = _LONGEST_HASH_S) -> str:
    """Return the SHA-256 of a file, in hexadecimal. Raises :class:`ToolFailed` when that takes too long."""
    digest, deadline = hashlib.sha256(), time.monotonic() + timeout_s
    try:
        with pathlib.Path(path).open("rb", buffering=0) as stream:
            while block := stream.read(_HASH_BLOCK_BYTES):
                digest.update(block)
                if time.monotonic() > deadline:
                    problem = f"{path} could not be read within {timeout_s:g} s"
                    raise ToolFailed(subject, problem, remedy="Allow more time, or see what slows the provider down.")
    except OSError as exc:
        raise explain_os_error(subject, "read it", exc) from exc
    return digest.hexdigest()


def is_open_in_qemu(path: str, subject: str) -> bool:
    """Return whether a qemu or one of its tools, of whatever host the file system knows, has the image open."""
    try:
        with _open_descriptor(path) as descriptor:
            query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _QEMU_LOCK_START, _QEMU_LOCK_LENGTH, 0)
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, query)
    except OSError as exc:
        raise explain_os_error(subject, "see whether it is in use", exc) from exc
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def share_blocks(source: str, target: str, subject: str) -> None:
    """Make ``target`` a new file (0600) that shares all blocks of ``source``, as the file system offers it."""
    try:
        with _open_descriptor(source) as origin, _open_descriptor(target, os.O_RDWR | os.O_CREAT | os.O_EXCL) as copy:
            fcntl.ioctl(copy, _FICLONE, origin)
    except OSError as exc:
        if exc.errno in _NO_REFLINK:
            raise Unsupported(
                subject, "its pool cannot share blocks (reflink), though it is said to", remedy="Run discover again."
            ) from exc
        raise explain_os_error(subject, "share its blocks", exc) from exc


def read_imprint(path: str, subject: str) -> Imprint:
    """Return a small file's bytes without its zeros."""
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as exc:
        raise explain_os_error(subject, "read it", exc) from exc
    zeros = bytes(_IMPRINT_BLOCK_BYTES)
    blocks = (
        (offset, content[offset : offset + _IMPRINT_BLOCK_BYTES])
        for offset in range(0, len(content), _IMPRINT_BLOCK_BYTES)
    )
    return Imprint(len(content), tuple((at, block) for at, block in blocks if block != zeros[: len(block)]))


def write_imprint(imprint: Imprint, path: str, subject: str) -> None:
    """Make a new file (0600) with these bytes, holes where they are zero."""
    try:
        with _open_descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            for offset, block in imprint.blocks:
                _write_fully(descriptor, block, offset)
            os.ftruncate(descriptor, imprint.size_bytes)
    except OSError as exc:
        raise explain_os_error(subject, "write it", exc) from exc


def _write_fully(descriptor: int, block: bytes, offset: int) -> None:
    while block:
        written = os.pwrite(descriptor, block, offset)
        block, offset = block[written:], offset + written


@contextlib.contextmanager
def _open_descriptor(path: str, flags: int = os.O_RDONLY) -> t.Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

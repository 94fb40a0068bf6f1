# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk as it is copied: a sparse file, and the digest of each of its chunks. Private to this collection."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import typing as t

from .._core.disk_passes import CHUNK_BYTES, count_chunks, hash_chunk, hash_zeros, measure_chunk
from .._core.errors import ToolFailed
from .._core.os_errors import explain_os_error

_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)


class SparseCopy:
    """The file, open for writing; ``digests`` are those of its chunks."""

    def __init__(self, descriptor: int, size_bytes: int, subject: str) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._subject = subject
        self.digests = self._hash_all()

    def write(self, number: int, content: bytes) -> None:
        """Replace a chunk; what is a hole, and zero, stays a hole."""
        was_hole = self.digests[number] == hash_zeros(measure_chunk(self._size_bytes, number))
        start = number * CHUNK_BYTES
        with _explained(self._subject, "write the copy"):
            for offset in range(0, len(content), _BLOCK_BYTES):
                block = content[offset : offset + _BLOCK_BYTES]
                if not was_hole or block != _ZEROS[: len(block)]:
                    _write_fully(self._descriptor, block, start + offset)
        self.digests[number] = hash_chunk(content)

    def verify(self) -> None:
        """Read the whole file back from the disk; raise unless it holds what came."""
        with _explained(self._subject, "write the copy to the disk"):
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for number, (expected, found) in enumerate(zip(self.digests, self._hash_all())):
            if expected != found:
                raise ToolFailed(
                    self._subject,
                    f"the pool gives back other bytes than were written (part {number})",
                    remedy="Look for errors of the pool's disk in the provider's kernel log.",
                )

    def _hash_all(self) -> list[str]:
        with _explained(self._subject, "read the copy"):
            return [self._hash(number) for number in range(count_chunks(self._size_bytes))]

    def _hash(self, number: int) -> str:
        length, start = measure_chunk(self._size_bytes, number), number * CHUNK_BYTES
        if not _holds_data(self._descriptor, start, length):
            return hash_zeros(length)
        return hash_chunk(os.pread(self._descriptor, length, start))


@contextlib.contextmanager
def open_copy(path: pathlib.Path, size_bytes: int, subject: str) -> t.Iterator[SparseCopy]:
    """Yield the copy of a disk of this size: an empty one, or what is there of it already."""
    with _explained(subject, "make the copy"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _explained(subject, "make the copy"):
            os.ftruncate(descriptor, size_bytes)
        yield SparseCopy(descriptor, size_bytes, subject)
    finally:
        os.close(descriptor)


def _holds_data(descriptor: int, start: int, length: int) -> bool:
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) < start + length
    except OSError as exc:
        if exc.errno == errno.ENXIO:  # a hole up to the end of the file
            return False
        raise


def _write_fully(descriptor: int, block: bytes, offset: int) -> None:
    while block:
        written = os.pwrite(descriptor, block, offset)
        block, offset = block[written:], offset + written


@contextlib.contextmanager
def _explained(subject: str, action: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise explain_os_error(subject, action, exc) from exc

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of an image, and how they are read from its bytes. Private to this collection."""

from __future__ import annotations

import dataclasses
import struct
import typing as t

# (offset, length) -> the bytes there; fewer at the end of the file.
Reader = t.Callable[[int, int], bytes]

SECTOR_BYTES = 512

MAX_TABLE_BYTES = 32 << 20
"""The longest table that is read: what qemu allows an L1 table, and hundreds of times what a disk of 2 TiB needs."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """A part of the file that holds something, as the header says."""

    name: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """The facts of one image: everything that decides whether it may be read, and how.

    ``extents`` are the header itself and its tables; ``targets_end`` is the end of the farthest thing that a table
    names; ``also`` are further formats whose signs the file bears.
    """

    format: str
    virtual_bytes: int = 0
    backing_file: str = ""
    backing_format: str = ""
    data_file: str = ""
    encrypted: bool = False
    dirty: bool = False
    corrupt: bool = False
    snapshots: int = 0
    unknown_features: tuple[str, ...] = ()
    extents: tuple[Extent, ...] = ()
    targets_end: int = 0
    file_bytes: int = 0
    also: tuple[str, ...] = ()


class Malformed(Exception):
    """The header contradicts its format's definition."""


def unpack(layout: str, read: Reader, offset: int) -> tuple[t.Any, ...]:
    """Return the numbers at a place; raises struct.error when the file ends before them."""
    return struct.unpack(layout, read(offset, struct.calcsize(layout)))


def split(table: bytes, width: int) -> list[bytes]:
    """Return a table's entries."""
    return [table[at : at + width] for at in range(0, len(table) - width + 1, width)]


def read_numbers(read: Reader, extent: Extent, layout: str) -> t.Iterator[int]:
    """Return the numbers of a table, which must be as long as it is said to be."""
    if extent.length > MAX_TABLE_BYTES:
        raise Malformed(f"its {extent.name} of {extent.length} bytes is too long")
    table = read(extent.offset, extent.length)
    if len(table) != extent.length:
        raise Malformed(f"its {extent.name} reaches beyond the end of the file")
    return (number for (number,) in struct.iter_unpack(layout, table))


def require(condition: bool, problem: str) -> None:
    """Raise :class:`Malformed` unless the condition holds."""
    if not condition:
        raise Malformed(problem)


def is_power_of_two(number: int) -> bool:
    """Return whether a number is 1, 2, 4, 8 and so on."""
    return number > 0 and number & (number - 1) == 0


def count_parts(whole: int, part: int) -> int:
    """Return how many parts cover the whole."""
    return -(-whole // part)


def name_bits(features: int, names: t.Mapping[int, str] | None = None) -> tuple[str, ...]:
    """Return what the bits that are set are called."""
    return tuple((names or {}).get(bit, f"bit {bit}") for bit in range(64) if features >> bit & 1)


def show_name(raw: bytes, encoding: str = "utf-8") -> str:
    """Return a name found in an image, safe to print."""
    text = raw.split(b"\0")[0] if encoding == "utf-8" else raw
    shown = text.decode(encoding, errors="replace").split("\0")[0]
    return "".join(char if char.isprintable() else "?" for char in shown)[:200] or "(a nameless file)"

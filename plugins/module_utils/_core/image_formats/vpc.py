# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of VHD, which qemu calls vpc. Private to this collection. Source: Microsoft's VHD specification 1.0."""

from __future__ import annotations

import struct

from .facts import (
    SECTOR_BYTES,
    Extent,
    ImageHeader,
    Reader,
    count_parts,
    is_power_of_two,
    read_numbers,
    require,
    show_name,
    unpack,
)

MAGIC = b"conectix"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_SAVED_STATE_AT = 0x54
_CYLINDER_BYTES = 16 * 255 * SECTOR_BYTES
_NO_GEOMETRY = 65535 * _CYLINDER_BYTES
"""The largest one: it stands for any size, and nobody takes it for the size."""
_MIN_BLOCK_BYTES, _MAX_BLOCK_BYTES = SECTOR_BYTES, 256 << 20
_NOWHERE = 0xFFFFFFFF


def parse_vpc(read: Reader, file_bytes: int) -> ImageHeader:
    """Read the footer: at the end of every image, copied to the start of all but fixed ones."""
    footer = read(file_bytes - SECTOR_BYTES, SECTOR_BYTES) if file_bytes >= SECTOR_BYTES else b""
    require(footer[:8] == MAGIC, "it has no footer")
    (dynamic_at,) = struct.unpack_from(">Q", footer, 0x10)
    (virtual_bytes,) = struct.unpack_from(">Q", footer, 0x30)
    cylinders, heads, sectors, kind, checksum = struct.unpack_from(">HBBII", footer, 0x38)
    require(kind in (_FIXED, _DYNAMIC, _DIFFERENCING), f"disk type {kind} is not known")
    require(checksum == _add_up(footer, 0x40), "its checksum is wrong")
    # qemu takes the geometry of some makers for the size
    by_geometry = cylinders * heads * sectors * SECTOR_BYTES
    fits = by_geometry < virtual_bytes + _CYLINDER_BYTES or by_geometry == _NO_GEOMETRY
    require(fits, "its geometry is larger than its size")
    dirty = footer[_SAVED_STATE_AT] != 0
    at_end = Extent("footer", file_bytes - SECTOR_BYTES, SECTOR_BYTES)
    if kind == _FIXED:
        # qemu looks at the start first, and takes what it finds there for a dynamic one's
        require(read(0, len(MAGIC)) != MAGIC, "it is a fixed disk with the header of another kind")
        data = Extent("disk", 0, virtual_bytes)
        return ImageHeader("vpc", virtual_bytes, dirty=dirty, extents=(data, at_end))
    require(read(0, SECTOR_BYTES) == footer, "its footer and the copy of it differ")
    header = Extent("dynamic header", dynamic_at, 1024)
    table = _find_table(read, header, virtual_bytes)
    last = max((entry for entry in read_numbers(read, table, ">I") if entry != _NOWHERE), default=None)
    return ImageHeader(
        "vpc",
        virtual_bytes,
        backing_file=_find_parent(read, header, kind),
        dirty=dirty,
        extents=(Extent("header", 0, SECTOR_BYTES), header, table, at_end),
        targets_end=0 if last is None else last * SECTOR_BYTES + 1,
    )


def _find_table(read: Reader, header: Extent, virtual_bytes: int) -> Extent:
    cookie, _next_at, table_at, _version, entries, block_bytes, checksum = unpack(">8sQQIIII", read, header.offset)
    require(cookie == b"cxsparse", "it has no dynamic header")
    require(
        checksum == _add_up(read(header.offset, header.length), 0x24), "the checksum of its dynamic header is wrong"
    )
    fits = is_power_of_two(block_bytes) and _MIN_BLOCK_BYTES <= block_bytes <= _MAX_BLOCK_BYTES
    require(fits, f"blocks of {block_bytes} bytes are not possible")
    require(entries >= count_parts(virtual_bytes, block_bytes), "its block table is too short for its size")
    return Extent("block table", table_at, entries * 4)


def _find_parent(read: Reader, header: Extent, kind: int) -> str:
    parent = read(header.offset + 0x28, 16)
    name = read(header.offset + 64, 512)
    locators = read(header.offset + 576, 192)
    if kind == _DIFFERENCING or any(parent) or any(name) or any(locators):
        return show_name(name, "utf-16-be")
    return ""


def _add_up(block: bytes, checksum_at: int) -> int:
    """Return the checksum of a structure: the complement of the sum of all its bytes but the checksum's own."""
    return ~(sum(block) - sum(block[checksum_at : checksum_at + 4])) & 0xFFFFFFFF

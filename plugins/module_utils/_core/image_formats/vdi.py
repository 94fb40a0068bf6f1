# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of VDI. Private to this collection. Source: qemu's block/vdi.c."""

from __future__ import annotations

import uuid

from .facts import SECTOR_BYTES, Extent, ImageHeader, Reader, count_parts, read_numbers, require, unpack

_VERSION = 0x00010001
_KINDS_OF_ONE_FILE = (1, 2)  # dynamic, static
_BLOCK_BYTES = 1 << 20
"""The one size that VirtualBox writes and qemu reads."""
_NOWHERE = 0xFFFFFFFE
"""From here on an entry of the block map means that the block is not there."""


def parse_vdi(read: Reader, _file_bytes: int) -> ImageHeader:
    """Return the facts of a VDI image."""
    version, _header_length, kind = unpack("<III", read, 0x44)
    map_at, data_at = unpack("<II", read, 0x154)
    sector_bytes, _unused, virtual_bytes = unpack("<IIQ", read, 0x168)
    block_bytes, _extra, blocks = unpack("<III", read, 0x178)
    link, parent = unpack("16s16s", read, 0x1A8)
    require(version == _VERSION, f"version {version >> 16}.{version & 0xFFFF} is not known")
    require(sector_bytes == SECTOR_BYTES, f"sectors of {sector_bytes} bytes are not possible")
    require(block_bytes == _BLOCK_BYTES, f"blocks of {block_bytes} bytes are not possible")
    require(map_at % SECTOR_BYTES == data_at % SECTOR_BYTES == 0, "its tables do not begin where a sector does")
    require(blocks >= count_parts(virtual_bytes, block_bytes), "its block map is too short for its size")
    block_map = Extent("block map", map_at, blocks * 4)
    require(data_at >= block_map.end, "its data lie in its block map")
    differs = kind not in _KINDS_OF_ONE_FILE or any(link) or any(parent)
    last = max((entry for entry in read_numbers(read, block_map, "<I") if entry < _NOWHERE), default=None)
    return ImageHeader(
        "vdi",
        virtual_bytes,
        backing_file=f"of the image {uuid.UUID(bytes_le=link)}" if differs else "",
        extents=(Extent("header", 0, SECTOR_BYTES), block_map),
        targets_end=0 if last is None else data_at + last * block_bytes + 1,
    )

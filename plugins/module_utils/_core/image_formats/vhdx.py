# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of VHDX. Private to this collection. Source: Microsoft's MS-VHDX."""

from __future__ import annotations

import typing as t
import uuid

from .facts import Extent, ImageHeader, Malformed, Reader, count_parts, is_power_of_two, require, split, unpack

_HEADER_SECTION_BYTES = 1 << 20
_HEADERS, _HEADER_BYTES = (0x10000, 0x20000), 4096
_REGIONS, _REGIONS_BYTES = (0x30000, 0x40000), 1 << 16
_MIB = 1 << 20
_BLOCK_LIMITS = (_MIB, 256 * _MIB)
_SECTOR_SIZES = (512, 4096)
_REQUIRED, _ITEM_REQUIRED, _HAS_PARENT = 1, 4, 2
_BAT = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
_METADATA = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
_SECTOR = uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
_PHYSICAL_SECTOR = uuid.UUID("CDA348C7-445D-4471-9CC9-E9885251C556")
_IDENTITY = uuid.UUID("BECA12AB-B2E6-4523-93EF-C309E000C746")
_PARENT = uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
_KNOWN_ITEMS = (_PARAMETERS, _SIZE, _SECTOR, _PHYSICAL_SECTOR, _IDENTITY, _PARENT)


class _Table(t.NamedTuple):
    """Places by what is there, and what must be understood but is not."""

    places: dict[uuid.UUID, Extent]
    unknown: tuple[str, ...]


def parse_vhdx(read: Reader, _file_bytes: int) -> ImageHeader:
    """Return the facts of a VHDX image."""
    has_log, log = _read_headers(read)
    regions = _read_regions(read)
    if not {_METADATA, _BAT} <= set(regions.places):
        raise Malformed("it lacks its metadata or its block table")
    items = _read_metadata(read, regions.places[_METADATA])
    if not {_SIZE, _PARAMETERS, _SECTOR} <= set(items.places):
        raise Malformed("its metadata tells no size")
    (virtual_bytes,) = unpack("<Q", read, items.places[_SIZE].offset)
    block_bytes, flags = unpack("<II", read, items.places[_PARAMETERS].offset)
    (sector_bytes,) = unpack("<I", read, items.places[_SECTOR].offset)
    _check_sizes(virtual_bytes, block_bytes, sector_bytes, regions.places[_BAT])
    has_parent = flags & _HAS_PARENT or _PARENT in items.places
    return ImageHeader(
        "vhdx",
        virtual_bytes,
        backing_file="of a parent image" if has_parent else "",
        dirty=has_log,
        unknown_features=(*regions.unknown, *items.unknown),
        extents=(Extent("header", 0, _HEADER_SECTION_BYTES), log, *regions.places.values()),
    )


def _check_sizes(virtual_bytes: int, block_bytes: int, sector_bytes: int, bat: Extent) -> None:
    fits = is_power_of_two(block_bytes) and _BLOCK_LIMITS[0] <= block_bytes <= _BLOCK_LIMITS[1]
    require(fits, f"blocks of {block_bytes} bytes are not possible")
    require(sector_bytes in _SECTOR_SIZES, f"sectors of {sector_bytes} bytes are not possible")
    require(virtual_bytes % sector_bytes == 0, "its size is not a number of sectors")
    require(bat.length // 8 >= count_parts(virtual_bytes, block_bytes), "its block table is too short for its size")


def _read_headers(read: Reader) -> tuple[bool, Extent]:
    """Return whether the newer valid header names a log that is still to be replayed, and where it keeps its log."""
    valid = []
    for at in _HEADERS:
        signature, checksum, sequence, _file, _data, log = unpack("<4sIQ16s16s16s", read, at)
        _log_version, version, log_bytes, log_at = unpack("<HHIQ", read, at + 64)
        if signature == b"head" and checksum == compute_crc32c(_blank_checksum(read(at, _HEADER_BYTES))):
            require(version == 1, f"version {version} is not known")
            valid.append((sequence, any(log), Extent("log", log_at, log_bytes)))
    if not valid:
        raise Malformed("neither of its two headers is valid")
    _sequence, has_log, extent = max(valid, key=lambda header: header[0])
    return has_log, extent


def _read_regions(read: Reader) -> _Table:
    first, second = (read(at, _REGIONS_BYTES) for at in _REGIONS)
    require(first == second, "its two region tables differ")
    signature, checksum, count = unpack("<4sII", read, _REGIONS[0])
    require(signature == b"regi" and count <= 2047, "it has no region table")
    require(checksum == compute_crc32c(_blank_checksum(first)), "the checksum of its region table is wrong")
    places: dict[uuid.UUID, Extent] = {}
    unknown = []
    for entry in split(first[16 : 16 + count * 32], 32):
        kind = uuid.UUID(bytes_le=entry[:16])
        offset, length, flags = (int.from_bytes(entry[a:b], "little") for a, b in ((16, 24), (24, 28), (28, 32)))
        require(offset % _MIB == length % _MIB == 0, "a region does not begin or end at a MiB")
        require(kind not in places, "a region is there twice")
        places[kind] = Extent({_BAT: "block table", _METADATA: "metadata"}.get(kind, "region"), offset, length)
        if kind not in (_BAT, _METADATA) and flags & _REQUIRED:
            unknown.append(f"region {kind}")
    return _Table(places, tuple(unknown))


def _read_metadata(read: Reader, region: Extent) -> _Table:
    signature, _reserved, count = unpack("<8sHH", read, region.offset)
    require(signature == b"metadata" and count <= 2047, "it has no metadata table")
    places: dict[uuid.UUID, Extent] = {}
    unknown = []
    for entry in split(read(region.offset + 32, count * 32), 32):
        kind = uuid.UUID(bytes_le=entry[:16])
        offset, length, flags = (int.from_bytes(entry[a:b], "little") for a, b in ((16, 20), (20, 24), (24, 28)))
        require(offset + length <= region.length, "its metadata reach beyond their region")
        require(kind not in places, "an item of its metadata is there twice")
        places[kind] = Extent("metadata", region.offset + offset, length)
        if kind not in _KNOWN_ITEMS and flags & _ITEM_REQUIRED:
            unknown.append(f"metadata {kind}")
    return _Table(places, tuple(unknown))


def _blank_checksum(block: bytes) -> bytes:
    return block[:4] + bytes(4) + block[8:]


def _make_crc32c_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        for _bit in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901 - that is how the table is made
        table.append(number)
    return tuple(table)


_CRC32C = _make_crc32c_table()


def compute_crc32c(block: bytes) -> int:
    """Return the Castagnoli checksum, which Python lacks."""
    crc = 0xFFFFFFFF
    for byte in block:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF

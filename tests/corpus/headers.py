# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small empty images of every format, built byte by byte, each field open to be wrong."""

from __future__ import annotations

import struct
import uuid

SIZE = 64 << 20
MIB = 1 << 20
BACKING_FORMAT, DATA_FILE_NAME, FEATURE_NAMES, BITMAPS = 0xE2792ACA, 0x44415441, 0x6803F857, 0x23852875

DESCRIPTION = b"""# Disk DescriptorFile
version=1
CID=abcd1234
parentCID=ffffffff
createType="monolithicSparse"
RW 131072 SPARSE "x.vmdk"
"""


def qcow2(
    *, version=3, cluster_bits=9, crypt=0, snapshots=0, features=0, extensions=(), backing=b"", l1=(), **odd
) -> bytes:
    """Return a qcow2 whose clusters are small, so that it is: header, reference table, L1 table, one more cluster."""
    cluster, size = 1 << min(cluster_bits, 21), odd.get("size", SIZE)
    written = b"".join(
        struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8) for kind, content in extensions
    )
    start = 112 if version == 3 else 72
    backing_at = start + len(written) + 8 if backing else 0
    entries = -(-SIZE // (cluster // (16 if features & 16 else 8) * cluster))
    table = b"".join(struct.pack(">Q", entry) for entry in l1).ljust(entries * 8, b"\0")
    layout = {
        "backing_at": backing_at,
        "backing_length": len(backing),
        "cluster_bits": cluster_bits,
        "size": size,
        "crypt": crypt,
        "l1_entries": entries,
        "l1_at": 2 * cluster,
        "refcounts_at": cluster,
        "refcount_clusters": 1,
        "snapshots": snapshots,
        "snapshots_at": 0,
    }
    layout.update({name: value for name, value in odd.items() if name in layout})
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, *layout.values())
    if version == 3:
        orders = struct.pack(">II", odd.get("refcount_order", 4), odd.get("header_length", 112))
        head += struct.pack(">QQQ", features, 0, 0) + orders + bytes([odd.get("compression", 0)]) + bytes(7)
    head = (head + written + bytes(8) + backing).ljust(cluster, b"\0")
    return (head + bytes(cluster) + table).ljust(4 * cluster + len(table), b"\0")


def vmdk(description=DESCRIPTION, dirty=False, footer=None, **odd) -> bytes:
    """Return a sparse VMDK: header, description, directory, one table; with a footer when it is to be a stream."""
    fields = {
        "version": 1,
        "flags": 3,
        "capacity": SIZE // 512,
        "grain": 128,
        "description_at": 1 if description else 0,
        "description_length": 4,
        "table_entries": 512,
        "redundant_at": 5,
        "directory_at": 6,
        "overhead": 128,
        "unclean": int(dirty),
        "line_ends": b"\n \r\n",
        "compression": 0,
    }
    fields.update(odd)
    layout = "<4sIIQQQQIQQQB4sH"
    body = description.ljust(2048, b"\0") + struct.pack("<I", 7).ljust(512, b"\0") * 2 + bytes(2048)
    if footer is None:
        return struct.pack(layout, b"KDMV", *fields.values()).ljust(512, b"\0") + body
    head = struct.pack(layout, b"KDMV", *{**fields, "directory_at": (1 << 64) - 1}.values()).ljust(512, b"\0")
    last = struct.pack(layout, b"KDMV", *{**fields, **footer}.values()).ljust(512, b"\0")
    return head + body + struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + last + bytes(512)


def vdi(parent=bytes(16), **odd) -> bytes:
    """Return a VDI: header and block map."""
    fields = {"version": 0x10001, "header_length": 0x180, "kind": 1, "map_at": 512, "data_at": 1024, "sector": 512}
    fields.update(size=SIZE, block=MIB, blocks=64, link=bytes(16), block_map=b"\xff" * 256)
    fields.update(odd)
    content = bytearray(1024)
    struct.pack_into("<IIII", content, 0x40, 0xBEDA107F, fields["version"], fields["header_length"], fields["kind"])
    struct.pack_into("<II", content, 0x154, fields["map_at"], fields["data_at"])
    struct.pack_into(
        "<IIQIII", content, 0x168, fields["sector"], 0, fields["size"], fields["block"], 0, fields["blocks"]
    )
    content[0x1A8:0x1B8] = fields["link"]
    content[0x1B8:0x1C8] = parent
    content[512 : 512 + len(fields["block_map"])] = fields["block_map"]
    return bytes(content)


def add_up(block: bytes) -> int:
    """Return the checksum of a VHD's structure, in which the checksum itself is zero."""
    return ~sum(block) & 0xFFFFFFFF


def vpc_footer(kind=3, *, size=SIZE, geometry=(962, 8, 17), saved=0, dynamic_at=512) -> bytes:
    """Return a VHD's footer."""
    content = bytearray(512)
    content[0:8] = b"conectix"
    struct.pack_into(">IIQ", content, 8, 2, 0x10000, dynamic_at)
    struct.pack_into(">4s", content, 0x1C, b"qem2")
    struct.pack_into(">QQHBBI", content, 0x28, size, size, *geometry, kind)
    content[0x54] = saved
    struct.pack_into(">I", content, 0x40, add_up(content))
    return bytes(content)


def vpc(kind=3, parent="", **odd) -> bytes:
    """Return a VHD: the footer's copy, dynamic header, block table, footer; of a fixed one, the disk and the footer."""
    footer = vpc_footer(
        kind, **{name: value for name, value in odd.items() if name in ("size", "geometry", "saved", "dynamic_at")}
    )
    if kind == 2:
        return bytes(odd.get("size", SIZE)) + footer
    header = bytearray(1024)
    entries, block = odd.get("entries", 32), odd.get("block", 2 * MIB)
    struct.pack_into(
        ">8sQQIII", header, 0, b"cxsparse", (1 << 64) - 1, odd.get("table_at", 1536), 0x10000, entries, block
    )
    name = parent.encode("utf-16-be")
    header[64 : 64 + len(name)] = name
    header[0x28:0x38] = odd.get("parent_id", bytes(16))
    struct.pack_into(">I", header, 0x24, add_up(header))
    return footer + bytes(header) + odd.get("table", b"\xff" * 512) + odd.get("tail", footer)


def compute_crc32c(block: bytes) -> int:
    """Return the Castagnoli checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in block.rstrip(b"\0"):
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    for _zero in range(len(block) - len(block.rstrip(b"\0"))):
        crc = crc >> 8 ^ _CRC32C[crc & 0xFF]
    return crc ^ 0xFFFFFFFF


def _make_table() -> list[int]:
    table = []
    for number in range(256):
        crc = number
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _make_table()
BAT, METADATA = "2DC27766-F623-4200-9D64-115E9BFD4A08", "8B7CA206-4790-4B9A-B8FE-575F050F886E"
PARAMETERS, VIRTUAL_SIZE = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B", "2FA54224-CD1B-4876-B211-5DBED83BF4B8"
LOGICAL_SECTOR = "8141BF1D-A96F-4709-BA47-F233A8FAAB5F"
ITEMS = ((PARAMETERS, 4), (VIRTUAL_SIZE, 4), (LOGICAL_SECTOR, 4))
REGIONS = ((BAT, MIB, MIB, 1), (METADATA, 2 * MIB, MIB, 1))


def seal(block: bytearray) -> bytes:
    """Return a structure of VHDX with its checksum."""
    struct.pack_into("<I", block, 4, compute_crc32c(bytes(block)))
    return bytes(block)


def vhdx(flags=0, log=bytes(16), regions=REGIONS, second_regions=None, **odd) -> bytes:
    """Return a VHDX of 3 MiB: two headers, two region tables, block table, metadata."""
    content = bytearray(3 * MIB)
    content[0:8] = b"vhdxfile"
    for at, sequence, own_log in ((0x10000, 1, b"stale".ljust(16)), (0x20000, 2, log)):
        head = bytearray(4096)
        struct.pack_into("<4sIQ16s16s16s", head, 0, b"head", 0, sequence, b"", b"", own_log)
        struct.pack_into("<HHIQ", head, 64, 0, odd.get("version", 1), odd.get("log_length", 0), odd.get("log_at", 0))
        content[at : at + 4096] = seal(head)
    content[0x30000:0x40000] = _region_table(regions, odd.get("count"))
    content[0x40000:0x50000] = _region_table(regions if second_regions is None else second_regions, odd.get("count"))
    items = odd.get("items", ITEMS)
    at = next((offset for kind, offset, _length, _flags in regions if kind == METADATA and offset < 2 * MIB + 1), 0)
    if at:
        struct.pack_into("<8sHH", content, at, b"metadata", 0, odd.get("item_count", len(items)))
        for number, (item, item_flags) in enumerate(items):
            place = odd.get("item_at", 0x10000) + 16 * number
            struct.pack_into("<16sIII", content, at + 32 + 32 * number, uuid.UUID(item).bytes_le, place, 8, item_flags)
        struct.pack_into("<II", content, at + 0x10000, odd.get("block", 32 * MIB), flags)
        struct.pack_into("<Q", content, at + 0x10010, odd.get("size", SIZE))
        struct.pack_into("<I", content, at + 0x10020, odd.get("sector", 512))
    return bytes(content)


def _region_table(regions, count=None) -> bytes:
    table = bytearray(0x10000)
    struct.pack_into("<4sII", table, 0, b"regi", 0, len(regions) if count is None else count)
    for number, (kind, offset, length, flags) in enumerate(regions):
        struct.pack_into("<16sQII", table, 16 + 32 * number, uuid.UUID(kind).bytes_le, offset, length, flags)
    return seal(table)

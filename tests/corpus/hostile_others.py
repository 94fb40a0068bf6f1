# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile images of VHD, VHDX and VDI."""

from __future__ import annotations

from ansible_collections.encompass.images.tests.corpus.classes import PATHS, hostile
from ansible_collections.encompass.images.tests.corpus.headers import (
    BAT,
    ITEMS,
    MIB,
    REGIONS,
    SIZE,
    vdi,
    vhdx,
    vpc,
    vpc_footer,
)


@hostile("reference")
def vpc_parents(chance):
    for path in PATHS[:12]:
        yield "vpc", vpc(kind=chance.choice([3, 4]), parent=path.decode("latin-1"))
    yield "vpc", vpc(parent_id=b"p" * 16)
    yield "vpc", vpc(kind=4)


@hostile("layout")
def vpc_false_sums(chance):
    for _one in range(6):
        content = bytearray(vpc())
        content[-512 + chance.randrange(8, 512)] ^= 1 << chance.randrange(8)
        yield "vpc", bytes(content)
        content = bytearray(vpc())
        content[chance.randrange(8, 1536)] ^= 1 << chance.randrange(8)
        yield "vpc", bytes(content)


@hostile("layout")
def vpc_absurd_fields(chance):
    for kind in (0, 1, 5, 6, 1 << 31):
        yield "vpc", vpc(kind=kind)
    for block in (0, 1, 513, 3 * MIB, 1 << 31):
        yield "vpc", vpc(block=block)
    for entries in (0, 1, 31, 1 << 24, (1 << 32) - 1):
        yield "vpc", vpc(entries=entries)
    yield "vpc", vpc(geometry=(60000, 16, 255))
    yield "vpc", vpc(dynamic_at=(1 << 64) - 1)
    yield "vpc", vpc(dynamic_at=0)
    yield "vpc", vpc(table_at=512)
    yield "vpc", vpc(table_at=chance.randrange(1 << 20, 1 << 60))
    yield "vpc", vpc(table=bytes([0, 16, 0, 0]) * 128)
    yield "vpc", vpc(tail=vpc_footer(size=SIZE * 2))
    yield "vpc", bytes(MIB) + vpc_footer(2, size=2 * MIB, geometry=(0, 0, 0))
    # to qemu what is at the start counts more than the footer, and is a dynamic disk
    yield "vpc", vpc(tail=vpc_footer(2, size=512, geometry=(0, 0, 0)))


@hostile("reference")
def vhdx_parents(chance):
    for flags in (2, 3):
        yield "vhdx", vhdx(flags=flags)
    for flags in range(10):
        yield "vhdx", vhdx(items=(*ITEMS, ("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", flags)))


@hostile("state")
def vhdx_logs(chance):
    for _one in range(8):
        yield "vhdx", vhdx(log=chance.randbytes(16))


@hostile("layout")
def vhdx_false_regions(chance):
    bat, metadata = REGIONS
    for offset in (0, 2 * MIB, 3 * MIB, 1 << 40, (1 << 64) - MIB):
        yield "vhdx", vhdx(regions=((BAT, offset, MIB, 1), metadata))
    yield "vhdx", vhdx(regions=((BAT, MIB, (1 << 32) - MIB, 1), metadata))
    yield "vhdx", vhdx(regions=((BAT, MIB + 1, MIB, 1), metadata))
    yield "vhdx", vhdx(regions=(bat, metadata, metadata))
    yield "vhdx", vhdx(regions=(bat,))
    yield "vhdx", vhdx(second_regions=(metadata, bat))
    yield "vhdx", vhdx(count=0)
    yield "vhdx", vhdx(count=1 << 31)
    yield "vhdx", vhdx(log_at=MIB, log_length=MIB)


@hostile("layout")
def vhdx_absurd_fields(chance):
    for block in (0, 1, MIB // 2, 3 * MIB, 512 * MIB):
        yield "vhdx", vhdx(block=block)
    for sector in (0, 1, 513, 1 << 31):
        yield "vhdx", vhdx(sector=sector)
    yield "vhdx", vhdx(size=1)
    yield "vhdx", vhdx(size=1 << 62)
    yield "vhdx", vhdx(version=2)
    yield "vhdx", vhdx(item_count=5000)
    yield "vhdx", vhdx(item_at=MIB)
    yield "vhdx", vhdx()[:0x10004] + b"\0\0\0\1" + vhdx()[0x10008:0x20004] + b"\0\0\0\1" + vhdx()[0x20008:]


@hostile("feature")
def vhdx_unknown_parts(chance):
    for number in range(6):
        stranger = f"{number:08X}-0000-4000-8000-{chance.randrange(1 << 48):012X}"
        yield "vhdx", vhdx(regions=(*REGIONS, (stranger, 0, 0, 1)))
        known = tuple(
            (kind, 4) for kind in ("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", "2FA54224-CD1B-4876-B211-5DBED83BF4B8")
        )
        yield "vhdx", vhdx(items=(*known, ("8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 4), (stranger, 4)))


@hostile("reference")
def vdi_parents(chance):
    for kind in (0, 3, 4, 1 << 31):
        yield "vdi", vdi(kind=kind)
    for _one in range(4):
        identity = bytes(chance.randrange(1, 256) for _byte in range(16))
        yield "vdi", vdi(parent=identity)
        yield "vdi", vdi(link=identity)


@hostile("layout")
def vdi_absurd_fields(chance):
    for version in (0, 1, 0x10000, 0x20001):
        yield "vdi", vdi(version=version)
    for change in ({"sector": 4096}, {"block": 512}, {"block": 0}, {"blocks": 63}, {"blocks": (1 << 32) - 1}):
        yield "vdi", vdi(**change)
    for change in ({"map_at": 0}, {"map_at": 513}, {"map_at": 1 << 30}, {"data_at": 512}, {"data_at": 7}):
        yield "vdi", vdi(**change)
    yield "vdi", vdi(block_map=chance.randrange(1 << 24).to_bytes(4, "little") + b"\xff" * 252)
    yield "vdi", vdi(size=1 << 62)

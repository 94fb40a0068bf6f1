# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile VMDK images."""

from __future__ import annotations

from ansible_collections.encompass.images.tests.corpus.classes import PATHS, hostile
from ansible_collections.encompass.images.tests.corpus.headers import DESCRIPTION, vmdk


@hostile("reference")
def vmdk_parents(chance):
    for path in PATHS[:12]:
        hint = b'ffffffff\nparentFileNameHint="%b"' % path.split(b"\n", maxsplit=1)[0].replace(b'"', b"'")
        yield "vmdk", vmdk(DESCRIPTION.replace(b"ffffffff", hint))
    for line in (b"parentCID=00000000", b"PARENTCID=1234abcd", b" parentCID = 1"):
        yield "vmdk", vmdk(DESCRIPTION.replace(b"parentCID=ffffffff", line))
    yield "vmdk", vmdk(DESCRIPTION + b'#parentFileNameHint="x"\n')
    # beyond the description's end, where qemu goes on reading
    full = DESCRIPTION.ljust(512, b"\n")
    yield "vmdk", vmdk(full + b'parentFileNameHint="nbd://127.0.0.1:10809/x"\n', description_length=1)


@hostile("reference")
def vmdk_extents_elsewhere(chance):
    for path in PATHS[:12]:
        extent = chance.choice([b"FLAT", b"VMFS", b"ZERO", b"VMFSRDM"]) + b' "%b" 0' % path.replace(b'"', b"'")
        yield "vmdk", vmdk(DESCRIPTION.replace(b'SPARSE "x.vmdk"', extent))
    yield "vmdk", vmdk(DESCRIPTION + b'RW 131072 SPARSE "y.vmdk"\n')
    yield "vmdk", vmdk(DESCRIPTION.replace(b"monolithicSparse", b"twoGbMaxExtentSparse"))
    yield "vmdk", vmdk(b"")
    yield "vmdk", vmdk(b"# Disk DescriptorFile\n")
    yield "vmdk", vmdk(capacity=0)


@hostile("reference")
def vmdk_descriptions_alone(chance):
    for path in PATHS[:12]:
        extent = b'FLAT "%b" 0' % path.replace(b'"', b"'")
        yield "vmdk", DESCRIPTION.replace(b'SPARSE "x.vmdk"', extent)
    for before in (b"# hello\n", b"\n\n  \n", b"#\r\n \r\n"):
        yield "vmdk", before + b'version=1\nRW 8 FLAT "/etc/shadow" 0\n'


@hostile("layout")
def vmdk_absurd_fields(chance):
    for grain in (0, 1, 3, 7, 4096, (1 << 64) - 1):
        yield "vmdk", vmdk(grain=grain)
    for entries in (0, 1, 513, (1 << 32) - 1):
        yield "vmdk", vmdk(table_entries=entries)
    for version in (0, 4, 1 << 31):
        yield "vmdk", vmdk(version=version)
    yield "vmdk", vmdk(compression=chance.randrange(2, 1 << 16))
    yield "vmdk", vmdk(capacity=1 << 63)
    yield "vmdk", vmdk(description_length=1 << 40)
    yield "vmdk", vmdk(DESCRIPTION + b"CID=1\n")
    # a harmless description where the header says, another one where qemu looks for a parent
    hint = b'parentCID=1\nparentFileNameHint="nbd://127.0.0.1:10809/x"\n'
    yield "vmdk", vmdk(hint, description_at=11) + DESCRIPTION.ljust(2048, b"\0")


@hostile("layout")
def vmdk_tables_outside(chance):
    for _one in range(5):
        at = chance.randrange(100, 1 << 54)
        yield "vmdk", vmdk(directory_at=at)
        yield "vmdk", vmdk(redundant_at=at)
    yield "vmdk", vmdk(directory_at=0)
    yield "vmdk", vmdk(directory_at=1, redundant_at=6)
    yield "vmdk", vmdk(directory_at=5)


@hostile("state")
def vmdk_left_open(chance):
    for _one in range(12):
        yield "vmdk", vmdk(unclean=chance.randrange(1, 256))


@hostile("feature")
def vmdk_unknown_flags(chance):
    for bit in chance.sample([*range(3, 16), *range(18, 32)], 12):
        yield "vmdk", vmdk(flags=3 | 1 << bit)


@hostile("layout")
def vmdk_false_footers(chance):
    for change in ({"capacity": 1 << 40}, {"grain": 8}, {"table_entries": 7}, {"directory_at": (1 << 64) - 1}):
        yield "vmdk", vmdk(footer=change)
    for change in ({"flags": 1}, {"version": 3}, {"description_at": 2}, {"unclean": 1}, {"directory_at": 1 << 30}):
        yield "vmdk", vmdk(footer=change)
    for length in (512, 1024, 1536):
        yield "vmdk", vmdk(footer={})[:-length]
    # qemu takes the last whole sectors for the footer, which are others than the last bytes
    tail = vmdk(footer={})[-1536:]
    yield "vmdk", vmdk(footer={"capacity": 1 << 40})[:-1436] + tail
    yield "vmdk", vmdk(directory_at=(1 << 64) - 1)[: chance.randrange(80, 400)]

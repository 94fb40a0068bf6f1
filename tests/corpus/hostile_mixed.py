# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile images that are of two formats, of none, or in packages."""

from __future__ import annotations

from ansible_collections.encompass.images.tests.corpus.classes import PATHS, hostile
from ansible_collections.encompass.images.tests.corpus.headers import (
    BAT,
    DESCRIPTION,
    METADATA,
    MIB,
    qcow2,
    vdi,
    vhdx,
    vmdk,
    vpc,
    vpc_footer,
)
from ansible_collections.encompass.images.tests.corpus.packages import describe, member, ova, write_manifest


@hostile("size")
def disks_of_no_or_absurd_size(chance):
    yield "qcow2", qcow2(size=0)
    yield "vdi", vdi(size=0)
    yield "vpc", vpc(size=0, geometry=(0, 0, 0))
    yield "vhdx", vhdx(size=0)
    yield "raw", b""
    for shift in range(42, 46):  # clusters of 2 MiB: a short L1 table covers a large disk
        entries = (1 << shift) >> 39
        yield "qcow2", qcow2(cluster_bits=21, size=1 << shift, l1_entries=max(entries, 1))
    regions = ((METADATA, MIB, MIB, 1), (BAT, 2 * MIB, MIB, 1))
    for shift in (43, 44, 45):
        yield "vhdx", vhdx(size=1 << shift, block=256 * MIB, regions=regions)


@hostile("polyglot")
def two_things_at_once(chance):
    for content in (qcow2(), vmdk(), vhdx()):
        for tail in (vpc_footer(), b"koly".ljust(512, b"\0")):
            yield {b"Q": "qcow2", b"K": "vmdk"}.get(content[:1], "vhdx"), content.ljust(MIB, b"\0") + tail
    for magic in (b"QFI\xfb", b"KDMV", b"LUKS\xba\xbe", b"\x1f\x8b\x08", b"PK\x03\x04"):
        disk = bytearray(MIB)
        disk[: len(magic)] = magic
        yield "vpc", bytes(disk) + vpc_footer(2, size=MIB, geometry=(0, 0, 0))
    tar = bytearray(qcow2())
    tar[257:262] = b"ustar"
    yield "qcow2", bytes(tar)
    box = bytearray(qcow2())
    box[0x40:0x44] = b"\x7f\x10\xda\xbe"
    yield "qcow2", bytes(box)
    yield "vdi", b"PK\x03\x04" + vdi()[4:]


@hostile("format")
def raw_that_is_more(chance):
    for content in (
        qcow2(),
        vmdk(),
        vdi(),
        vhdx(),
        vpc(),
        DESCRIPTION,
        ova(),
        b"# x\nversion=1\n",
        b"\n \nversion=2\n",
    ):
        yield "raw", content
    for magic in (
        b"LUKS\xba\xbe",
        b"COWD",
        b"WithoutFreeSpace",
        b"Bochs Virtual HD Image",
        b"QED\0",
        b"\xfd7zXZ\0",
        b"\x04\x22\x4d\x18",
    ):
        yield "raw", magic.ljust(MIB, b"\0")
    yield "raw", bytes(MIB) + vpc_footer(2, size=MIB, geometry=(0, 0, 0))


@hostile("format")
def declared_as_another(chance):
    yield "ova", ova() + vpc_footer()
    images = {"qcow2": qcow2(), "vmdk": vmdk(), "vdi": vdi(), "vhdx": vhdx(), "vpc": vpc(), "raw": bytes(MIB)}
    for name, content in images.items():
        for other in chance.sample(sorted({*images, "ova"} - {name}), 3):
            yield other, content


@hostile("layout")
def cut_off(chance):
    for _one in range(4):
        yield "qcow2", qcow2()[: chance.randrange(8, 1024)]
        yield "vmdk", vmdk()[: chance.randrange(8, 500)]
        yield "vdi", vdi()[: chance.randrange(0x60, 700)]
        yield "vhdx", vhdx()[: chance.randrange(8, 2 * MIB)]
        yield "vpc", vpc()[: chance.randrange(8, 1600)]


@hostile("package")
def packages_that_lead_elsewhere(chance):
    for name in ("../x", "/etc/passwd", "a/b", "..", "-rf", "a\\b", "x\ny", "\u00e9"):
        yield "ova", ova(extra=member(name, b""))
    for kind in b"1234567SLKxgDMV":
        yield "ova", ova(extra=member("x", b"", kind=bytes([kind]), link=b"/etc/shadow"))
    for path in ("../disk.vmdk", "/etc/shadow", "file:///etc/shadow", "http://169.254.169.254/"):
        yield "ova", ova(description=describe(path))


@hostile("package")
def packages_that_contradict_themselves(chance):
    yield "ova", ova(extra=member("disk.vmdk", vmdk()))
    yield "ova", ova(extra=member("other.ovf", describe()))
    yield "ova", ova(extra=member("x", b"", checksum=b"000000\0 "))
    yield "ova", ova(extra=member("x", b"", size=b"\x80" + b"\xff" * 11))
    yield "ova", ova(manifest=write_manifest({"nothing": b""}))
    yield "ova", ova({"a.vmdk": vmdk(), "b.vmdk": vmdk()})
    yield "ova", ova({})
    for number in range(6):
        files = {"machine.ovf": describe("disk.vmdk"), "disk.vmdk": vmdk(unclean=number)}
        yield "ova", ova(manifest=write_manifest(files).replace(b"= ", b"= %x" % chance.randrange(16))[:-65] + b"\n")


@hostile("package")
def packages_with_false_digests(chance):
    for algorithm in ("sha1", "sha256", "sha384", "sha512"):
        for name in ("machine.ovf", "disk.vmdk"):
            files = {"machine.ovf": describe("disk.vmdk"), "disk.vmdk": vmdk()}
            files[name] += b"!"
            yield "ova", ova(manifest=write_manifest(files, algorithm))


@hostile("package")
def descriptions_that_explode(chance):
    laugh = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    for before in (
        f'<!DOCTYPE l [<!ENTITY l0 "ha">{laugh}]>',
        '<!DOCTYPE a SYSTEM "file:///etc/shadow">',
        "<!doctype a>",
    ):
        yield "ova", ova(description=describe("disk.vmdk", before=before))
    yield "ova", ova(description=b"<a" + b" " * (2 << 20) + b"/>", manifest=None)
    for coding in ("utf-16", "utf-16-be", "utf-32"):
        yield "ova", ova(description=describe("disk.vmdk").decode().encode(coding), manifest=None)


@hostile("reference")
def packages_with_a_hostile_disk(chance):
    for path in PATHS[:8]:
        extent = b'FLAT "%b" 0' % path.replace(b'"', b"'")
        yield "ova", ova({"disk.vmdk": vmdk(DESCRIPTION.replace(b'SPARSE "x.vmdk"', extent))})

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inspector of image headers, on headers built byte by byte."""

from __future__ import annotations

import random
import struct
import uuid

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.image_header import (
    FORMATS,
    IMPORTABLE_FORMATS,
    REFUSALS,
    ImageHeader,
    inspect_header,
    refuse_image,
)

SIZE = 64 << 20
BACKING_FORMAT, DATA_FILE_NAME, FEATURE_NAMES = 0xE2792ACA, 0x44415441, 0x6803F857


def inspect(content, size=None):
    """Return what the inspector says of these bytes."""
    return inspect_header(
        lambda offset, length: content[offset : offset + length], len(content) if size is None else size, "image x"
    )


def qcow2(*, version=3, cluster_bits=16, crypt=0, snapshots=0, features=0, extensions=(), backing=b"", **odd):
    """Return a qcow2 header."""
    written = b"".join(
        struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8) for kind, content in extensions
    )
    backing_at = 112 + len(written) + 8 if backing else 0
    head = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb",
        version,
        odd.get("backing_at", backing_at),
        odd.get("backing_length", len(backing)),
        cluster_bits,
        SIZE,
        crypt,
        1,
        0x30000,
        0x10000,
        1,
        snapshots,
        0,
    )
    if version == 2:
        return (head + bytes(8) + backing).ljust(4096, b"\0")
    head += struct.pack(">QQQII", features, 0, 0, 4, odd.get("header_length", 112)) + bytes(8)
    return (head + written + bytes(8) + backing).ljust(4096, b"\0")


def vmdk(description, capacity=SIZE // 512, dirty=False):
    """Return a sparse VMDK with its description."""
    head = struct.pack("<4sIIQQQQ", b"KDMV", 1, 3, capacity, 128, 1 if description else 0, 4)
    return (head.ljust(72, b"\0") + (b"\1" if dirty else b"\0")).ljust(512, b"\0") + description.ljust(2048, b"\0")


DESCRIPTION = b"""# Disk DescriptorFile
version=1
CID=abcd1234
parentCID=ffffffff
createType="monolithicSparse"
RW 131072 SPARSE "x.vmdk"
"""


def vdi(kind=1, parent=bytes(16)):
    """Return a VDI header."""
    content = bytearray(512)
    struct.pack_into("<I", content, 0x40, 0xBEDA107F)
    struct.pack_into("<I", content, 0x4C, kind)
    struct.pack_into("<Q", content, 0x170, SIZE)
    content[0x1B8:0x1C8] = parent
    return bytes(content)


def vpc(kind=3, parent=""):
    """Return a VHD's footer, and its dynamic header behind it."""
    content = bytearray(2048)
    content[0:8] = b"conectix"
    struct.pack_into(">Q", content, 0x10, 512)
    struct.pack_into(">Q", content, 0x30, SIZE)
    struct.pack_into(">I", content, 0x3C, kind)
    name = parent.encode("utf-16-be")
    content[576 : 576 + len(name)] = name
    return bytes(content)


def vhdx(flags=0, log=bytes(16), regions=1):
    """Return a VHDX with two headers, one region table and its metadata."""
    content = bytearray(0x50000)
    content[0:8] = b"vhdxfile"
    struct.pack_into("<4sIQ16s16s16s", content, 0x10000, b"head", 0, 1, b"", b"", b"stale".ljust(16))
    struct.pack_into("<4sIQ16s16s16s", content, 0x20000, b"head", 0, 2, b"", b"", log)
    metadata = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
    struct.pack_into("<4sIII16sQI", content, 0x30000, b"regi", 0, regions, 0, metadata, 0x45000, 0x1000)
    struct.pack_into("<8sHH", content, 0x45000, b"metadata", 0, 2)
    for number, (item, offset) in enumerate(
        [("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", 0x100), ("2FA54224-CD1B-4876-B211-5DBED83BF4B8", 0x108)]
    ):
        struct.pack_into("<16sI", content, 0x45020 + 32 * number, uuid.UUID(item).bytes_le, offset)
    struct.pack_into("<II", content, 0x45100, 32 << 20, flags)
    struct.pack_into("<Q", content, 0x45108, SIZE)
    return bytes(content)


def qed(features=0, backing=b""):
    """Return a QED header."""
    head = struct.pack("<4sIIIQQQQQII", b"QED\0", 65536, 4, 1, features, 0, 0, 0, SIZE, 64, len(backing))
    return (head + backing).ljust(512, b"\0")


WHOLE = {
    "qcow2 version 3": (qcow2(), "qcow2"),
    "qcow2 version 2": (qcow2(version=2), "qcow2"),
    "qcow2 with zstd and extended L2": (qcow2(features=0x18), "qcow2"),
    "vmdk": (vmdk(DESCRIPTION), "vmdk"),
    "vmdk streamOptimized": (vmdk(DESCRIPTION.replace(b"monolithicSparse", b"streamOptimized")), "vmdk"),
    "vdi": (vdi(), "vdi"),
    "vdi fixed": (vdi(kind=2), "vdi"),
    "vpc": (vpc(), "vpc"),
    "vpc fixed": (bytes(4096) + vpc(kind=2)[:512], "vpc"),
    "vhdx": (vhdx(), "vhdx"),
    "qed": (qed(), "qed"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_image_is_known_and_taken(name):
    content, image_format = WHOLE[name]
    header = inspect(content)
    assert (header.format, header.virtual_bytes) == (image_format, SIZE)
    refuse_image(header, image_format, "image x")


def test_what_nothing_recognises_is_raw():
    assert inspect(b"\xeb\x63\x90".ljust(4096, b"\0")) == ImageHeader("raw", virtual_bytes=4096)
    assert inspect(b"QFI") == ImageHeader("raw", virtual_bytes=3)


REFUSED = {
    "qcow2 backing": (qcow2(backing=b"/etc/shadow"), "it needs the backing file /etc/shadow"),
    "qcow2 backing, nameless": (qcow2(backing_at=200), "it needs the backing file (a nameless file)"),
    "qcow2 version 2 backing": (
        qcow2(version=2, backing=b"../a", backing_at=80),
        "it needs the backing file ../a",
    ),
    "qcow2 backing, unprintable": (qcow2(backing=b"a\nb\xff"), "it needs the backing file a?b\ufffd"),
    "qcow2 data file": (
        qcow2(features=4, extensions=[(DATA_FILE_NAME, b"/dev/sda")]),
        "its data are in another file, /dev/sda",
    ),
    "qcow2 data file, nameless": (qcow2(features=4), "its data are in another file, (a nameless file)"),
    "qcow2 AES": (qcow2(crypt=1), "it is encrypted"),
    "qcow2 LUKS": (qcow2(crypt=2), "it is encrypted"),
    "qcow2 corrupt": (qcow2(features=2), "it is marked corrupt"),
    "qcow2 dirty": (qcow2(features=1), "it was not closed cleanly"),
    "qcow2 snapshots": (qcow2(snapshots=3), "it holds 3 internal snapshots"),
    "qcow2 unknown feature": (qcow2(features=1 << 40), "it uses features unknown here: bit 40"),
    "qcow2 unknown feature with a name": (
        qcow2(features=1 << 6, extensions=[(FEATURE_NAMES, b"\0\x06time travel".ljust(48, b"\0"))]),
        "it uses features unknown here: time travel",
    ),
    "qed backing": (qed(features=1, backing=b"base.raw"), "it needs the backing file base.raw"),
    "qed dirty": (qed(features=2), "it was not closed cleanly"),
    "qed unknown feature": (qed(features=8), "it uses features unknown here: bit 3"),
    "vdi differencing": (vdi(kind=4), "it needs the backing file of the image"),
    "vdi with a parent": (vdi(parent=b"p" * 16), "it needs the backing file of the image"),
    "vpc differencing": (vpc(kind=4, parent="C:\\base.vhd"), "it needs the backing file C:\\base.vhd"),
    "vhdx with a parent": (vhdx(flags=2), "it needs the backing file of a parent image"),
    "vhdx with a log": (vhdx(log=b"l" * 16), "it was not closed cleanly"),
    "vmdk with a parent": (
        vmdk(DESCRIPTION.replace(b"ffffffff", b'1234abcd\nparentFileNameHint="base.vmdk"')),
        "it needs the backing file base.vmdk",
    ),
    "vmdk dirty": (vmdk(DESCRIPTION, dirty=True), "it was not closed cleanly"),
    "vmdk without a description": (vmdk(b""), "its data are in another file"),
    "vmdk of two extents": (
        vmdk(DESCRIPTION + b'RW 131072 SPARSE "y.vmdk"\n'),
        "its data are in another file, x.vmdk",
    ),
    "vmdk flat extent": (
        vmdk(DESCRIPTION.replace(b"SPARSE", b"FLAT").replace(b"x.vmdk", b"/etc/passwd")),
        "its data are in another file, /etc/passwd",
    ),
    "vmdk description alone": (DESCRIPTION, "its data are in another file"),
    "nothing in it": (b"", "it has no room"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_is_not_whole_and_alone_is_refused(name):
    content, sentence = REFUSED[name]
    header = inspect(content)
    with pytest.raises(InvalidRequest) as refusal:
        refuse_image(header, header.format, "image x")
    assert refusal.value.problem.startswith(sentence)
    assert refusal.value.remedy


def test_every_reason_to_refuse_is_tested():
    headers = [inspect(content) for content, _sentence in REFUSED.values()]
    for find_problem, _remedy in REFUSALS:
        assert any(find_problem(header) for header in headers)


MALFORMED = {
    "qcow2 cut off": b"QFI\xfb\0\0\0\x03",
    "qcow2 version 9": qcow2(version=9),
    "qcow2 clusters of 2^60": qcow2(cluster_bits=60),
    "qcow2 backing name of 1 GiB": qcow2(backing_at=200, backing_length=1 << 30),
    "qcow2 backing name far away": qcow2(backing_at=1 << 50, backing_length=5),
    "qcow2 header of 8 bytes": qcow2(header_length=8),
    "qcow2 extension without end": qcow2(extensions=[(BACKING_FORMAT, b"x" * 3000)])[:120] + b"\xff" * 2000,
    "vhdx without regions": vhdx(regions=0),
    "vhdx cut off": vhdx()[:0x20010],
    "vpc of a strange type": vpc(kind=77),
    "vdi cut off": vdi()[:0x60],
    "qed cut off": qed()[:20],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_header_that_contradicts_its_format_is_refused(name):
    with pytest.raises(InvalidRequest, match="header cannot be used"):
        inspect(MALFORMED[name])


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: f"{known.name} at {known.offset}")
def test_nothing_with_a_known_magic_passes_as_raw(known):
    content = bytearray(1024)
    start = known.offset % 1024
    content[start : start + len(known.magic)] = known.magic
    try:
        header = inspect(bytes(content))
    except InvalidRequest:
        return
    with pytest.raises(InvalidRequest, match=r"it was declared as raw, but its header is that of"):
        refuse_image(header, "raw", "image x")


@pytest.mark.parametrize("name", WHOLE)
def test_damage_gives_an_answer_or_a_refusal_and_nothing_else(name):
    whole = WHOLE[name][0]
    chance = random.Random(name)
    for _round in range(500):
        content = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _byte in range(chance.randrange(8)):
            if content:
                content[chance.randrange(min(len(content), 1024))] = chance.choice([0, 1, 255, chance.randrange(256)])
        try:
            header = inspect(bytes(content))
            refuse_image(header, header.format, "image x")
        except InvalidRequest:
            continue


def test_declared_and_detected_must_agree():
    with pytest.raises(InvalidRequest, match="it was declared as vmdk, but its header is that of qcow2"):
        refuse_image(inspect(qcow2()), "vmdk", "image x")
    with pytest.raises(InvalidRequest, match="it was declared as qcow2, but its header is that of raw"):
        refuse_image(inspect(b"boot".ljust(512)), "qcow2", "image x")


def test_the_backing_format_is_told():
    header = inspect(qcow2(backing=b"/p/base", extensions=[(BACKING_FORMAT, b"raw")]))
    assert (header.backing_file, header.backing_format) == ("/p/base", "raw")


def test_what_can_be_imported_can_be_inspected():
    assert set(IMPORTABLE_FORMATS) == {known.name for known in FORMATS if known.parse} | {"raw"}

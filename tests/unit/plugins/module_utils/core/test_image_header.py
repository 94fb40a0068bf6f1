# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inspector of image headers, on headers built byte by byte."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.image_formats.facts import ImageHeader
from ansible_collections.encompass.images.plugins.module_utils._core.image_header import (
    FORMATS,
    IMPORTABLE_FORMATS,
    REFUSALS,
    inspect_header,
    refuse_image,
)
from ansible_collections.encompass.images.tests.corpus.headers import (
    BACKING_FORMAT,
    DATA_FILE_NAME,
    DESCRIPTION,
    FEATURE_NAMES,
    MIB,
    REGIONS,
    SIZE,
    qcow2,
    vdi,
    vhdx,
    vmdk,
    vpc,
)


def inspect(content, size=None):
    """Return what the inspector says of these bytes."""
    return inspect_header(
        lambda offset, length: content[offset : offset + length], len(content) if size is None else size, "image x"
    )


WHOLE = {
    "qcow2 version 3": (qcow2(), "qcow2"),
    "qcow2 version 2": (qcow2(version=2), "qcow2"),
    "qcow2 with zstd and extended L2": (qcow2(cluster_bits=14, features=0x18, compression=1), "qcow2"),
    "vmdk": (vmdk(DESCRIPTION), "vmdk"),
    "vmdk with a footer": (vmdk(footer={}), "vmdk"),
    "vmdk streamOptimized": (vmdk(DESCRIPTION.replace(b"monolithicSparse", b"streamOptimized")), "vmdk"),
    "vdi": (vdi(), "vdi"),
    "vdi fixed": (vdi(kind=2), "vdi"),
    "vpc": (vpc(), "vpc"),
    "vpc fixed": (vpc(kind=2, size=SIZE), "vpc"),
    "vhdx": (vhdx(), "vhdx"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_image_is_known_and_taken(name):
    content, image_format = WHOLE[name]
    header = inspect(content)
    assert (header.format, header.virtual_bytes) == (image_format, SIZE)
    refuse_image(header, image_format, "image x")


def test_what_nothing_recognises_is_raw():
    assert inspect(b"\xeb\x63\x90".ljust(4096, b"\0")) == ImageHeader("raw", virtual_bytes=4096, file_bytes=4096)
    assert inspect(b"QFI") == ImageHeader("raw", virtual_bytes=3, file_bytes=3)


REFUSED = {
    "qcow2 backing": (qcow2(backing=b"/etc/shadow"), "it needs the backing file /etc/shadow"),
    "qcow2 backing, nameless": (qcow2(backing_at=200), "it needs the backing file (a nameless file)"),
    "qcow2 version 2 backing": (
        qcow2(version=2, backing=b"../a"),
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
    "two things at once": (
        qcow2().ljust(4096, b"\0") + vpc()[-512:],
        "it is qcow2, but also bears the sign of vpc",
    ),
    "qcow2 tables overlap": (qcow2(l1_at=512), "its L1 table and its reference table overlap"),
    "qcow2 table outside": (qcow2(refcounts_at=1 << 40), "its reference table reaches beyond the end of the file"),
    "qcow2 L2 table outside": (qcow2(l1=[1 << 40]), "a table of it names what is beyond the end of the file"),
    "vdi block outside": (vdi(block_map=bytes(4)), "a table of it names what is beyond the end of the file"),
    "vpc block outside": (vpc(table=bytes([0, 1, 0, 0]) * 128), "a table of it names what is beyond"),
    "vpc suspended": (vpc(saved=1), "it was not closed cleanly"),
    "vhdx regions overlap": (vhdx(regions=[*REGIONS, ("a" * 32, 0, MIB, 0)]), "its"),
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
    for refusal in REFUSALS:
        assert any(refusal.find_problem(header) for header in headers)


MALFORMED = {
    "qcow2 cut off": b"QFI\xfb\0\0\0\x03",
    "qcow2 version 9": qcow2(version=9),
    "qcow2 clusters of 2^60": qcow2(cluster_bits=60),
    "qcow2 backing name of 1 GiB": qcow2(backing_at=200, backing_length=1 << 30),
    "qcow2 backing name far away": qcow2(backing_at=1 << 50, backing_length=5),
    "qcow2 header of 8 bytes": qcow2(header_length=8),
    "qcow2 extension without end": qcow2(extensions=[(BACKING_FORMAT, b"x" * 3000)])[:120] + b"\xff" * 2000,
    "vhdx without regions": vhdx(count=0),
    "vhdx cut off": vhdx()[:0x20010],
    "vpc of a strange type": vpc(kind=77),
    "vdi cut off": vdi()[:0x60],
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


def test_declared_and_detected_must_agree():
    with pytest.raises(InvalidRequest, match="it was declared as vmdk, but its header is that of qcow2"):
        refuse_image(inspect(qcow2()), "vmdk", "image x")
    with pytest.raises(InvalidRequest, match="it was declared as qcow2, but its header is that of raw"):
        refuse_image(inspect(b"boot".ljust(512)), "qcow2", "image x")


def test_the_backing_format_is_told():
    header = inspect(qcow2(backing=b"/p/base", extensions=[(BACKING_FORMAT, b"raw")]))
    assert (header.backing_file, header.backing_format) == ("/p/base", "raw")


def test_what_can_be_imported_can_be_inspected():
    assert set(IMPORTABLE_FORMATS) == {known.name for known in FORMATS if known.parse} | {"raw", "ova"}

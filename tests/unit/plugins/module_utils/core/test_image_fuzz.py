# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged images: the inspector takes them or refuses them, soon and in little memory, and does nothing else.

`FUZZ_EXAMPLES=20000` tries so many of each kind, others each time, instead of a few that are always the same.
"""

from __future__ import annotations

import os
import struct
import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ImageRefused
from ansible_collections.encompass.images.plugins.module_utils._core.image_formats.facts import MAX_TABLE_BYTES
from ansible_collections.encompass.images.plugins.module_utils._core.image_header import inspect_header
from ansible_collections.encompass.images.plugins.module_utils._core.ova import choose_disk, read_package
from ansible_collections.encompass.images.plugins.module_utils._core.sources import ImportLimits, refuse_source
from ansible_collections.encompass.images.tests.corpus.headers import (
    BACKING_FORMAT,
    DESCRIPTION,
    MIB,
    add_up,
    qcow2,
    seal,
    vdi,
    vhdx,
    vmdk,
    vpc,
)
from ansible_collections.encompass.images.tests.corpus.packages import ova

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES or 300,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
MOST_CPU_S = 2
MOST_READ_BYTES = 4 * MAX_TABLE_BYTES
LIMITS = ImportLimits(1 << 40, 1 << 41)

GOOD = {
    "qcow2": qcow2(extensions=[(BACKING_FORMAT, b"raw")], l1=[1024]),
    "qcow2 version 2": qcow2(version=2),
    "qcow2 with subclusters": qcow2(cluster_bits=14, features=0x18, compression=1),
    "vmdk": vmdk(),
    "vmdk stream": vmdk(footer={}),
    "vmdk description": DESCRIPTION,
    "vdi": vdi(block_map=bytes(4) + b"\xff" * 252) + bytes(2 * MIB),
    "vpc": vpc(),
    "vpc fixed": vpc(kind=2, size=MIB, geometry=(0, 0, 0)),
    "vhdx": vhdx(),
    "ova": ova(),
    "ova disk": ova({"disk.vmdk": vmdk(footer={})}, manifest=None),
}
NUMBERS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 2, 511, 512, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]),
)


def find_filled(content):
    """Return the places that hold something, and those beside them."""
    filled = [at for at in range(0, len(content), 4) if any(content[at : at + 4])]
    return sorted({at + step for at in filled for step in (-4, 0, 4) if 0 <= at + step < len(content)})


FILLED = {name: find_filled(content) for name, content in GOOD.items()}


def draw_edits(name):
    """Return what draws changes of an image: (place, width, byte order, number)."""
    place = st.one_of(st.sampled_from(FILLED[name]), st.integers(0, len(GOOD[name]) - 1))
    edit = st.tuples(place, st.sampled_from("BHIQ"), st.sampled_from("<>"), NUMBERS)
    return st.lists(edit, min_size=1, max_size=6)


def draw_length(name):
    """Return what draws where an image is cut off, often within its header; None for nowhere."""
    whole = len(GOOD[name])
    return st.one_of(st.none(), st.integers(0, whole), st.integers(0, min(whole, 1024)))


def damage(name, edits, length, *, is_sealed):
    """Return an image after the changes; with ``is_sealed`` its checksums are right again."""
    content = bytearray(GOOD[name])
    for place, width, order, number in edits:
        layout = order + width
        if place + struct.calcsize(layout) <= len(content):
            struct.pack_into(layout, content, place, number & (1 << 8 * struct.calcsize(layout)) - 1)
    if is_sealed and name == "vhdx":
        for at, size in ((0x10000, 4096), (0x20000, 4096), (0x30000, 0x10000)):
            block = content[at : at + size]
            block[4:8] = bytes(4)
            content[at : at + size] = seal(block)
        content[0x40000:0x50000] = content[0x30000:0x40000]
    if is_sealed and name.startswith("vpc"):
        for at, size, place in ((len(content) - 512, 512, 0x40), *([(512, 1024, 0x24)] if name == "vpc" else [])):
            content[at + place : at + place + 4] = bytes(4)
            struct.pack_into(">I", content, at + place, add_up(content[at : at + size]))
        if name == "vpc":
            content[:512] = content[-512:]
    return bytes(content[:length])


def inspect(name, content):
    """Look at an image as an import does; return how many bytes were read of it."""
    read_bytes = 0

    def read(offset, length):
        nonlocal read_bytes
        assert offset >= 0 and 0 <= length <= MAX_TABLE_BYTES
        block = content[offset : offset + length]
        read_bytes += len(block)
        return block

    declared = name.split()[0]
    if declared == "ova":
        disk = choose_disk(read_package(read, len(content), "image x"), 0, "image x")
        header = inspect_header(lambda offset, length: read(disk.offset + offset, length), disk.length, "image x")
    else:
        header = inspect_header(read, len(content), "image x")
    refuse_source(header, declared, LIMITS, "image x")
    return read_bytes


@pytest.mark.parametrize("name", [name for name in GOOD if name != "vmdk description"])
def test_the_images_that_are_damaged_were_good(name):
    assert inspect(name, GOOD[name]) < MOST_READ_BYTES
    assert damage(name, [], len(GOOD[name]), is_sealed=True) == GOOD[name]


@pytest.mark.parametrize("name", GOOD)
def test_a_damaged_image_is_taken_or_refused(name):
    @SETTINGS
    @hypothesis.given(draw_edits(name), draw_length(name), st.booleans())
    def look(edits, length, is_sealed):
        content = damage(name, edits, length, is_sealed=is_sealed)
        started_s = time.process_time()
        try:
            assert inspect(name, content) <= MOST_READ_BYTES
        except ImageRefused as refusal:
            assert refusal.reason
            assert str(refusal).isprintable()
        assert time.process_time() - started_s < MOST_CPU_S

    look()


@pytest.mark.parametrize(
    "magic", [b"QFI\xfb\0\0\0\x03", b"KDMV\1\0\0\0", b"vhdxfile", b"conectix", b"# Disk DescriptorFile\n"]
)
def test_bytes_after_a_magic_are_taken_or_refused(magic):
    @SETTINGS
    @hypothesis.given(st.binary(max_size=4096))
    def look(rest):
        for name in ("qcow2", "ova", "raw"):
            try:
                inspect(name, magic + rest)
            except ImageRefused as refusal:
                assert refusal.reason

    look()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found in packages, and in which ones nothing is looked for."""

from __future__ import annotations

import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ImageRefused
from ansible_collections.encompass.images.plugins.module_utils._core.ova import choose_disk, read_package
from ansible_collections.encompass.images.tests.corpus.headers import vmdk
from ansible_collections.encompass.images.tests.corpus.packages import describe, member, ova, write_manifest

TWO = {"a.vmdk": vmdk(), "b.vmdk": vmdk() + b"b"}


def read(content):
    """Return what the package holds."""
    return read_package(lambda offset, length: content[offset : offset + length], len(content), "image x")


def test_a_package_tells_its_disks_and_digests():
    content = ova(TWO)
    package = read(content)
    assert [content[disk.offset :][: disk.length] for disk in package.disks] == [*TWO.values()]
    assert [(one.algorithm, one.member.name) for one in package.digests] == [
        ("sha256", "machine.ovf"),
        ("sha256", "a.vmdk"),
        ("sha256", "b.vmdk"),
    ]
    assert choose_disk(package, 2, "image x").name == "b.vmdk"
    assert choose_disk(read(ova()), 0, "image x").name == "disk.vmdk"


@pytest.mark.parametrize(
    ("number", "sentence"), [(0, "its package holds a.vmdk, b.vmdk"), (3, "disk 3 of its package")]
)
def test_a_disk_that_is_not_told_or_not_there_is_refused(number, sentence):
    with pytest.raises(ImageRefused, match=sentence):
        choose_disk(read(ova(TWO)), number, "image x")


def test_what_tools_add_is_taken():
    assert not read(ova(manifest=None)).digests
    assert read(ova(extra=member("machine.cert", b"signed"))).disks
    assert read(ova(extra=member("note.txt", b""), manifest=None)).disks
    disk = vmdk()
    long = member("disk.vmdk", disk, size=b"\x80" + len(disk).to_bytes(11, "big"))
    assert read(member("m.ovf", describe("disk.vmdk")) + long + bytes(1024)).disks
    assert read(
        ova(manifest=write_manifest({"machine.ovf": describe("disk.vmdk"), "disk.vmdk": vmdk()}, "sha1"))
    ).digests


REFUSED = {
    "path": (ova(extra=member("../x", b"")), "a file in it has no plain name"),
    "absolute path": (ova(extra=member("/etc/passwd", b"")), "a file in it has no plain name"),
    "option": (ova(extra=member("-rf", b"")), "a file in it has no plain name"),
    "prefix": (ova(extra=member("x", b"", prefix=b"../..")), "a file in it has no plain name"),
    "folder": (ova(extra=member("folder", b"", kind=b"5")), "folder in it is not a regular file"),
    "symbolic link": (ova(extra=member("x", b"", kind=b"2", link=b"/etc/shadow")), "x in it is not a regular file"),
    "hard link": (ova(extra=member("x", b"", kind=b"1", link=b"disk.vmdk")), "x in it is not a regular file"),
    "link in a file's header": (ova(extra=member("x", b"", link=b"disk.vmdk")), "x in it is a link"),
    "device": (ova(extra=member("x", b"", kind=b"3")), "x in it is not a regular file"),
    "sparse": (ova(extra=member("x", b"", kind=b"S")), "x in it is not a regular file"),
    "long name": (ova(extra=member("x", b"y", kind=b"L")), "x in it is not a regular file"),
    "extended header": (ova(extra=member("x", b"y", kind=b"x")), "x in it is not a regular file"),
    "twice": (ova(extra=member("DISK.vmdk", b"")), "the file DISK.vmdk is in it twice"),
    "checksum": (ova(extra=member("x", b"", checksum=b"000001\0 ")), "the checksum of a file's header is wrong"),
    "negative size": (ova(extra=member("x", b"", size=b"\xff" * 12)), "a number in it is none"),
    "size": (ova(extra=member("x", b"", size=b"77777777777\0")), "the file x is cut off"),
    "huge size": (ova(extra=member("x", b"", size=b"\x80" + b"\xff" * 11)), "the file x is cut off"),
    "other tar": (ova(extra=member("x", b"", magic=bytes(8))), "a file in it has no header"),
    "many files": (ova(extra=b"".join(member(f"x{n}", b"") for n in range(100))), "more than 64 files"),
    "cut off": (ova()[:-1024], "it is cut off"),
    "no description": (member("a.vmdk", b"") + bytes(1024), "it holds 0 files"),
    "two descriptions": (ova(extra=member("b.ovf", describe())), "it holds 2 files"),
    "long description": (ova(description=b" " * (2 << 20), manifest=None), "has 2097152 bytes"),
    "UTF-16": (ova(description=describe("disk.vmdk").decode().encode("utf-16"), manifest=None), "is not UTF-8"),
    "UTF-16 without a mark": (
        ova(description=describe("disk.vmdk", before="<!DOCTYPE a>").decode().encode("utf-16-be"), manifest=None),
        "is not UTF-8",
    ),
    "no XML": (ova(description=b"<a>"), "cannot be read"),
    "document type": (ova(description=describe("disk.vmdk", before="<!DOCTYPE a>")), "holds a document type"),
    "entities": (
        ova(description=describe("disk.vmdk", before='<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/shadow">]>')),
        "holds a document type",
    ),
    "file elsewhere": (ova(description=describe("../disk.vmdk")), "names the file '../disk.vmdk'"),
    "file in the web": (ova(description=describe("http://x/disk.vmdk")), "names the file 'http://x/disk.vmdk'"),
    "compressed": (ova(description=describe("disk.vmdk", file=' ovf:compression="gzip"')), "is compressed"),
    "pieces": (ova(description=describe("disk.vmdk", file=' ovf:chunkSize="9"')), "is in pieces"),
    "parent": (ova(description=describe("disk.vmdk", disk=' ovf:parentRef="d7"')), "needs a parent"),
    "no file": (ova(description=describe("disk.vmdk", drives=2)), "a disk in its description has no file"),
    "another format": (ova(description=describe("disk.vmdk", format="http://x/qcow2")), "is not said to be VMDK"),
    "manifest of others": (ova(manifest=write_manifest({"x": b""})), "its manifest names what is not in it"),
    "manifest of some": (ova(manifest=write_manifest({"disk.vmdk": vmdk()})), "does not name machine.ovf"),
    "manifest twice": (ova(manifest=write_manifest({"disk.vmdk": b""}) * 2), "names disk.vmdk twice"),
    "manifest without words": (ova(manifest=b""), "its manifest is empty"),
    "manifest of nonsense": (ova(manifest=b"MD5(disk.vmdk)= 00\n"), "its manifest names what is not in it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_package_that_is_not_plain_is_refused(name):
    content, sentence = REFUSED[name]
    with pytest.raises(ImageRefused) as refusal:
        read(content)
    assert sentence in refusal.value.problem
    assert refusal.value.reason == "package"


def test_a_deep_description_takes_no_more_time_than_a_flat_one():
    started = time.monotonic()
    read(ova(description=describe("disk.vmdk", after="<a>" * 100_000 + "</a>" * 100_000), manifest=None))
    assert time.monotonic() - started < 5

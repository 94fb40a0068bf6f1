# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image's header says, read from its bytes alone. Private to this collection; may change without notice.

Nothing here opens a file and nothing trusts the image: a header is read before qemu ever sees it, so that a
stranger's image cannot make qemu open another file. A new format is a row of FORMATS and a file in image_formats, a
new reason to refuse an image is a row of REFUSALS.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from .errors import ImageRefused
from .image_formats.facts import SECTOR_BYTES, ImageHeader, Malformed, Reader
from .image_formats.qcow2 import parse_qcow2
from .image_formats.vdi import parse_vdi
from .image_formats.vhdx import parse_vhdx
from .image_formats.vmdk import is_vmdk_text, parse_vmdk, parse_vmdk_text
from .image_formats.vpc import parse_vpc


class _Format(t.NamedTuple):
    """One format: how it is known, and how its header is read (None: known, but never an image of ours)."""

    name: str
    magic: bytes
    offset: int = 0
    parse: t.Callable[[Reader, int], ImageHeader] | None = None

    def matches(self, read: Reader, file_bytes: int) -> bool:
        """Return whether the file bears the format's sign; a negative offset counts from its end."""
        offset = self.offset if self.offset >= 0 else file_bytes + self.offset
        return offset >= 0 and read(offset, len(self.magic)) == self.magic


class _Refusal(t.NamedTuple):
    """One reason to refuse an image: its class, what finds it, and what helps."""

    reason: str
    find_problem: t.Callable[[ImageHeader], str]
    remedy: str


def inspect_header(read: Reader, size_bytes: int, subject: str) -> ImageHeader:
    """Return what the image of ``size_bytes`` is; raw when nothing known is recognised.

    Raises :class:`ImageRefused` for a header that is cut off or contradicts itself.
    """
    known = [row for row in FORMATS if row.matches(read, size_bytes)]
    if is_vmdk_text(read) and not any(row.name == "vmdk" for row in known):
        known.append(_VMDK_TEXT)
    if not known:
        return ImageHeader("raw", virtual_bytes=size_bytes, file_bytes=size_bytes)
    found = known[0]
    also = tuple(dict.fromkeys(row.name for row in known if row.name != found.name))
    try:
        header = found.parse(read, size_bytes) if found.parse else ImageHeader(found.name)
    except (struct.error, Malformed) as exc:
        if also:
            return ImageHeader(found.name, also=also)
        problem = str(exc) if isinstance(exc, Malformed) else "it is cut off"
        sentence = f"its {found.name} header cannot be used: {problem}"
        raise ImageRefused(subject, sentence, remedy="Give a whole image.", reason="layout") from exc
    return dataclasses.replace(header, also=also, file_bytes=size_bytes)


def refuse_image(header: ImageHeader, declared_format: str, subject: str) -> None:
    """Raise :class:`ImageRefused` unless the image is whole, alone and of the format it is said to be."""
    if declared_format not in (header.format, *header.also):
        raise ImageRefused(
            subject,
            f"it was declared as {declared_format}, but its header is that of {header.format}",
            remedy="Give the format that the image really has, or another image.",
            reason="format",
        )
    for refusal in REFUSALS:
        problem = refusal.find_problem(header)
        if problem:
            raise ImageRefused(subject, problem, remedy=refusal.remedy, reason=refusal.reason)


def refuse_wrapping(header: ImageHeader, subject: str) -> None:
    """Raise :class:`ImageRefused` unless the file around a package's files is a tar archive and nothing else.

    The row of tar is the last one: what bears another sign too is known by that.
    """
    if header.format != _TAR:
        refuse_image(header, "ova", subject)


def _find_misplaced(header: ImageHeader) -> str:
    """Return what is wrong with where the header and its tables are; empty when nothing is."""
    extents = sorted((extent for extent in header.extents if extent.length), key=lambda extent: extent.offset)
    for extent, following in zip(extents, extents[1:]):
        if extent.end > following.offset:
            return f"its {extent.name} and its {following.name} overlap"
    outside = [extent.name for extent in extents if extent.end > header.file_bytes]
    if outside:
        return f"its {outside[0]} reaches beyond the end of the file"
    return "a table of it names what is beyond the end of the file" if header.targets_end > header.file_bytes else ""


_TAR = "a tar archive"
_VMDK_TEXT = _Format("vmdk", b"# Disk DescriptorFile", parse=parse_vmdk_text)

FORMATS: tuple[_Format, ...] = (
    _Format("qcow2", b"QFI\xfb", parse=parse_qcow2),
    _Format("qed", b"QED\0"),
    _Format("vmdk", b"KDMV", parse=parse_vmdk),
    _VMDK_TEXT,
    _Format("vdi", b"\x7f\x10\xda\xbe", offset=0x40, parse=parse_vdi),
    _Format("vhdx", b"vhdxfile", parse=parse_vhdx),
    _Format("vpc", b"conectix", parse=parse_vpc),
    _Format("vpc", b"conectix", offset=-SECTOR_BYTES, parse=parse_vpc),
    _Format("vmdk (ESX sparse extent)", b"COWD"),
    _Format("luks", b"LUKS\xba\xbe"),
    _Format("parallels", b"WithoutFreeSpace"),
    _Format("parallels", b"WithouFreSpacExt"),
    _Format("cloop", b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"),
    _Format("bochs", b"Bochs Virtual HD Image"),
    _Format("dmg", b"koly", offset=-SECTOR_BYTES),
    _Format("a gzip file", b"\x1f\x8b\x08"),
    _Format("an xz file", b"\xfd7zXZ\0"),
    _Format("a zstd file", b"\x28\xb5\x2f\xfd"),
    _Format("a bzip2 file", b"BZh"),
    _Format("a zip file", b"PK\x03\x04"),
    _Format("a 7z file", b"7z\xbc\xaf\x27\x1c"),
    _Format("an lz4 file", b"\x04\x22\x4d\x18"),
    _Format("a rar file", b"Rar!\x1a\x07"),
    _Format(_TAR, b"ustar", offset=257),
)

IMPORTABLE_FORMATS = ("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "ova")

REFUSALS: tuple[_Refusal, ...] = (
    _Refusal(
        "polyglot",
        lambda header: f"it is {header.format}, but also bears the sign of {header.also[0]}" if header.also else "",
        "Give an image that is one thing alone.",
    ),
    _Refusal(
        "reference",
        lambda header: f"it needs the backing file {header.backing_file}" if header.backing_file else "",
        "Flatten it where it was made: qemu-img convert.",
    ),
    _Refusal(
        "reference",
        lambda header: f"its data are in another file, {header.data_file}" if header.data_file else "",
        "Make one file of it where it was made: qemu-img convert.",
    ),
    _Refusal(
        "encryption",
        lambda header: "it is encrypted" if header.encrypted else "",
        "Give an image without encryption.",
    ),
    _Refusal(
        "state",
        lambda header: "it is marked corrupt" if header.corrupt else "",
        "Repair it where it was made: qemu-img check -r all.",
    ),
    _Refusal(
        "state",
        lambda header: "it was not closed cleanly, so its tables may be wrong" if header.dirty else "",
        "Repair it where it was made: qemu-img check -r all.",
    ),
    _Refusal(
        "snapshots",
        lambda header: f"it holds {header.snapshots} internal snapshots" if header.snapshots else "",
        "Delete its snapshots, or make a copy without them: qemu-img convert.",
    ),
    _Refusal(
        "feature",
        lambda header: (
            f"it uses features unknown here: {', '.join(header.unknown_features)}" if header.unknown_features else ""
        ),
        "Convert it to a plain qcow2 where it was made.",
    ),
    _Refusal(
        "size",
        lambda header: "it has no room: its virtual size is 0" if not header.virtual_bytes else "",
        "Give an image with a disk in it.",
    ),
    _Refusal("layout", _find_misplaced, "Give a whole image."),
)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image's header says, read from its bytes alone. Private to this collection; may change without notice.

Nothing here opens a file and nothing trusts the image: a header is read before qemu ever sees it, so that a
stranger's image cannot make qemu open another file. A new format is a row of FORMATS, a new reason to refuse an
image is a row of REFUSALS. Sources: qemu's docs/interop/qcow2.txt and qed_spec.txt, block/vdi.c and block/vpc.c;
VMware's Virtual Disk Format 5.0; Microsoft's MS-VHDX.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import typing as t
import uuid

from .errors import InvalidRequest

# (offset, length) -> the bytes there; fewer at the end of the file.
Reader = t.Callable[[int, int], bytes]

SECTOR_BYTES = 512


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """The facts of one image: everything that decides whether it may be read, and how."""

    format: str
    virtual_bytes: int = 0
    backing_file: str = ""
    backing_format: str = ""
    data_file: str = ""
    encrypted: bool = False
    dirty: bool = False
    corrupt: bool = False
    snapshots: int = 0
    unknown_features: tuple[str, ...] = ()


class _Malformed(Exception):
    """The header contradicts its format's definition."""


class _Format(t.NamedTuple):
    """One format: how it is known, and how its header is read (None: known, but never an image of ours)."""

    name: str
    magic: bytes
    offset: int = 0
    parse: t.Callable[[Reader, int], ImageHeader] | None = None


def inspect_header(read: Reader, size_bytes: int, subject: str) -> ImageHeader:
    """Return what the image of ``size_bytes`` is; raw when nothing known is recognised.

    Raises :class:`InvalidRequest` for a header that is cut off or contradicts itself.
    """
    for known in FORMATS:
        offset = known.offset if known.offset >= 0 else size_bytes + known.offset
        if offset < 0 or read(offset, len(known.magic)) != known.magic:
            continue
        try:
            return known.parse(read, size_bytes) if known.parse else ImageHeader(known.name)
        except (struct.error, _Malformed) as exc:
            problem = str(exc) if isinstance(exc, _Malformed) else "it is cut off"
            raise InvalidRequest(subject, f"its {known.name} header cannot be used: {problem}") from exc
    return ImageHeader("raw", virtual_bytes=size_bytes)


def refuse_image(header: ImageHeader, declared_format: str, subject: str) -> None:
    """Raise :class:`InvalidRequest` unless the image is whole, alone and of the format it is said to be."""
    if header.format != declared_format:
        raise InvalidRequest(
            subject,
            f"it was declared as {declared_format}, but its header is that of {header.format}",
            remedy="Give the format that the image really has, or another image.",
        )
    for find_problem, remedy in REFUSALS:
        problem = find_problem(header)
        if problem:
            raise InvalidRequest(subject, problem, remedy=remedy)


def _plain(raw: bytes, encoding: str = "utf-8") -> str:
    """Return a name found in an image, safe to print."""
    text = raw.split(b"\0")[0] if encoding == "utf-8" else raw
    shown = text.decode(encoding, errors="replace").split("\0")[0]
    return "".join(char if char.isprintable() else "?" for char in shown)[:200] or "(a nameless file)"


def _unpack(layout: str, read: Reader, offset: int) -> tuple[t.Any, ...]:
    return struct.unpack(layout, read(offset, struct.calcsize(layout)))


# qcow2

_QCOW2_DIRTY, _QCOW2_CORRUPT, _QCOW2_DATA_FILE = 1, 2, 4
_QCOW2_KNOWN_FEATURES = 0x1F
_QCOW2_BACKING_FORMAT, _QCOW2_DATA_FILE_NAME, _QCOW2_FEATURE_NAMES = 0xE2792ACA, 0x44415441, 0x6803F857


def _parse_qcow2(read: Reader, _size_bytes: int) -> ImageHeader:
    version, backing_at, backing_length, cluster_bits, virtual_bytes, crypt = _unpack(">IQIIQI", read, 4)
    (snapshots,) = _unpack(">I", read, 60)
    if version not in (2, 3):
        raise _Malformed(f"version {version} is not known")
    if not 9 <= cluster_bits <= 21:
        raise _Malformed(f"clusters of 2^{cluster_bits} bytes are not possible")
    if backing_length > 1023 or (backing_at and backing_at + backing_length > 1 << cluster_bits):
        raise _Malformed("the name of its backing file lies outside the header")
    features, header_length = 0, 72
    if version == 3:
        (features,) = _unpack(">Q", read, 72)
        (header_length,) = _unpack(">I", read, 100)
        if not 104 <= header_length <= 1 << cluster_bits:
            raise _Malformed(f"a header of {header_length} bytes is not possible")
    extensions = _read_qcow2_extensions(read, header_length, backing_at or 1 << cluster_bits)
    backing = _plain(read(backing_at, backing_length)) if backing_at else ""
    data_file = _plain(extensions.get(_QCOW2_DATA_FILE_NAME, b"")) if features & _QCOW2_DATA_FILE else ""
    return ImageHeader(
        "qcow2",
        virtual_bytes,
        backing_file=backing,
        backing_format=_plain(extensions[_QCOW2_BACKING_FORMAT]) if _QCOW2_BACKING_FORMAT in extensions else "",
        data_file=data_file,
        encrypted=crypt != 0,
        dirty=bool(features & _QCOW2_DIRTY),
        corrupt=bool(features & _QCOW2_CORRUPT),
        snapshots=snapshots,
        unknown_features=_name_features(features, extensions.get(_QCOW2_FEATURE_NAMES, b"")),
    )


def _read_qcow2_extensions(read: Reader, start: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = start
    while at + 8 <= end:
        kind, length = _unpack(">II", read, at)
        if kind == 0:
            break
        if at + 8 + length > end:
            raise _Malformed("an extension of the header reaches beyond it")
        found[kind] = read(at + 8, length)
        at += 8 + (length + 7) // 8 * 8
    return found


def _name_features(features: int, table: bytes) -> tuple[str, ...]:
    """Return the incompatible features that nobody here knows, by the names in the image's own table."""
    names = {entry[1]: _plain(entry[2:48]) for entry in _split(table, 48) if entry[0] == 0}
    unknown = features & ~_QCOW2_KNOWN_FEATURES
    return tuple(names.get(bit, f"bit {bit}") for bit in range(64) if unknown >> bit & 1)


def _split(table: bytes, width: int) -> list[bytes]:
    return [table[at : at + width] for at in range(0, len(table) - width + 1, width)]


# qed

_QED_BACKING, _QED_NEEDS_CHECK, _QED_KNOWN_FEATURES = 1, 2, 7


def _parse_qed(read: Reader, _size_bytes: int) -> ImageHeader:
    (features,) = _unpack("<Q", read, 16)
    virtual_bytes, backing_at, backing_length = _unpack("<QII", read, 48)
    unknown = features & ~_QED_KNOWN_FEATURES
    return ImageHeader(
        "qed",
        virtual_bytes,
        backing_file=_plain(read(backing_at, min(backing_length, 1023))) if features & _QED_BACKING else "",
        dirty=bool(features & _QED_NEEDS_CHECK),
        unknown_features=tuple(f"bit {bit}" for bit in range(64) if unknown >> bit & 1),
    )


# vdi

_VDI_KINDS_OF_ONE_FILE = (1, 2)


def _parse_vdi(read: Reader, _size_bytes: int) -> ImageHeader:
    (kind,) = _unpack("<I", read, 0x4C)
    (virtual_bytes,) = _unpack("<Q", read, 0x170)
    link, parent = _unpack("16s16s", read, 0x1A8)
    differs = kind not in _VDI_KINDS_OF_ONE_FILE or any(link) or any(parent)
    return ImageHeader("vdi", virtual_bytes, backing_file=f"of the image {uuid.UUID(bytes_le=link)}" if differs else "")


# vpc (VHD)

_VPC_FIXED, _VPC_DYNAMIC, _VPC_DIFFERENCING = 2, 3, 4


def _parse_vpc(read: Reader, size_bytes: int) -> ImageHeader:
    """Read the footer: at the end of a fixed image, copied to the start of every other."""
    footer_at = 0 if read(0, 8) == b"conectix" else size_bytes - SECTOR_BYTES
    (dynamic_at,) = _unpack(">Q", read, footer_at + 0x10)
    (virtual_bytes,) = _unpack(">Q", read, footer_at + 0x30)
    (kind,) = _unpack(">I", read, footer_at + 0x3C)
    if kind not in (_VPC_FIXED, _VPC_DYNAMIC, _VPC_DIFFERENCING):
        raise _Malformed(f"disk type {kind} is not known")
    parent = ""
    if kind == _VPC_DIFFERENCING:
        parent = _plain(read(dynamic_at + 64, 512), "utf-16-be")
    return ImageHeader("vpc", virtual_bytes, backing_file=parent)


# vhdx

_VHDX_HEADERS, _VHDX_REGIONS = (0x10000, 0x20000), (0x30000, 0x40000)
_VHDX_METADATA = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_VHDX_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_VHDX_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
_VHDX_HAS_PARENT = 2


def _parse_vhdx(read: Reader, _size_bytes: int) -> ImageHeader:
    regions = _read_vhdx_regions(read)
    if _VHDX_METADATA not in regions:
        raise _Malformed("it has no metadata")
    items = _read_vhdx_metadata(read, regions[_VHDX_METADATA])
    if _VHDX_SIZE not in items or _VHDX_PARAMETERS not in items:
        raise _Malformed("its metadata tells no size")
    (virtual_bytes,) = _unpack("<Q", read, items[_VHDX_SIZE])
    _block_bytes, flags = _unpack("<II", read, items[_VHDX_PARAMETERS])
    return ImageHeader(
        "vhdx",
        virtual_bytes,
        backing_file="of a parent image" if flags & _VHDX_HAS_PARENT else "",
        dirty=_has_vhdx_log(read),
    )


def _read_vhdx_regions(read: Reader) -> dict[uuid.UUID, int]:
    for at in _VHDX_REGIONS:
        signature, _checksum, count = _unpack("<4sII", read, at)
        if signature == b"regi" and count <= 2047:
            entries = _split(read(at + 16, count * 32), 32)
            return {uuid.UUID(bytes_le=entry[:16]): struct.unpack("<Q", entry[16:24])[0] for entry in entries}
    raise _Malformed("it has no region table")


def _read_vhdx_metadata(read: Reader, start: int) -> dict[uuid.UUID, int]:
    signature, _reserved, count = _unpack("<8sHH", read, start)
    if signature != b"metadata" or count > 2047:
        raise _Malformed("it has no metadata table")
    entries = _split(read(start + 32, count * 32), 32)
    return {uuid.UUID(bytes_le=entry[:16]): start + struct.unpack("<I", entry[16:20])[0] for entry in entries}


def _has_vhdx_log(read: Reader) -> bool:
    """Return whether the newer of the two headers names a log that is still to be replayed."""
    headers = [_unpack("<4sIQ16s16s16s", read, at) for at in _VHDX_HEADERS]
    valid = [header for header in headers if header[0] == b"head"]
    if not valid:
        raise _Malformed("neither of its two headers is valid")
    newest = max(valid, key=lambda header: int(header[2]))
    return any(newest[5])


# vmdk

_VMDK_ONE_FILE = ("monolithicSparse", "streamOptimized")
_VMDK_NO_PARENT = "ffffffff"
_VMDK_MAX_DESCRIPTOR = 1 << 20


def _parse_vmdk(read: Reader, _size_bytes: int) -> ImageHeader:
    """Read a sparse extent with its embedded description: the one kind of VMDK that is a single file."""
    capacity, _grain, descriptor_at, descriptor_sectors = _unpack("<QQQQ", read, 12)
    dirty = read(72, 1) == b"\x01"
    if not descriptor_at or not capacity:
        return ImageHeader("vmdk", capacity * SECTOR_BYTES, data_file="(its description is in another file)")
    length = min(descriptor_sectors * SECTOR_BYTES, _VMDK_MAX_DESCRIPTOR)
    header = _parse_vmdk_description(read(descriptor_at * SECTOR_BYTES, length))
    return dataclasses.replace(header, virtual_bytes=capacity * SECTOR_BYTES, dirty=dirty)


def _parse_vmdk_text(read: Reader, size_bytes: int) -> ImageHeader:
    """Read a description that stands alone: its data are always in other files."""
    header = _parse_vmdk_description(read(0, min(size_bytes, _VMDK_MAX_DESCRIPTOR)))
    return dataclasses.replace(header, data_file=header.data_file or "(named by its description)")


def _parse_vmdk_description(raw: bytes) -> ImageHeader:
    text = raw.split(b"\0")[0].decode("utf-8", errors="replace")
    settings = dict(re.findall(r'^\s*(\w+)\s*=\s*"?([^"\n\r]*)"?\s*$', text, re.MULTILINE))
    extents = re.findall(r'^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)(?:\s+"([^"\n]*)")?', text, re.MULTILINE)
    parent = ""
    if settings.get("parentCID", _VMDK_NO_PARENT).lower() != _VMDK_NO_PARENT or "parentFileNameHint" in settings:
        parent = _plain(settings.get("parentFileNameHint", "").encode())
    alone = settings.get("createType") in _VMDK_ONE_FILE and [kind for kind, _name in extents] == ["SPARSE"]
    named = next((_plain(name.encode()) for _kind, name in extents if name), "(named by its description)")
    return ImageHeader("vmdk", backing_file=parent, data_file="" if alone else named)


FORMATS: tuple[_Format, ...] = (
    _Format("qcow2", b"QFI\xfb", parse=_parse_qcow2),
    _Format("qed", b"QED\0", parse=_parse_qed),
    _Format("vmdk", b"KDMV", parse=_parse_vmdk),
    _Format("vmdk", b"# Disk DescriptorFile", parse=_parse_vmdk_text),
    _Format("vdi", b"\x7f\x10\xda\xbe", offset=0x40, parse=_parse_vdi),
    _Format("vhdx", b"vhdxfile", parse=_parse_vhdx),
    _Format("vpc", b"conectix", parse=_parse_vpc),
    _Format("vpc", b"conectix", offset=-SECTOR_BYTES, parse=_parse_vpc),
    _Format("vmdk (ESX sparse extent)", b"COWD"),
    _Format("luks", b"LUKS\xba\xbe"),
    _Format("parallels", b"WithoutFreeSpace"),
    _Format("parallels", b"WithouFreSpacExt"),
    _Format("bochs", b"Bochs Virtual HD Image"),
    _Format("dmg", b"koly", offset=-SECTOR_BYTES),
    _Format("a gzip file", b"\x1f\x8b\x08"),
    _Format("an xz file", b"\xfd7zXZ\0"),
    _Format("a zstd file", b"\x28\xb5\x2f\xfd"),
    _Format("a bzip2 file", b"BZh"),
    _Format("a zip file", b"PK\x03\x04"),
    _Format("a tar archive", b"ustar", offset=257),
)

IMPORTABLE_FORMATS = ("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "qed")

REFUSALS: tuple[tuple[t.Callable[[ImageHeader], str], str], ...] = (
    (
        lambda header: f"it needs the backing file {header.backing_file}" if header.backing_file else "",
        "Flatten it where it was made: qemu-img convert.",
    ),
    (
        lambda header: f"its data are in another file, {header.data_file}" if header.data_file else "",
        "Make one file of it where it was made: qemu-img convert.",
    ),
    (
        lambda header: "it is encrypted" if header.encrypted else "",
        "Give an image without encryption.",
    ),
    (
        lambda header: "it is marked corrupt" if header.corrupt else "",
        "Repair it where it was made: qemu-img check -r all.",
    ),
    (
        lambda header: "it was not closed cleanly, so its tables may be wrong" if header.dirty else "",
        "Repair it where it was made: qemu-img check -r all.",
    ),
    (
        lambda header: f"it holds {header.snapshots} internal snapshots" if header.snapshots else "",
        "Delete its snapshots, or make a copy without them: qemu-img convert.",
    ),
    (
        lambda header: (
            f"it uses features unknown here: {', '.join(header.unknown_features)}" if header.unknown_features else ""
        ),
        "Convert it to a plain qcow2 where it was made.",
    ),
    (
        lambda header: "it has no room: its virtual size is 0" if not header.virtual_bytes else "",
        "Give an image with a disk in it.",
    ),
)

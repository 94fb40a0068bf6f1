# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a package (OVA) holds, read from its bytes alone. Private to this collection; may change without notice.

An OVA is a tar archive of plain files: a description (OVF), disks, and perhaps a manifest of digests. Nothing is
unpacked by its name, so no name can lead anywhere. Sources: DMTF's DSP0243 2.1; POSIX's ustar.
"""

from __future__ import annotations

import re
import typing as t

from .errors import ImageRefused
from .image_formats.facts import Malformed, Reader, require
from .ovf import find_disks

_BLOCK_BYTES = 512
_MAX_MEMBERS = 64
_MAX_TEXT_BYTES = 1 << 20
"""For descriptions and manifests: real ones have some tens of KiB."""
_REGULAR = (b"0", b"\0")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ ()+-]{0,99}")
_DIGEST = re.compile(r"(SHA1|SHA256|SHA384|SHA512) ?\((.{1,100})\) ?= ?([0-9A-Fa-f]{40,128})")


class Member(t.NamedTuple):
    """A file in the package."""

    name: str
    offset: int
    length: int


class Digest(t.NamedTuple):
    """What the manifest says of a member; ``algorithm`` as hashlib calls it."""

    algorithm: str
    member: Member
    value: str


class Package(t.NamedTuple):
    """What a package holds, in the order of its description."""

    disks: tuple[Member, ...]
    digests: tuple[Digest, ...]


def read_package(read: Reader, file_bytes: int, subject: str) -> Package:
    """Return what the package holds; raises :class:`ImageRefused` for one that is not plain."""
    try:
        members = _list_members(read, file_bytes)
        [description] = _select(members, ".ovf", fewest=1)
        manifests = _select(members, ".mf", fewest=0)
        digests = _read_manifest(read, manifests[0], members) if manifests else ()
        missing = {name for name in members if not name.endswith((".mf", ".cert"))} - {
            one.member.name for one in digests
        }
        require(not digests or not missing, f"its manifest does not name {', '.join(sorted(missing))}")
        disks = find_disks(_read_text(read, description), set(members))
    except Malformed as exc:
        raise ImageRefused(
            subject, f"it is no plain package: {exc}", remedy="Give one as tools export it.", reason="package"
        ) from exc
    return Package(tuple(members[name] for name in disks), digests)


def choose_disk(package: Package, number: int, subject: str) -> Member:
    """Return the disk of this number, from 1 on; of number 0 the only one."""
    names = ", ".join(disk.name for disk in package.disks) or "none"
    if number > len(package.disks) or (not number and len(package.disks) != 1):
        raise ImageRefused(
            subject,
            f"disk {number} of its package is asked for, it holds {names}" if number else f"its package holds {names}",
            remedy="Give each disk a volume of its own, and its number by disk.",
            reason="package",
        )
    return package.disks[number - 1] if number else package.disks[0]


def _list_members(read: Reader, file_bytes: int) -> dict[str, Member]:
    members: dict[str, Member] = {}
    at = 0
    while any(block := read(at, _BLOCK_BYTES)):
        member = _parse_member(block, at)
        require(len(members) < _MAX_MEMBERS, f"it holds more than {_MAX_MEMBERS} files")
        require(member.name.lower() not in {name.lower() for name in members}, f"the file {member.name} is in it twice")
        require(member.offset + member.length <= file_bytes, f"the file {member.name} is cut off")
        members[member.name] = member
        at = member.offset + -(-member.length // _BLOCK_BYTES) * _BLOCK_BYTES
    require(bool(members) and len(block) == _BLOCK_BYTES, "it is cut off")
    return members


def _parse_member(block: bytes, at: int) -> Member:
    require(len(block) == _BLOCK_BYTES and block[257:262] == b"ustar", "a file in it has no header")
    plain = block[:148] + b" " * 8 + block[156:]
    require(_parse_number(block[148:156]) == sum(plain), "the checksum of a file's header is wrong")
    name = block[:100].split(b"\0")[0].decode("ascii", errors="replace")
    require(_NAME.fullmatch(name) is not None and not any(block[345:500]), "a file in it has no plain name")
    require(block[156:157] in _REGULAR, f"{name} in it is not a regular file")
    require(not any(block[157:257]), f"{name} in it is a link")
    return Member(name, at + _BLOCK_BYTES, _parse_number(block[124:136]))


def _parse_number(field: bytes) -> int:
    """Return a number of a header: octal digits, or big-endian bytes after a set bit for what is longer."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    require(re.fullmatch(rb"[0-7]+", digits) is not None, "a number in it is none")
    return int(digits, 8)


def _select(members: t.Mapping[str, Member], ending: str, *, fewest: int) -> list[Member]:
    found = [member for name, member in members.items() if name.lower().endswith(ending)]
    require(fewest <= len(found) <= 1, f"it holds {len(found)} files *{ending}")
    return found


def _read_text(read: Reader, member: Member) -> str:
    require(member.length <= _MAX_TEXT_BYTES, f"{member.name} in it has {member.length} bytes")
    try:
        return read(member.offset, member.length).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Malformed(f"{member.name} in it is not UTF-8") from exc


def _read_manifest(read: Reader, manifest: Member, members: t.Mapping[str, Member]) -> tuple[Digest, ...]:
    digests: dict[str, Digest] = {}
    for line in filter(str.strip, _read_text(read, manifest).splitlines()):
        found = _DIGEST.fullmatch(line.strip())
        require(found is not None and found[2] in members, "its manifest names what is not in it")
        algorithm, name, value = t.cast("re.Match[str]", found).groups()
        require(name not in digests, f"its manifest names {name} twice")
        digests[name] = Digest(algorithm.lower(), members[name], value.lower())
    require(bool(digests), "its manifest is empty")
    return tuple(digests.values())

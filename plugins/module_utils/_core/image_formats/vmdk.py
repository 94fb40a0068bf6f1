# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of VMDK. Private to this collection. Source: VMware's Virtual Disk Format 5.0; qemu's block/vmdk.c."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .facts import (
    SECTOR_BYTES,
    Extent,
    ImageHeader,
    Reader,
    count_parts,
    is_power_of_two,
    name_bits,
    read_numbers,
    require,
    show_name,
    unpack,
)

_ONE_FILE = ("monolithicSparse", "streamOptimized")
_ACCESS = ("RW", "RDONLY", "NOACCESS")
_NO_PARENT = "ffffffff"
_DESCRIPTION_AT, _SEARCHED_SECTORS = 1, 20
"""The sectors in which qemu looks for a parent, wherever the header says that the description is."""
_MAX_DESCRIPTION_BYTES = 1 << 20
"""What qemu reads of one at most."""
_MAX_GRAIN_SECTORS = 2048
"""16 times what VMware writes, which is 64 KiB; each reader holds a whole grain in memory."""
_TABLE_ENTRIES = 512
"""The number of entries of a grain table that the format prescribes."""
_AT_END = 0xFFFFFFFFFFFFFFFF
_HAS_REDUNDANT, _KNOWN_FLAGS = 2, 0x30003 | 4
_FOOTER_SECTORS = 3
_FOOTER_MARKER = 3


class _Sparse(t.NamedTuple):
    """The header of a sparse extent from its version on; all places and sizes in sectors."""

    version: int
    flags: int
    capacity: int
    grain: int
    description_at: int
    description_length: int
    table_entries: int
    redundant_at: int
    directory_at: int
    overhead: int
    unclean: int
    line_ends: bytes
    compression: int


_SPARSE = "<IIQQQQIQQQB4sH"


def parse_vmdk(read: Reader, file_bytes: int) -> ImageHeader:
    """Read a sparse extent with its embedded description: the one kind of VMDK that is a single file."""
    sparse = _Sparse(*unpack(_SPARSE, read, 4))
    virtual_bytes = sparse.capacity * SECTOR_BYTES
    if not sparse.description_at or not sparse.capacity:
        return ImageHeader("vmdk", virtual_bytes, data_file="(its description is in another file)")
    description = Extent("description", sparse.description_at * SECTOR_BYTES, sparse.description_length * SECTOR_BYTES)
    require(
        description.length <= _MAX_DESCRIPTION_BYTES, f"a description of {description.length} bytes is not possible"
    )
    header = _parse_description(read(description.offset, max(description.length, _SEARCHED_SECTORS * SECTOR_BYTES)))
    _check_sparse(sparse)
    at_end = sparse.directory_at == _AT_END
    last = _read_footer(read, sparse, file_bytes) if at_end else sparse
    directories = _list_directories(last)
    return dataclasses.replace(
        header,
        virtual_bytes=virtual_bytes,
        dirty=sparse.unclean != 0,
        unknown_features=name_bits(sparse.flags & ~_KNOWN_FLAGS),
        extents=(Extent("header", 0, SECTOR_BYTES), description, *directories),
        targets_end=max(_find_tables_end(read, directory) for directory in directories),
    )


def parse_vmdk_text(read: Reader, file_bytes: int) -> ImageHeader:
    """Read a description that stands alone: its data are always in other files."""
    header = _parse_description(read(0, min(file_bytes, _MAX_DESCRIPTION_BYTES)))
    return dataclasses.replace(header, data_file=header.data_file or "(named by its description)")


def is_vmdk_text(read: Reader) -> bool:
    """Return whether qemu would take the file for a description: comments and blank lines, then a version."""
    for line in read(0, SECTOR_BYTES * 4).split(b"\n"):
        if line.startswith(b"#") or not line.strip(b" \r"):
            continue
        return re.fullmatch(rb"version=[123]\r?", line) is not None
    return False


def _check_sparse(sparse: _Sparse) -> None:
    require(1 <= sparse.version <= 3, f"version {sparse.version} is not known")
    fits = is_power_of_two(sparse.grain) and 8 <= sparse.grain <= _MAX_GRAIN_SECTORS
    require(fits, f"grains of {sparse.grain} sectors are not possible")
    require(sparse.table_entries == _TABLE_ENTRIES, f"tables of {sparse.table_entries} grains are not possible")
    require(sparse.compression in (0, 1), f"compression {sparse.compression} is not known")
    at = sparse.description_at
    require(at == _DESCRIPTION_AT, f"a description in sector {at} is not possible")


def _read_footer(read: Reader, sparse: _Sparse, file_bytes: int) -> _Sparse:
    """Return the header's copy at the end, which a stream writes when it knows where its tables are."""
    at = file_bytes - _FOOTER_SECTORS * SECTOR_BYTES
    # qemu counts whole sectors: of a file that ends within one it would read another footer
    require(at >= SECTOR_BYTES and at % SECTOR_BYTES == 0, "its footer is missing")
    _value, size, kind = unpack("<QII", read, at)
    require((size, kind) == (0, _FOOTER_MARKER) and read(at + SECTOR_BYTES, 4) == b"KDMV", "its footer is missing")
    footer = _Sparse(*unpack(_SPARSE, read, at + SECTOR_BYTES + 4))
    same = footer._replace(directory_at=sparse.directory_at, redundant_at=sparse.redundant_at, overhead=sparse.overhead)
    require(same == sparse and footer.directory_at != _AT_END, "its footer contradicts its header")
    return footer


def _list_directories(sparse: _Sparse) -> list[Extent]:
    length = count_parts(sparse.capacity, sparse.grain * sparse.table_entries) * 4
    places = {"grain directory": sparse.directory_at}
    if sparse.flags & _HAS_REDUNDANT:
        places["second grain directory"] = sparse.redundant_at
    return [Extent(name, at * SECTOR_BYTES, length) for name, at in places.items()]


def _find_tables_end(read: Reader, directory: Extent) -> int:
    return max(read_numbers(read, directory, "<I"), default=0) * SECTOR_BYTES


def _parse_description(raw: bytes) -> ImageHeader:
    text = raw.split(b"\0")[0].decode("utf-8", errors="replace")
    settings: dict[str, str] = {}
    extents = []
    for line in text.splitlines():
        words = line.split(None, 3)
        if words and words[0].upper() in _ACCESS:
            extents.append(words)
            continue
        key, equals, value = line.partition("=")
        key = key.strip().lower()
        require(not equals or key.startswith("#") or key not in settings, "its description says one thing twice")
        settings[key] = value.strip().strip('"')
    kinds = [words[2] for words in extents if len(words) > 2]
    alone = settings.get("createtype") in _ONE_FILE and len(extents) == 1 and kinds == ["SPARSE"]
    names = [words[3].strip('"').encode() for words in extents if len(words) > 3]
    named = show_name(names[0]) if names else "(named by its description)"
    return ImageHeader("vmdk", backing_file=_find_parent(text, settings), data_file="" if alone else named)


def _find_parent(text: str, settings: t.Mapping[str, str]) -> str:
    """Return what the description says of a parent; the word alone counts, since qemu looks for no more."""
    if settings.get("parentcid", _NO_PARENT).lower() == _NO_PARENT and "parentfilenamehint" not in text.lower():
        return ""
    return show_name(settings.get("parentfilenamehint", "").encode())

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of qcow2. Private to this collection.

Sources: qemu's docs/interop/qcow2.txt, and its block/qcow2.h for the limits.
"""

from __future__ import annotations

import struct
import typing as t

from .facts import Extent, ImageHeader, Reader, count_parts, name_bits, read_numbers, require, show_name, split, unpack

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_KNOWN_FEATURES = 0x1F
_BACKING_FORMAT, _DATA_FILE_NAME, _FEATURE_NAMES, _BITMAPS = 0xE2792ACA, 0x44415441, 0x6803F857, 0x23852875
_KNOWN_COMPRESSIONS = (0, 1)  # zlib, zstd

_MAX_L1_BYTES = 32 << 20
_MAX_REFCOUNT_TABLE_BYTES = 8 << 20
_MAX_REFCOUNT_ORDER = 6
_L1_OFFSET = 0x00FFFFFFFFFFFE00
_L1_RESERVED = 0x7F000000000001FF


class _Layout(t.NamedTuple):
    """The fields of version 2 from the name of the backing file on, as they follow each other."""

    backing_at: int
    backing_length: int
    cluster_bits: int
    virtual_bytes: int
    crypt: int
    l1_entries: int
    l1_at: int
    refcounts_at: int
    refcount_clusters: int
    snapshots: int
    snapshots_at: int

    @property
    def cluster_bytes(self) -> int:
        """The size of a cluster; the header with all its extensions is in the first one."""
        return 1 << self.cluster_bits


class _Features(t.NamedTuple):
    """What version 3 adds, with what version 2 means by it."""

    incompatible: int = 0
    refcount_order: int = 4
    header_length: int = 72


def parse_qcow2(read: Reader, _file_bytes: int) -> ImageHeader:
    """Return the facts of a qcow2 image."""
    (version,) = unpack(">I", read, 4)
    layout = _Layout(*unpack(">QIIQIIQQIIQ", read, 8))
    require(version in (2, 3), f"version {version} is not known")
    require(9 <= layout.cluster_bits <= 21, f"clusters of 2^{layout.cluster_bits} bytes are not possible")
    features = _read_features(read, layout) if version == 3 else _Features()
    extensions = _read_extensions(read, features.header_length, layout)
    extents = _list_extents(layout, features, extensions)
    names = {
        entry[1]: show_name(entry[2:48]) for entry in split(extensions.get(_FEATURE_NAMES, b""), 48) if not entry[0]
    }
    has_data_file = features.incompatible & _DATA_FILE or _DATA_FILE_NAME in extensions
    return ImageHeader(
        "qcow2",
        layout.virtual_bytes,
        backing_file=show_name(read(layout.backing_at, layout.backing_length)) if layout.backing_at else "",
        backing_format=show_name(extensions[_BACKING_FORMAT]) if _BACKING_FORMAT in extensions else "",
        data_file=show_name(extensions.get(_DATA_FILE_NAME, b"")) if has_data_file else "",
        encrypted=layout.crypt != 0,
        dirty=bool(features.incompatible & _DIRTY),
        corrupt=bool(features.incompatible & _CORRUPT),
        snapshots=layout.snapshots,
        unknown_features=name_bits(features.incompatible & ~_KNOWN_FEATURES, names),
        extents=extents,
        targets_end=_find_l2_end(read, layout, extents),
    )


def _read_features(read: Reader, layout: _Layout) -> _Features:
    (incompatible,) = unpack(">Q", read, 72)
    refcount_order, header_length = unpack(">II", read, 96)
    require(104 <= header_length <= layout.cluster_bytes, f"a header of {header_length} bytes is not possible")
    require(refcount_order <= _MAX_REFCOUNT_ORDER, f"reference counts of 2^{refcount_order} bits are not possible")
    if incompatible & _COMPRESSION:
        require(header_length > 104, "its way of compression is not told")
        (compression,) = unpack("B", read, 104)
        require(compression in _KNOWN_COMPRESSIONS, f"compression {compression} is not known")
    if incompatible & _EXTENDED_L2:
        require(layout.cluster_bits >= 14, f"clusters of 2^{layout.cluster_bits} bytes have no subclusters")
    return _Features(incompatible, refcount_order, header_length)


def _read_extensions(read: Reader, start: int, layout: _Layout) -> dict[int, bytes]:
    backing_at, cluster_bytes = layout.backing_at, layout.cluster_bytes
    outside = backing_at and backing_at + layout.backing_length > cluster_bytes
    require(layout.backing_length <= 1023 and not outside, "the name of its backing file lies outside the header")
    found: dict[int, bytes] = {}
    at, end = start, backing_at or cluster_bytes
    while at + 8 <= end:
        kind, length = unpack(">II", read, at)
        if kind == 0:
            break
        require(at + 8 + length <= end, "an extension of the header reaches beyond it")
        require(kind not in found, "an extension of the header is there twice")
        found[kind] = read(at + 8, length)
        at += 8 + (length + 7) // 8 * 8
    return found


def _list_extents(layout: _Layout, features: _Features, extensions: t.Mapping[int, bytes]) -> tuple[Extent, ...]:
    entry_bytes = 16 if features.incompatible & _EXTENDED_L2 else 8
    covered_bytes = layout.cluster_bytes // entry_bytes * layout.cluster_bytes
    l1_bytes, refcount_bytes = layout.l1_entries * 8, layout.refcount_clusters << layout.cluster_bits
    require(l1_bytes <= _MAX_L1_BYTES, f"an L1 table of {l1_bytes} bytes is not possible")
    require(
        layout.l1_entries >= count_parts(layout.virtual_bytes, covered_bytes), "its L1 table is too short for its size"
    )
    require(
        0 < refcount_bytes <= _MAX_REFCOUNT_TABLE_BYTES, f"a reference table of {refcount_bytes} bytes is not possible"
    )
    for at in (layout.l1_at, layout.refcounts_at):
        require(at % layout.cluster_bytes == 0, "its tables do not begin where a cluster does")
    return (
        Extent("header", 0, layout.cluster_bytes),
        Extent("L1 table", layout.l1_at, l1_bytes),
        Extent("reference table", layout.refcounts_at, refcount_bytes),
        *([_find_bitmaps(extensions[_BITMAPS])] if _BITMAPS in extensions else []),
    )


def _find_bitmaps(extension: bytes) -> Extent:
    """Return where the list of dirty bitmaps is; the bitmaps themselves are no part of the disk."""
    require(len(extension) == 24, "its list of bitmaps is told in another way")
    count, _reserved, length, at = struct.unpack(">IIQQ", extension)
    require(count > 0 and length > 0, "its list of bitmaps is empty")
    return Extent("list of bitmaps", at, length)


def _find_l2_end(read: Reader, layout: _Layout, extents: tuple[Extent, ...]) -> int:
    """Return the end of the farthest L2 table; each belongs to one part of the disk alone."""
    seen: set[int] = set()
    for entry in read_numbers(read, extents[1], ">Q"):
        offset = entry & _L1_OFFSET
        require(not entry & _L1_RESERVED, "its L1 table holds an unknown bit")
        require(offset % layout.cluster_bytes == 0, "an L2 table does not begin where a cluster does")
        require(offset not in seen, "two parts of the disk share one L2 table")
        if offset:
            require(offset >= layout.cluster_bytes, "an L2 table lies in the header")
            seen.add(offset)
    return max(seen, default=-1) + 1

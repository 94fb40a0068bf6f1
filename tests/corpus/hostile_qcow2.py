# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile qcow2 images."""

from __future__ import annotations

import struct

from ansible_collections.encompass.images.tests.corpus.classes import PATHS, hostile
from ansible_collections.encompass.images.tests.corpus.headers import (
    BACKING_FORMAT,
    BITMAPS,
    DATA_FILE_NAME,
    FEATURE_NAMES,
    qcow2,
)


@hostile("reference")
def qcow2_backing_files(chance):
    for path in PATHS:
        yield "qcow2", qcow2(backing=path, version=chance.choice([2, 3]))
    yield "qcow2", qcow2(backing=b"x", extensions=[(BACKING_FORMAT, b"raw")])
    yield "qcow2", qcow2(backing_at=200)


@hostile("reference")
def qcow2_data_files(chance):
    for path in PATHS:
        yield "qcow2", qcow2(features=chance.choice([0, 4]), extensions=[(DATA_FILE_NAME, path)])
    yield "qcow2", qcow2(features=4)


@hostile("encryption")
def qcow2_encrypted(chance):
    for method in (1, 2, 3, *(chance.randrange(4, 1 << 32) for _one in range(9))):
        yield "qcow2", qcow2(crypt=method, version=chance.choice([2, 3]))


@hostile("state")
def qcow2_left_open_or_corrupt(chance):
    for features in (1, 2, 3) * 4:
        yield "qcow2", qcow2(features=features, cluster_bits=chance.choice([9, 12]))


@hostile("feature")
def qcow2_unknown_features(chance):
    for bit in chance.sample(range(5, 64), 12):
        table = [(FEATURE_NAMES, bytes([0, bit]) + b"time travel".ljust(46, b"\0"))] if bit % 2 else []
        yield "qcow2", qcow2(features=1 << bit, extensions=table)


@hostile("snapshots")
def qcow2_snapshots(chance):
    for count in (1, 2, 65535, 1 << 31, *(chance.randrange(1, 1 << 32) for _one in range(8))):
        yield "qcow2", qcow2(snapshots=count)


@hostile("layout")
def qcow2_tables_outside(chance):
    for _one in range(6):
        at = chance.randrange(1 << 20, 1 << 54) * 512
        yield "qcow2", qcow2(refcounts_at=at)
        yield "qcow2", qcow2(l1_at=at)
    yield "qcow2", qcow2(refcounts_at=(1 << 64) - 512)


@hostile("layout")
def qcow2_tables_that_overlap(chance):
    for place in ("l1_at", "refcounts_at"):
        yield "qcow2", qcow2(**{place: 0})
    for clusters in range(2, 12):
        yield "qcow2", qcow2(refcount_clusters=clusters)
    yield "qcow2", qcow2(l1_at=512)


@hostile("layout")
def qcow2_absurd_sizes(chance):
    for bits in (0, 1, 8, 22, 31, 63, 1 << 31):
        yield "qcow2", qcow2(cluster_bits=9)[:20] + bits.to_bytes(4, "big") + qcow2()[24:]
    for length in (0, 8, 103, 513, 1 << 31):
        yield "qcow2", qcow2(header_length=length)
    for order in (7, 64, 1 << 31):
        yield "qcow2", qcow2(refcount_order=order)
    for entries in (0, 1, 1 << 23, (1 << 32) - 1):
        yield "qcow2", qcow2(l1_entries=entries)
    yield "qcow2", qcow2(refcount_clusters=0)
    yield "qcow2", qcow2(refcount_clusters=(1 << 32) - 1)
    yield "qcow2", qcow2(features=8, compression=chance.randrange(2, 256))
    yield "qcow2", qcow2(features=16)


@hostile("layout")
def qcow2_broken_extensions(chance):
    for length in (400, 1 << 16, (1 << 32) - 1):
        start = qcow2()[:112] + BACKING_FORMAT.to_bytes(4, "big") + length.to_bytes(4, "big")
        yield "qcow2", start + qcow2()[120:]
    for _one in range(8):
        twice = (chance.choice([BACKING_FORMAT, FEATURE_NAMES]), b"raw")
        yield "qcow2", qcow2(extensions=[twice, twice])
    for length in (1024, 1 << 16, (1 << 32) - 1):
        yield "qcow2", qcow2(backing_at=112, backing_length=length)
    yield "qcow2", qcow2(backing_at=1 << 50, backing_length=5)
    for bitmaps in ((1, 24, 1 << 40), (1, 1 << 62, 1024), (1, 512, 0), (0, 24, 1024), (1, 0, 1024)):
        yield "qcow2", qcow2(extensions=[(BITMAPS, struct.pack(">IIQQ", bitmaps[0], 0, *bitmaps[1:]))])
    yield "qcow2", qcow2(extensions=[(BITMAPS, bytes(16))])


@hostile("layout")
def qcow2_wild_l2_tables(chance):
    for _one in range(6):
        yield "qcow2", qcow2(l1=[chance.randrange(1 << 30, 1 << 46) * 512 | 1 << 63])
        yield "qcow2", qcow2(l1=[1024 + 512 * chance.randrange(4)] * 2)
    yield "qcow2", qcow2(l1=[256])
    yield "qcow2", qcow2(l1=[1024 | 1])
    yield "qcow2", qcow2(l1=[1024 | 1 << 56])


@hostile("layout")
def qcow2_of_another_age(chance):
    for version in (0, 1, 4, 5, 255, 1 << 31, *(chance.randrange(6, 1 << 32) for _one in range(6))):
        yield "qcow2", qcow2()[:4] + version.to_bytes(4, "big") + qcow2()[8:]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of one catalog into another store. Private to this collection; may change without notice."""

from __future__ import annotations

import hashlib
import typing as t

from .json import to_text
from .tables import COPIED, Tables


class Content(t.NamedTuple):
    """How much a catalog holds, and a digest of all of it."""

    counts: dict[str, int]
    sha256: str


def copy_tables(source: Tables, target: Tables) -> None:
    """Write all rows into an empty catalog, which takes the id over."""
    target.write_setting("uuid", source.read_setting("uuid"))
    for table in COPIED:
        target.add_rows(table, source.read_rows(table))


def read_content(tables: Tables) -> Content:
    """Return what a catalog holds, told apart from any other content in whatever store."""
    digest = hashlib.sha256(tables.read_setting("uuid").encode())
    counts = {}
    for table in COPIED:
        rows = tables.read_rows(table)
        counts[table] = len(rows)
        for row in rows:
            digest.update(to_text([table, *row]).encode())
    return Content(counts, digest.hexdigest())

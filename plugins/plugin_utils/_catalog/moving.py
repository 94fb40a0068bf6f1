# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a catalog to another store. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t

from ...module_utils._core.errors import InvalidRequest, NotFound, StoreUnavailable
from .base import BaseCatalog
from .copying import copy_tables, read_content
from .leasing import refuse_running
from .location import describe_url
from .moved import StoreMoved, describe_move
from .tables import Tables


class Move(t.NamedTuple):
    """Whether anything was moved, and how many rows each table has at the destination."""

    changed: bool
    counts: dict[str, int]


class Opener(t.Protocol):
    """How a catalog is opened."""

    def __call__(self, url: str, *, create: bool) -> BaseCatalog:
        """Return the catalog."""


def move_catalog(open_catalog: Opener, source_url: str, target_url: str) -> Move:
    """Copy all of a catalog into an empty one, and leave behind only where it went; nothing, when that was done before.

    Nobody writes to either meanwhile. The copy is committed first: a run that is killed between the two commits leaves
    a copy of what the source still is, and the next one finds just the word missing.
    """
    destination = describe_url(target_url)
    if describe_url(source_url) == destination:
        raise InvalidRequest("option target", "it is where the catalog is already", remedy="Name another store.")
    try:
        if not open_catalog(source_url, create=False).uuid:
            raise NotFound(f"catalog {describe_url(source_url)}", "does not exist", remedy="Check the option source.")
        source, target = (open_catalog(url, create=True) for url in (source_url, target_url))
        with source.writing() as leaving, target.writing() as entering:
            refuse_running(leaving)
            _fill(leaving, entering, destination)
            leaving.write_setting("moved", describe_move(destination, leaving.now()))
            return Move(True, read_content(entering).counts)
    except StoreMoved as exc:
        if exc.destination != destination:
            raise
    with open_catalog(target_url, create=False).reading() as tables:
        if tables is None:
            raise NotFound(f"catalog {destination}", "is not there any more", remedy="Restore it from a backup.")
        return Move(False, read_content(tables).counts)


def _fill(source: Tables, target: Tables, destination: str) -> None:
    content = read_content(source)
    if target.read_setting("origin") == content.sha256:
        return  # an earlier run came as far as this
    present = {table: count for table, count in read_content(target).counts.items() if count}
    if present:
        table, count = next(iter(present.items()))
        problem = f"is not empty: it holds {count} rows of {table}"
        raise InvalidRequest(f"catalog {destination}", problem, remedy="Move into an empty database or a new file.")
    copy_tables(source, target)
    if read_content(target) != content:
        problem = "did not keep everything as it was; nothing was moved"
        raise StoreUnavailable(f"catalog {destination}", problem, remedy="Check the database's encoding: UTF8.")
    target.write_setting("origin", content.sha256)

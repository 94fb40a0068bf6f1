# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every catalog offers, and how to open one. Private to this collection; may change without notice."""

from __future__ import annotations

import contextlib
import hashlib
import typing as t
from pathlib import Path

from .location import is_postgresql, parse_sqlite_path
from .objects import Body, HistoryEntry, Key, Operation, Owner, Row

if t.TYPE_CHECKING:
    from .base import BaseCatalog

TagQuery = t.Union[str, int, t.Sequence[t.Union[str, int]]]
"""The value a tag must have; a sequence means any of them."""

Bodies = t.Mapping[Key, t.Optional[Body]]
"""New records of objects; None deletes the row."""


class Reading(t.Protocol):
    """What can be read, inside a transaction and outside."""

    def get(self, kind: str, name: str) -> Row | None:
        """Return the object's row, or None."""

    def require(self, kind: str, name: str) -> Row:
        """Return the object's row, or raise NotFound."""

    def find(self, kind: str, **tags: TagQuery) -> list[Row]:
        """Return the rows that have all these tags, sorted by name."""

    def get_some(self, keys: t.Collection[Key]) -> dict[Key, Row]:
        """Return those of these objects that are there."""


class Writing(Reading, t.Protocol):
    """What can be done inside one transaction."""

    def put(
        self,
        kind: str,
        name: str,
        body: Body,
        *,
        expected_revision: int | None = None,
        verb: str = "put",
        owner: Owner | None = None,
        alongside: t.Collection[str] = (),
    ) -> Row:
        """Write a row, or leave it alone when the record is equal; ``expected_revision=0`` means it must not exist.

        Raises Conflict when the revision moved, when a running operation of somebody else holds the object, or when
        the record claims what another object has.
        """

    def put_all(self, bodies: t.Mapping[Key, Body], *, verb: str = "put", owner: Owner | None = None) -> None:
        """Do as ``put`` with several rows, in about as many statements as for one."""

    def delete(
        self,
        kind: str,
        name: str,
        *,
        expected_revision: int | None = None,
        verb: str = "delete",
        owner: Owner | None = None,
        alongside: t.Collection[str] = (),
    ) -> None:
        """Delete a row; its history stays. Raises NotFound and Conflict as ``put`` does."""

    def refuse_unsettled(self, seen_at: t.Mapping[Key, float], *, owner: Owner) -> None:
        """Raise Conflict when a running operation of somebody else holds one of these objects, or when one was changed
        or deleted after the time given with it, of the store's clock; it is named with whoever did it.
        """

    def next_number(self, sequence: str) -> int:
        """Return 1, 2, 3, ... for this sequence; a number is never given out twice."""

    def begin(
        self,
        verb: str,
        targets: t.Sequence[Key],
        *,
        owner: Owner,
        intent: Body | None = None,
        expected: t.Mapping[Key, int] | None = None,
        lease_s: float = 60,
        alongside: t.Collection[str] = (),
    ) -> Operation:
        """Lease all targets and journal the intent, or raise Conflict naming the holder and change nothing.

        ``alongside`` are operations whose leases do not count as foreign; they get the objects back at release.
        Operations whose owner is dead or whose lease is over are taken over and listed in ``recovered``.
        """


class Catalog(Reading, t.Protocol):
    """A store of objects with revisions, leases and history, and of facts."""

    @property
    def uuid(self) -> str:
        """Return the id made with this catalog; empty when nothing is there yet."""

    def now(self) -> float:
        """Return the store's clock, in seconds since 1970; 0 while there is no store."""

    def close(self) -> None:
        """Close what this process holds open; the catalog may be used again afterwards."""

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which several reads share what the first one costs."""

    def history(self, kind: str, name: str, limit: int = 50) -> list[HistoryEntry]:
        """Return the changes of an object, newest first; also of a deleted one."""

    def find_changed(self, since: float) -> list[Key]:
        """Return the keys of what was changed since a moment, also of what is deleted by now."""

    def operations(self, state: str | None = None) -> list[Operation]:
        """Return the journalled operations, oldest first."""

    def transaction(self) -> contextlib.AbstractContextManager[Writing]:
        """Return a context in which all writes happen, or none."""

    def begin(
        self,
        verb: str,
        targets: t.Sequence[Key],
        *,
        owner: Owner,
        intent: Body | None = None,
        expected: t.Mapping[Key, int] | None = None,
        lease_s: float = 60,
        alongside: t.Collection[str] = (),
    ) -> Operation:
        """Do as ``Writing.begin`` in a transaction of its own."""

    def renew(self, operation_id: str, lease_s: float) -> Operation:
        """Prolong the lease; raise Conflict when the operation has been taken over or has ended."""

    def commit(
        self,
        operation_id: str,
        bodies: Bodies,
        *,
        errors: t.Mapping[Key, Body] | None = None,
        close: bool = True,
    ) -> dict[Key, Row | None]:
        """Write the new records with their history and release these objects; only the present holder can.

        ``errors`` go to ``last_error`` of records that otherwise stay. ``close`` releases the targets not named too;
        without it they stay leased, because their outcome is unknown.
        """

    def abort(self, operation_id: str) -> None:
        """Release all targets unchanged; does nothing when the operation is over already."""

    def facts_get(self, host: str) -> dict[str, t.Any]:
        """Return the host's plain facts, empty when there are none."""

    def facts_set(self, host: str, facts: t.Mapping[str, t.Any]) -> None:
        """Write the top-level keys that changed; the others stay as they are, whoever wrote them."""

    def facts_delete(self, host: str) -> None:
        """Delete the host's plain facts."""

    def facts_hosts(self) -> list[str]:
        """Return the hosts that have plain facts."""


def open_catalog(url: str, *, create: bool = True, scratch_dir: str | None = None) -> BaseCatalog:
    """Return the catalog at the URL; nothing is opened before the first use.

    With ``create=False`` it can only be read, and reads as empty while nothing is there. With ``scratch_dir`` (check
    mode) a copy in that directory takes the place of the store, which is not touched.
    """
    if scratch_dir is not None:
        from .scratch import ScratchCatalog

        # One scratch copy for all workers of a run, and one for each catalog.
        scratch = Path(scratch_dir, f"encompass-check-{hashlib.sha256(url.encode()).hexdigest()[:12]}.sqlite")
        return ScratchCatalog(scratch, open_catalog(url, create=False), read_only=not create)
    if is_postgresql(url):
        from .postgresql import PostgresqlCatalog  # loads psycopg, which takes longer than a whole read from SQLite

        return PostgresqlCatalog(url, read_only=not create)
    from .sqlite import SqliteCatalog

    return SqliteCatalog(parse_sqlite_path(url), read_only=not create)

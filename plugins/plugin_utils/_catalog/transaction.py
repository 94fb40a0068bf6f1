# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction over any store's tables. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t

from . import leasing, records
from .objects import Body, Key, Operation, Owner, Row
from .store import TagQuery
from .tables import Tables


class Transaction:
    """All-or-nothing reads and writes; made by ``Catalog.transaction``, which commits or rolls back."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, kind: str, name: str) -> Row | None:
        """Return the object's row, or None."""
        return records.read_row(self._tables, kind, name)

    def require(self, kind: str, name: str) -> Row:
        """Return the object's row, or raise NotFound."""
        return records.require_row(self._tables, kind, name)

    def find(self, kind: str, **tags: TagQuery) -> list[Row]:
        """Return the rows that have all these tags, sorted by name."""
        return self._tables.read_objects(kind, records.check_query(kind, tags))

    def get_some(self, keys: t.Collection[Key]) -> dict[Key, Row]:
        """Return those of these objects that are there."""
        return self._tables.read_some(keys)

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
        """Write a row, or leave it alone when the record is equal."""
        self._check(kind, name, expected_revision, owner=owner, alongside=alongside)
        row = records.write_records(self._tables, {(kind, name): body}, records.Author(verb, owner))[(kind, name)]
        return row or self.require(kind, name)

    def put_all(self, bodies: t.Mapping[Key, Body], *, verb: str = "put", owner: Owner | None = None) -> None:
        """Write several rows, or leave alone those whose records are equal."""
        for row in self.get_some(bodies).values():
            leasing.refuse_foreign_lease(self._tables, row, owner, ())
        records.write_records(self._tables, bodies, records.Author(verb, owner))

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
        """Delete a row; its history stays."""
        self._check(kind, name, expected_revision, owner=owner, alongside=alongside)
        self.require(kind, name)
        records.write_records(self._tables, {(kind, name): None}, records.Author(verb, owner))

    def refuse_unsettled(self, seen_at: t.Mapping[Key, float], *, owner: Owner) -> None:
        """Raise Conflict when what was seen of these objects is no longer so, or will not be for long."""
        leasing.refuse_unsettled(self._tables, seen_at, owner)

    def next_number(self, sequence: str) -> int:
        """Return the sequence's next number; it is never given out twice."""
        return self._tables.advance_sequence(sequence)

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
        """Lease all targets and journal the intent."""
        request = leasing.Request(verb, targets, owner, intent or {}, expected or {}, lease_s, frozenset(alongside))
        return leasing.begin_operation(self._tables, request)

    def _check(
        self, kind: str, name: str, expected: int | None, *, owner: Owner | None, alongside: t.Collection[str]
    ) -> None:
        row = self.get(kind, name)
        records.check_revision(self._tables, (kind, name), row, expected)
        leasing.refuse_foreign_lease(self._tables, row, owner, alongside)

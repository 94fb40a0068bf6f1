# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store has to offer inside one of its transactions. Private to this collection; may change without notice.

Everything with a meaning (leases, tags, claims, differences) stands above this line; below it are only rows.
"""

from __future__ import annotations

import typing as t

from .objects import Body, HistoryEntry, Key, Operation, Row

COPIED: t.Mapping[str, tuple[str, ...]] = {
    "sequence": ("name", "last"),
    "operation": ("id", "verb", "state", "owner", "intent", "recovered", "since", "until"),
    "object": ("kind", "name", "revision", "body", "updated_at", "operation"),
    "target": ("operation", "kind", "name", "outer_operation"),
    "tag": ("kind", "name", "tag", "value"),
    "claim": ("claim", "kind", "name"),
    "history": ("at", "kind", "name", "revision", "verb", "operation", "user", "run", "changes"),
    "fact": ("host", "key", "value"),
}
"""What goes with a catalog to another store: its tables, each behind those that it refers to, and their columns."""


class Tables(t.Protocol):
    """The rows of one store as one transaction sees them."""

    def now(self) -> float:
        """Return the store's clock in seconds since 1970."""

    def read_setting(self, name: str) -> str:
        """Return one of the store's own settings, such as its ``uuid``."""

    def write_setting(self, name: str, value: str) -> None:
        """Change one of the store's own settings."""

    def read_object(self, key: Key) -> Row | None:
        """Return one object with the lease of the operation that marks it."""

    def read_some(self, keys: t.Collection[Key]) -> dict[Key, Row]:
        """Return those of these objects that are there."""

    def read_objects(self, kind: str, tags: t.Mapping[str, t.Sequence[str]]) -> list[Row]:
        """Return the objects that have one of the values of each tag, sorted by name."""

    def write_objects(self, records: t.Mapping[Key, tuple[int, Body]]) -> None:
        """Insert or update records at these revisions; the operations that mark them stay."""

    def delete_objects(self, keys: t.Collection[Key]) -> None:
        """Delete objects with their tags and claims."""

    def mark_objects(self, marks: t.Mapping[Key, str | None]) -> None:
        """Note which operation holds each object."""

    def write_tags(self, tags: t.Mapping[Key, t.Iterable[tuple[str, str]]]) -> None:
        """Replace the objects' tags."""

    def read_claim_holders(self, claims: t.Collection[str]) -> dict[str, Key]:
        """Return who has these claims, as far as somebody has."""

    def write_claims(self, claims: t.Mapping[Key, t.Iterable[str]]) -> None:
        """Replace the objects' claims."""

    def add_history(self, entries: t.Sequence[HistoryEntry], keep: int) -> None:
        """Append entries and drop each object's entries beyond the newest ``keep``."""

    def read_history(self, key: Key, limit: int) -> list[HistoryEntry]:
        """Return an object's entries, newest first."""

    def read_changed(self, since: float) -> list[Key]:
        """Return the objects that were changed since a moment, those that are gone by now too."""

    def read_last_revisions(self, keys: t.Collection[Key]) -> dict[Key, int]:
        """Return the highest revision in each object's history, as far as there is any."""

    def read_rows(self, table: str) -> list[tuple[t.Any, ...]]:
        """Return all rows of a table of ``COPIED``, in an order that is the same in every store."""

    def add_rows(self, table: str, rows: t.Sequence[tuple[t.Any, ...]]) -> None:
        """Append rows to a table of ``COPIED``."""

    def trim_history(self, before: float) -> None:
        """Drop every object's entries older than ``before``."""

    def add_operation(self, operation: Operation, outer: t.Mapping[Key, str | None]) -> None:
        """Append an operation with its targets; ``outer`` tells which operation held each of them before."""

    def update_operation(self, operation_id: str, state: str, until: float) -> None:
        """Write an operation's state and lease."""

    def read_operation(self, operation_id: str) -> Operation | None:
        """Return one operation."""

    def read_operations(self, state: str | None) -> list[Operation]:
        """Return the operations in this state, or all, oldest first."""

    def read_outer(self, operation_id: str) -> dict[Key, str | None]:
        """Return the targets of an operation, each with the operation that held it before."""

    def trim_operations(self, before: float) -> None:
        """Drop ended operations older than ``before`` that mark no object."""

    def advance_sequence(self, sequence: str) -> int:
        """Return the sequence's next number."""

    def read_facts(self, host: str) -> dict[str, str]:
        """Return the host's facts as stored texts."""

    def write_facts(self, host: str, facts: t.Mapping[str, str]) -> None:
        """Insert or update these facts."""

    def delete_facts(self, host: str) -> None:
        """Delete all facts of the host."""

    def read_fact_hosts(self) -> list[str]:
        """Return the hosts that have facts, sorted."""

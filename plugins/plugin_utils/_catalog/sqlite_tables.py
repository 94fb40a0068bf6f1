# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's rows in SQLite. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses
import sqlite3
import typing as t

from .json import from_text, to_text
from .objects import Body, HistoryEntry, Key, Lease, Operation, Owner, Row

# unixepoch('subsec') came with SQLite 3.42; Debian 12 has 3.40.
_NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"

_OBJECT = """
SELECT o.kind, o.name, o.revision, o.body, o.updated_at, p.id, p.verb, p.owner, p.since, p.until
FROM object o LEFT JOIN operation p ON p.id = o.operation
"""

_OPERATION = "SELECT id, verb, state, owner, intent, since, until, recovered FROM operation"


class SqliteTables:
    """The tables as one connection sees them; the transaction around is not theirs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany

    def now(self) -> float:
        """Return the host's clock as SQLite reads it."""
        return float(self._execute(_NOW).fetchone()[0])

    def read_setting(self, name: str) -> str:
        """Return one of the store's own settings."""
        return str(self._execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0])

    def read_object(self, key: Key) -> Row | None:
        """Return one object with the lease of the operation that marks it."""
        found = self._execute(f"{_OBJECT} WHERE o.kind = ? AND o.name = ?", key).fetchone()
        return _to_row(found) if found else None

    def read_objects(self, kind: str, tags: t.Mapping[str, t.Sequence[str]]) -> list[Row]:
        """Return the objects that have one of the values of each tag, sorted by name."""
        conditions, values = ["o.kind = ?"], [kind]
        for tag, wanted in tags.items():
            marks = ",".join("?" * len(wanted))
            conditions.append(f"o.name IN (SELECT name FROM tag WHERE kind = ? AND tag = ? AND value IN ({marks}))")  # noqa: S608 - only question marks are put in
            values += [kind, tag, *wanted]
        found = self._execute(f"{_OBJECT} WHERE {' AND '.join(conditions)} ORDER BY o.name", values)
        return [_to_row(row) for row in found]

    def write_object(self, key: Key, revision: int, body: Body) -> None:
        """Insert or update a record; the operation that marks it stays."""
        self._execute(
            "INSERT INTO object (kind, name, revision, body, updated_at) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET "
            "revision = excluded.revision, body = excluded.body, updated_at = excluded.updated_at",
            (*key, revision, to_text(body), self.now()),
        )

    def delete_object(self, key: Key) -> None:
        """Delete an object; its tags and claims go with it."""
        self._execute("DELETE FROM object WHERE kind = ? AND name = ?", key)

    def mark_object(self, key: Key, operation_id: str | None) -> None:
        """Note which operation holds the object."""
        self._execute("UPDATE object SET operation = ? WHERE kind = ? AND name = ?", (operation_id, *key))

    def write_tags(self, key: Key, tags: t.Iterable[tuple[str, str]]) -> None:
        """Replace the object's tags."""
        self._execute("DELETE FROM tag WHERE kind = ? AND name = ?", key)
        self._execute_many("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?)", [(*key, *tag) for tag in tags])

    def read_claim_holders(self, claims: t.Collection[str]) -> dict[str, Key]:
        """Return who has these claims, as far as somebody has."""
        found = [self._execute("SELECT claim, kind, name FROM claim WHERE claim = ?", (claim,)) for claim in claims]
        return {claim: (kind, name) for cursor in found for claim, kind, name in cursor}

    def write_claims(self, key: Key, claims: t.Iterable[str]) -> None:
        """Replace the object's claims."""
        self._execute("DELETE FROM claim WHERE kind = ? AND name = ?", key)
        self._execute_many("INSERT INTO claim VALUES (?, ?, ?)", [(claim, *key) for claim in claims])

    def add_history(self, entry: HistoryEntry, keep: int) -> None:
        """Append an entry and drop the object's entries beyond the newest ``keep``."""
        values = {**vars(entry), "changes": to_text(entry.changes), "keep": keep}
        self._execute(
            "INSERT INTO history (at, kind, name, revision, verb, operation, user, run, changes) "
            "VALUES (:at, :kind, :name, :revision, :verb, :operation, :user, :run, :changes)",
            values,
        )
        self._execute(
            "DELETE FROM history WHERE kind = :kind AND name = :name AND number <= (SELECT number FROM history "
            "WHERE kind = :kind AND name = :name ORDER BY number DESC LIMIT 1 OFFSET :keep)",
            values,
        )

    def read_history(self, key: Key, limit: int) -> list[HistoryEntry]:
        """Return an object's entries, newest first."""
        found = self._execute(
            "SELECT at, kind, name, revision, verb, operation, user, run, changes FROM history "
            "WHERE kind = ? AND name = ? ORDER BY number DESC LIMIT ?",
            (*key, limit),
        )
        return [dataclasses.replace(HistoryEntry(*row), changes=from_text(row[8])) for row in found]

    def read_last_revision(self, key: Key) -> int:
        """Return the highest revision in an object's history, 0 when it has none."""
        found = self._execute("SELECT max(revision) FROM history WHERE kind = ? AND name = ?", key).fetchone()
        return int(found[0] or 0)

    def trim_history(self, before: float) -> None:
        """Drop every object's entries older than ``before``."""
        self._execute("DELETE FROM history WHERE at < ?", (before,))

    def add_operation(self, operation: Operation, outer: t.Mapping[Key, str | None]) -> None:
        """Append an operation with its targets."""
        texts = {"intent": to_text(operation.intent), "recovered": to_text(operation.recovered)}
        values = {**vars(operation), **texts, "owner": to_text(vars(operation.owner))}
        del values["targets"]  # sqlite3 binds no list, not even one that is not used
        self._execute(
            "INSERT INTO operation (id, verb, state, owner, intent, recovered, since, until) "
            "VALUES (:id, :verb, :state, :owner, :intent, :recovered, :since, :until)",
            values,
        )
        rows = [(operation.id, *key, outer_id) for key, outer_id in outer.items()]
        self._execute_many("INSERT INTO target VALUES (?, ?, ?, ?)", rows)

    def update_operation(self, operation_id: str, state: str, until: float) -> None:
        """Write an operation's state and lease."""
        self._execute("UPDATE operation SET state = ?, until = ? WHERE id = ?", (state, until, operation_id))

    def read_operation(self, operation_id: str) -> Operation | None:
        """Return one operation."""
        found = self._execute(f"{_OPERATION} WHERE id = ?", (operation_id,)).fetchone()
        return self._to_operation(found) if found else None

    def read_operations(self, state: str | None) -> list[Operation]:
        """Return the operations in this state, or all, oldest first."""
        found = self._execute(f"{_OPERATION} WHERE ?1 IS NULL OR state = ?1 ORDER BY number", (state,)).fetchall()
        return [self._to_operation(row) for row in found]

    def read_outer(self, operation_id: str) -> dict[Key, str | None]:
        """Return the targets of an operation, each with the operation that held it before."""
        found = self._execute("SELECT kind, name, outer_operation FROM target WHERE operation = ?", (operation_id,))
        return {(kind, name): outer for kind, name, outer in found}

    def trim_operations(self, before: float) -> None:
        """Drop ended operations older than ``before`` that mark no object."""
        self._execute(
            "DELETE FROM operation WHERE state <> 'running' AND since < ? "
            "AND id NOT IN (SELECT operation FROM object WHERE operation IS NOT NULL)",
            (before,),
        )

    def advance_sequence(self, sequence: str) -> int:
        """Return the sequence's next number."""
        self._execute(
            "INSERT INTO sequence VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET last = last + 1", (sequence,)
        )
        return int(self._execute("SELECT last FROM sequence WHERE name = ?", (sequence,)).fetchone()[0])

    def read_facts(self, host: str) -> dict[str, str]:
        """Return the host's facts as stored texts."""
        return dict(self._execute("SELECT key, value FROM fact WHERE host = ?", (host,)))

    def write_facts(self, host: str, facts: t.Mapping[str, str]) -> None:
        """Insert or update these facts."""
        self._execute_many(
            "INSERT INTO fact VALUES (?, ?, ?) ON CONFLICT (host, key) DO UPDATE SET value = excluded.value",
            [(host, key, text) for key, text in facts.items()],
        )

    def delete_facts(self, host: str) -> None:
        """Delete all facts of the host."""
        self._execute("DELETE FROM fact WHERE host = ?", (host,))

    def read_fact_hosts(self) -> list[str]:
        """Return the hosts that have facts, sorted."""
        return [host for (host,) in self._execute("SELECT DISTINCT host FROM fact ORDER BY host")]

    def _to_operation(self, found: tuple[t.Any, ...]) -> Operation:
        operation_id, verb, state, owner, intent, since, until, recovered = found
        return Operation(
            id=operation_id,
            verb=verb,
            state=state,
            owner=Owner(**from_text(owner)),
            intent=from_text(intent),
            targets=list(self.read_outer(operation_id)),
            since=since,
            until=until,
            recovered=from_text(recovered),
        )


def _to_row(found: tuple[t.Any, ...]) -> Row:
    kind, name, revision, body, updated_at, operation_id, verb, owner, since, until = found
    lease = Lease(operation_id, verb, Owner(**from_text(owner)), since, until) if operation_id else None
    return Row(kind, name, revision, from_text(body), lease, updated_at)

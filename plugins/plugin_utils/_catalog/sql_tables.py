# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's rows in SQL that all stores understand. Private to this collection; may change without notice.

Whatever is done to many objects is one call, because a store may be a network away: a few statements for any number.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import typing as t

from .json import from_text, to_text
from .objects import Body, HistoryEntry, Key, Lease, Operation, Owner, Row
from .tables import COPIED

Values = t.Sequence[t.Any]

_OBJECT = """
SELECT o.kind, o.name, o.revision, o.body, o.updated_at, p.id, p.verb, p.owner, p.since, p.until
FROM object o LEFT JOIN operation p ON p.id = o.operation
"""

_OPERATION = "SELECT id, verb, state, owner, intent, since, until, recovered FROM operation"

_TARGETS = "SELECT t.operation, t.kind, t.name, t.outer_operation FROM target t"

_NUMBERED = ("operation", "history")

# Older releases of SQLite take 999 values in a statement.
_VALUES_AT_ONCE = 900


class SqlTables(abc.ABC):
    """The tables as one connection sees them; the transaction around is not theirs.

    A question mark stands for each value in a statement.
    """

    @abc.abstractmethod
    def now(self) -> float:
        """Return the store's clock in seconds since 1970."""

    @abc.abstractmethod
    def _execute(self, statement: str, values: Values = ()) -> t.Any:
        """Execute a statement and return a cursor over its rows."""

    @abc.abstractmethod
    def _execute_many(self, statement: str, rows: t.Sequence[Values]) -> None:
        """Execute a statement that has no result once for each row."""

    def read_setting(self, name: str) -> str:
        """Return one of the store's own settings."""
        return str(self._execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0])

    def write_setting(self, name: str, value: str) -> None:
        """Change one of the store's own settings."""
        self._execute("UPDATE setting SET value = ? WHERE name = ?", (value, name))

    def read_object(self, key: Key) -> Row | None:
        """Return one object with the lease of the operation that marks it."""
        return self.read_some([key]).get(key)

    def read_some(self, keys: t.Collection[Key]) -> dict[Key, Row]:
        """Return those of these objects that are there."""
        found: dict[Key, Row] = {}
        for kind, names in _group_by_kind(keys):
            statement = f"{_OBJECT} WHERE o.kind = ? AND o.name IN ({_marks(names)})"
            rows = map(_to_row, self._execute(statement, (kind, *names)).fetchall())
            found.update((row.key, row) for row in rows)
        return found

    def read_objects(self, kind: str, tags: t.Mapping[str, t.Sequence[str]]) -> list[Row]:
        """Return the objects that have one of the values of each tag, sorted by name."""
        conditions, values = ["o.kind = ?"], [kind]
        for tag, wanted in tags.items():
            conditions.append(
                f"o.name IN (SELECT name FROM tag WHERE kind = ? AND tag = ? AND value IN ({_marks(wanted)}))"  # noqa: S608 - only question marks are put in
            )
            values += [kind, tag, *wanted]
        found = self._execute(f"{_OBJECT} WHERE {' AND '.join(conditions)} ORDER BY o.name", values)
        return [_to_row(row) for row in found.fetchall()]

    def write_objects(self, records: t.Mapping[Key, tuple[int, Body]]) -> None:
        """Insert or update records at these revisions; the operations that mark them stay."""
        now = self.now()
        self._execute_many(
            "INSERT INTO object (kind, name, revision, body, updated_at) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET "
            "revision = excluded.revision, body = excluded.body, updated_at = excluded.updated_at",
            [(*key, revision, to_text(body), now) for key, (revision, body) in records.items()],
        )

    def delete_objects(self, keys: t.Collection[Key]) -> None:
        """Delete objects; their tags and claims go with them."""
        self._execute_many("DELETE FROM object WHERE kind = ? AND name = ?", list(keys))

    def mark_objects(self, marks: t.Mapping[Key, str | None]) -> None:
        """Note which operation holds each object."""
        rows = [(operation_id, *key) for key, operation_id in marks.items()]
        self._execute_many("UPDATE object SET operation = ? WHERE kind = ? AND name = ?", rows)

    def write_tags(self, tags: t.Mapping[Key, t.Iterable[tuple[str, str]]]) -> None:
        """Replace the objects' tags."""
        self._execute_many("DELETE FROM tag WHERE kind = ? AND name = ?", list(tags))
        rows = [(*key, *tag) for key, several in tags.items() for tag in several]
        self._execute_many("INSERT INTO tag (kind, name, tag, value) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def read_claim_holders(self, claims: t.Collection[str]) -> dict[str, Key]:
        """Return who has these claims, as far as somebody has."""
        found: dict[str, Key] = {}
        for some in _split(claims):
            statement = f"SELECT claim, kind, name FROM claim WHERE claim IN ({_marks(some)})"  # noqa: S608 - only question marks are put in
            found.update((claim, (kind, name)) for claim, kind, name in self._execute(statement, some).fetchall())
        return found

    def write_claims(self, claims: t.Mapping[Key, t.Iterable[str]]) -> None:
        """Replace the objects' claims."""
        self._execute_many("DELETE FROM claim WHERE kind = ? AND name = ?", list(claims))
        rows = [(claim, *key) for key, several in claims.items() for claim in several]
        self._execute_many("INSERT INTO claim (claim, kind, name) VALUES (?, ?, ?)", rows)

    def add_history(self, entries: t.Sequence[HistoryEntry], keep: int) -> None:
        """Append entries and drop each object's entries beyond the newest ``keep``."""
        self._execute_many(
            'INSERT INTO history (at, kind, name, revision, verb, operation, "user", run, changes) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [tuple({**vars(entry), "changes": to_text(entry.changes)}.values()) for entry in entries],
        )
        keys = [(entry.kind, entry.name) for entry in entries]
        self._execute_many(
            "DELETE FROM history WHERE kind = ? AND name = ? AND number <= (SELECT number FROM history "
            "WHERE kind = ? AND name = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            [(*key, *key, keep) for key in keys],
        )

    def read_history(self, key: Key, limit: int) -> list[HistoryEntry]:
        """Return an object's entries, newest first."""
        found = self._execute(
            'SELECT at, kind, name, revision, verb, operation, "user", run, changes FROM history '
            "WHERE kind = ? AND name = ? ORDER BY number DESC LIMIT ?",
            (*key, limit),
        )
        return [dataclasses.replace(HistoryEntry(*row), changes=from_text(row[-1])) for row in found.fetchall()]

    def read_changed(self, since: float) -> list[Key]:
        """Return the objects that were changed since a moment, those that are gone by now too.

        A store's clock may tick in milliseconds: what came first in one of them nobody knows, so it counts.
        """
        found = self._execute("SELECT DISTINCT kind, name FROM history WHERE at >= ?", (since,))
        return [(str(kind), str(name)) for kind, name in found.fetchall()]

    def read_last_revisions(self, keys: t.Collection[Key]) -> dict[Key, int]:
        """Return the highest revision in each object's history, as far as there is any."""
        found: dict[Key, int] = {}
        for kind, names in _group_by_kind(keys):
            condition = f"kind = ? AND name IN ({_marks(names)})"
            statement = f"SELECT name, max(revision) FROM history WHERE {condition} GROUP BY name"  # noqa: S608 - only question marks are put in
            rows = self._execute(statement, (kind, *names)).fetchall()
            found.update(((kind, name), int(revision)) for name, revision in rows)
        return found

    def read_rows(self, table: str) -> list[tuple[t.Any, ...]]:
        """Return all rows of a table of ``COPIED``, in an order that is the same in every store."""
        order = "number" if table in _NUMBERED else _quote(COPIED[table][:4])
        return list(self._execute(f"SELECT {_quote(COPIED[table])} FROM {table} ORDER BY {order}").fetchall())  # noqa: S608 - names of ours

    def add_rows(self, table: str, rows: t.Sequence[tuple[t.Any, ...]]) -> None:
        """Append rows to a table of ``COPIED``."""
        columns = COPIED[table]
        self._execute_many(f"INSERT INTO {table} ({_quote(columns)}) VALUES ({_marks(columns)})", rows)  # noqa: S608 - names of ours

    def trim_history(self, before: float) -> None:
        """Drop every object's entries older than ``before``."""
        self._execute("DELETE FROM history WHERE at < ?", (before,))

    def add_operation(self, operation: Operation, outer: t.Mapping[Key, str | None]) -> None:
        """Append an operation with its targets."""
        self._execute(
            "INSERT INTO operation (id, verb, state, owner, intent, recovered, since, until) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                operation.id,
                operation.verb,
                operation.state,
                to_text(vars(operation.owner)),
                to_text(operation.intent),
                to_text(operation.recovered),
                operation.since,
                operation.until,
            ),
        )
        rows = [(operation.id, *key, outer_id) for key, outer_id in outer.items()]
        self._execute_many("INSERT INTO target (operation, kind, name, outer_operation) VALUES (?, ?, ?, ?)", rows)

    def update_operation(self, operation_id: str, state: str, until: float) -> None:
        """Write an operation's state and lease."""
        self._execute("UPDATE operation SET state = ?, until = ? WHERE id = ?", (state, until, operation_id))

    def read_operation(self, operation_id: str) -> Operation | None:
        """Return one operation."""
        found = self._execute(f"{_OPERATION} WHERE id = ?", (operation_id,)).fetchone()
        return _to_operation(found, list(self.read_outer(operation_id))) if found else None

    def read_operations(self, state: str | None) -> list[Operation]:
        """Return the operations in this state, or all, oldest first."""
        condition, values = ("WHERE state = ?", (state,)) if state else ("", ())
        found = self._execute(f"{_OPERATION} {condition} ORDER BY number", values).fetchall()
        of_these = f"{_TARGETS} JOIN operation p ON p.id = t.operation {condition} ORDER BY t.operation, t.kind, t.name"
        targets: dict[str, list[Key]] = {}
        for operation_id, kind, name, _outer in self._execute(of_these, values).fetchall():
            targets.setdefault(operation_id, []).append((kind, name))
        return [_to_operation(row, targets.get(row[0], [])) for row in found]

    def read_outer(self, operation_id: str) -> dict[Key, str | None]:
        """Return the targets of an operation, each with the operation that held it before."""
        found = self._execute(f"{_TARGETS} WHERE t.operation = ? ORDER BY t.kind, t.name", (operation_id,))
        return {(kind, name): outer for _operation, kind, name, outer in found.fetchall()}

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
            "INSERT INTO sequence (name, last) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET last = sequence.last + 1",
            (sequence,),
        )
        return int(self._execute("SELECT last FROM sequence WHERE name = ?", (sequence,)).fetchone()[0])

    def read_facts(self, host: str) -> dict[str, str]:
        """Return the host's facts as stored texts."""
        return dict(self._execute("SELECT key, value FROM fact WHERE host = ?", (host,)).fetchall())

    def write_facts(self, host: str, facts: t.Mapping[str, str]) -> None:
        """Insert or update these facts."""
        self._execute_many(
            "INSERT INTO fact (host, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (host, key) DO UPDATE SET value = excluded.value",
            [(host, key, text) for key, text in facts.items()],
        )

    def delete_facts(self, host: str) -> None:
        """Delete all facts of the host."""
        self._execute("DELETE FROM fact WHERE host = ?", (host,))

    def read_fact_hosts(self) -> list[str]:
        """Return the hosts that have facts, sorted."""
        return [host for (host,) in self._execute("SELECT DISTINCT host FROM fact ORDER BY host").fetchall()]


def _quote(columns: t.Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _marks(values: t.Sequence[t.Any]) -> str:
    return ",".join("?" * len(values)) or "NULL"


def _split(values: t.Iterable[str]) -> t.Iterator[list[str]]:
    rest = iter(values)
    return iter(lambda: list(itertools.islice(rest, _VALUES_AT_ONCE)), [])


def _group_by_kind(keys: t.Iterable[Key]) -> t.Iterator[tuple[str, list[str]]]:
    for kind, group in itertools.groupby(sorted(keys), key=lambda key: key[0]):
        for names in _split(name for _kind, name in group):
            yield kind, names


def _to_operation(found: Values, targets: list[Key]) -> Operation:
    operation_id, verb, state, owner, intent, since, until, recovered = found
    return Operation(
        id=operation_id,
        verb=verb,
        state=state,
        owner=Owner(**from_text(owner)),
        intent=from_text(intent),
        targets=targets,
        since=since,
        until=until,
        recovered=from_text(recovered),
    )


def _to_row(found: Values) -> Row:
    kind, name, revision, body, updated_at, operation_id, verb, owner, since, until = found
    lease = Lease(operation_id, verb, Owner(**from_text(owner)), since, until) if operation_id else None
    return Row(kind, name, revision, from_text(body), lease, updated_at)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a catalog that check mode plans and writes on. Private to this collection; may change without notice."""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
from pathlib import Path

from . import leasing
from .base import BaseCatalog
from .copying import copy_tables
from .objects import Key, Owner, Row
from .sqlite import SqliteCatalog
from .sqlite_tables import SqliteTables
from .tables import Tables
from .transaction import Transaction

_ADD_SETTINGS = "INSERT INTO setting VALUES ('copied_at', ?), ('ahead_s', ?)"


class ScratchCatalog(SqliteCatalog):
    """A copy, made at its first use, of a catalog that stays untouched.

    A lease in here keeps nobody away. So whatever was looked at, or done in check mode, is held against the original
    afterwards: what somebody else was at work on meanwhile tells nothing.
    """

    synchronous = "OFF"  # it does not outlast the run
    is_made_for_readers = True

    def __init__(self, path: Path, original: BaseCatalog, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        self._original = original

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[Transaction]:
        """Return a context in which all writes happen, or none."""
        with self.writing() as tables:
            yield _ScratchTransaction(tables, self._refuse_outdated)

    def commit(self, operation_id: str, *bodies: t.Any, **options: t.Any) -> dict[Key, Row | None]:
        """Do as every catalog, unless somebody else has changed one of the targets in the original."""
        self._refuse_late(operation_id)
        return super().commit(operation_id, *bodies, **options)

    def abort(self, operation_id: str) -> None:
        """Do as every catalog, unless somebody else has changed one of the targets in the original."""
        self._refuse_late(operation_id)
        super().abort(operation_id)

    def close(self) -> None:
        """Close what this process holds open, of the original too."""
        super().close()
        self._original.close()

    def _fill(self, connection: sqlite3.Connection) -> None:
        copy = SqliteTables(connection)
        with self._original.reading() as source:
            copied_at = source.now() if source else 0.0
            ahead_s = copied_at - copy.now() if source else 0.0
            if isinstance(source, SqliteTables):
                source.back_up(connection)
            super()._fill(connection)
            if source and not isinstance(source, SqliteTables):
                connection.execute("BEGIN")
                copy_tables(source, copy)
                connection.execute("COMMIT")
        connection.execute(_ADD_SETTINGS, (repr(copied_at), repr(ahead_s)))

    def _read(self, connection: sqlite3.Connection) -> SqliteTables:
        return _ScratchTables(connection)

    def _refuse_late(self, operation_id: str) -> None:
        with self.reading() as tables:
            operation = tables.read_operation(operation_id) if tables else None
        if operation is not None:
            self._refuse_outdated(operation.targets)

    def _refuse_outdated(self, keys: t.Collection[Key]) -> None:
        with self.reading() as copy:
            copied_at = float(copy.read_setting("copied_at")) if copy else 0.0
        with self._original.reading() as tables:
            if tables is not None:
                leasing.refuse_outdated(tables, keys, copied_at)


class _ScratchTables(SqliteTables):
    """The rows of a copy, with the clock that they were written by."""

    def now(self) -> float:
        """Return what the original's clock shows."""
        return super().now() + float(self.read_setting("ahead_s"))


class _ScratchTransaction(Transaction):
    """A transaction whose objects somebody else may change where they really are."""

    def __init__(self, tables: Tables, refuse_outdated: t.Callable[[t.Collection[Key]], None]) -> None:
        super().__init__(tables)
        self._refuse_outdated = refuse_outdated

    def refuse_unsettled(self, seen_at: t.Mapping[Key, float], *, owner: Owner) -> None:
        """Raise Conflict when what was seen of these objects is no longer so, here or in the original."""
        super().refuse_unsettled(seen_at, owner=owner)
        self._refuse_outdated(seen_at)

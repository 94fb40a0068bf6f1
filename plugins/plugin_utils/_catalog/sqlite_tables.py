# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's rows in SQLite. Private to this collection; may change without notice."""

from __future__ import annotations

import sqlite3
import typing as t

from .sql_tables import SqlTables, Values

_NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"


class SqliteTables(SqlTables):
    """The tables as one connection sees them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def now(self) -> float:
        """Return the host's clock as SQLite reads it."""
        return float(self._execute(_NOW).fetchone()[0])

    def back_up(self, target: sqlite3.Connection) -> None:
        """Make another database the same as this one, byte by byte."""
        self._connection.backup(target)

    def _execute(self, statement: str, values: Values = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _execute_many(self, statement: str, rows: t.Sequence[Values]) -> None:
        self._connection.executemany(statement, rows)

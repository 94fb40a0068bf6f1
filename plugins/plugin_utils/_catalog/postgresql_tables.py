# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's rows in PostgreSQL. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t

from .sql_tables import SqlTables, Values

# Not now(), which stands still during a transaction.
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class PostgresqlTables(SqlTables):
    """The tables as one connection sees them; their schema is on its search path."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection

    def now(self) -> float:
        """Return the server's clock: control nodes need not agree about the time."""
        return float(self._execute(_NOW).fetchone()[0])

    def _execute(self, statement: str, values: Values = ()) -> t.Any:
        return self._connection.execute(statement.replace("?", "%s"), values)

    def _execute_many(self, statement: str, rows: t.Sequence[Values]) -> None:
        if rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s"), rows)  # sent as a whole: one round trip

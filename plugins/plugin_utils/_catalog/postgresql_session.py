# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process's connection to PostgreSQL. Private to this collection; may change without notice."""

from __future__ import annotations

import select
import threading
import time
import typing as t

from ...module_utils._core.errors import Unsupported

try:
    import psycopg
    from psycopg import Connection
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.waiting import Ready, Wait

    PSYCOPG_IMPORT_ERROR: ImportError | None = None
except ImportError as exc:
    psycopg = None
    Connection = object
    PSYCOPG_IMPORT_ERROR = exc

# A server that answered before and does not now is being restarted, or another one takes over its address.
_RETURNS_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.5

# More than the server gives any statement: whoever is silent for longer does not keep its own limits.
_SILENT_FOR_S = 90.0

# A URL may say otherwise. They are for a server that is gone, or cannot be reached any more.
_OPTIONS: t.Mapping[str, t.Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "encompass.images",
    "client_encoding": "utf8",
}


class WatchedConnection(Connection):  # type: ignore[misc]
    """A connection that is given up when the server stops in the middle, while its kernel goes on answering."""

    def wait(self, gen: t.Any, *_intervals: t.Any, **_options: t.Any) -> t.Any:
        """Return what an exchange with the server comes to: psycopg runs all of them through here."""
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(self._await(wanted))
        except StopIteration as done:
            return done.value

    def _await(self, wanted: int) -> int:
        poll = select.poll()
        wants_in, wants_out = wanted & Wait.R, wanted & Wait.W
        poll.register(self.fileno(), (select.POLLIN if wants_in else 0) | (select.POLLOUT if wants_out else 0))
        found = poll.poll(_SILENT_FOR_S * 1000)
        if not found:
            self.close()
            raise psycopg.OperationalError(f"the server was silent for {_SILENT_FOR_S:g} s")
        events = found[0][1]
        # A broken connection counts as readable: reading it is how libpq finds out.
        is_in = events & ~select.POLLOUT
        return int((Ready.R if is_in else 0) | (Ready.W if events & select.POLLOUT else 0))


class Session:
    """A connection whose threads take turns, so that a server is asked for no more than one per process."""

    def __init__(self, url: str, *, was_reached: bool) -> None:
        """``was_reached`` tells whether this run has spoken to the server before."""
        if PSYCOPG_IMPORT_ERROR is not None:
            raise Unsupported(
                "catalog in PostgreSQL",
                "it needs the Python library psycopg 3, which is not installed on the control node",
                remedy="Install it there: pip install 'psycopg[binary]'.",
            ) from PSYCOPG_IMPORT_ERROR
        self.turn = threading.RLock()
        self.was_reached = was_reached
        self.has_read = False
        self.connection: t.Any = None
        self._url = url

    @property
    def is_in_transaction(self) -> bool:
        """Tell whether a transaction has begun that has not ended, well or badly."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return self.is_open and self.connection.info.transaction_status != idle

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection, as far as is known without using it."""
        return self.connection is not None and not self.connection.closed

    @property
    def is_lost(self) -> bool:
        """Tell whether there was a connection that is gone; when none could be made, there was none."""
        return self.connection is not None and self.connection.closed

    def begin(self, statements: str) -> list[tuple[t.Any, ...]]:
        """Begin a transaction by these statements, in one round trip, and return the rows of the last of them.

        A connection that was lost since it was used is made anew. After an error there is no transaction.
        """
        if self.is_open:
            try:
                return self._execute(statements)
            except psycopg.OperationalError:
                if not self.is_lost:
                    raise
        self._connect()
        return self._execute(statements)

    def roll_back(self) -> None:
        """End the transaction, if there is one, without a trace."""
        if self.is_in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except psycopg.Error:
                self.connection.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self.connection is not None:
            self.connection.close()

    def _execute(self, statements: str) -> list[tuple[t.Any, ...]]:
        try:
            cursor = self.connection.execute(statements)
            while cursor.nextset():
                pass
            return list(cursor.fetchall()) if cursor.description else []
        except BaseException:
            self.roll_back()
            raise

    def _connect(self) -> None:
        self.connection = None
        deadline = time.monotonic() + (_RETURNS_WITHIN_S if self.was_reached else 0)
        options = {**_OPTIONS, **conninfo_to_dict(self._url)}
        while True:
            try:
                # Nothing is prepared, so that a pool in between may give each transaction another session.
                self.connection = WatchedConnection.connect(**options, autocommit=True, prepare_threshold=None)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
            else:
                self.was_reached = True
                return

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog in a PostgreSQL database, for several control nodes. Private to this collection; it may change.

Writers take turns by one advisory lock, so none ever meets half of what another does, and there is nothing to retry
but a lost connection. No setting of a session outlasts its transaction, so a pool of connections may stand between.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
import uuid

from ...module_utils._core.errors import StoreUnavailable
from .base import BaseCatalog
from .location import describe_url
from .moved import refuse_moved
from .postgresql_errors import describe_problem, find_remedy
from .postgresql_schema import MIGRATIONS, SCHEMA, migrate
from .postgresql_session import Session
from .postgresql_tables import PostgresqlTables
from .schema import SchemaMismatch, check_version
from .tables import Tables

try:
    import psycopg
except ImportError:  # Session says so
    psycopg = None

T = t.TypeVar("T")

_ATTEMPTS = 3
_LOCK = 0x656E636F6D706173  # "encompas": an advisory lock is known by a number in its database

_LIMITS = f"""
SET LOCAL search_path = {SCHEMA};
SET LOCAL lock_timeout = '30s';
SET LOCAL statement_timeout = '60s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
"""
_BEGIN_READING = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}"
_BEGIN_WRITING = f"""
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_LIMITS}
SELECT pg_advisory_xact_lock({_LOCK});
"""
# Kept for an hour: long enough for whoever lost its connection to come back and look.
_LEAVE_MARK = """
DELETE FROM outcome WHERE at < extract(epoch FROM clock_timestamp()) - 3600;
INSERT INTO outcome VALUES ('{}', extract(epoch FROM clock_timestamp()));
"""
_READ_SETTINGS = "SELECT name, value FROM setting"


class _ConnectionLost(StoreUnavailable):
    """The connection was lost and nothing was changed."""


class PostgresqlCatalog(BaseCatalog):
    """A catalog in a schema of a database; connected to at its first use, by each process for itself."""

    def __init__(self, url: str, *, read_only: bool = False, migrations: t.Sequence[str] = MIGRATIONS) -> None:
        self._url = url
        self._read_only = read_only
        self._migrations = migrations
        # A connection must neither be used nor closed by a forked child, so those of the parent are kept for good.
        self._sessions: dict[int, Session] = {}

    @contextlib.contextmanager
    def reading(self) -> t.Iterator[Tables | None]:
        """Return a context with the tables as they are when it begins; inside a transaction as that one sees them."""
        session = self._get_session()
        with self._translate_errors(session), session.turn:
            if session.is_in_transaction:
                yield PostgresqlTables(session.connection)
                return
            try:
                yield self._begin_reading(session)
            finally:
                session.roll_back()

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[Tables]:
        """Return a context with the tables in one transaction."""
        session = self._get_session()
        with self._translate_errors(session), session.turn:
            if self._read_only or session.is_in_transaction:
                problem = "was opened only for reading" if self._read_only else "is in a transaction already"
                raise StoreUnavailable(self._describe(), problem, remedy="Report this as a bug.")
            mark = str(uuid.uuid4())
            self._begin_writing(session, mark)
            connection = session.connection
            try:
                yield PostgresqlTables(connection)
                self._commit(session, connection, mark)
            finally:
                session.roll_back()

    def write(self, work: t.Callable[[Tables], T]) -> T:
        """Return what the work makes of the tables; it is done again when the connection was lost before the commit."""
        for _attempt in range(_ATTEMPTS - 1):
            with contextlib.suppress(_ConnectionLost):
                return super().write(work)
        return super().write(work)

    def close(self) -> None:
        """Close the connection that this process made."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def _get_session(self) -> Session:
        pid = os.getpid()
        if pid not in self._sessions:
            was_reached = any(session.was_reached for session in self._sessions.values())
            self._sessions.setdefault(pid, Session(self._url, was_reached=was_reached))
        return self._sessions[pid]

    def _begin_reading(self, session: Session) -> Tables | None:
        settings = _begin(session, _BEGIN_READING)
        if not self._read_only and self._is_behind(settings):
            self._migrate(session)
            settings = _begin(session, _BEGIN_READING)
        if settings is None:
            return None
        if self._is_behind(settings):
            # Who only reads must not write: what is migrated here is rolled back after each read, until a writer comes.
            session.roll_back()
            session.begin(_BEGIN_WRITING)
            migrate(session.connection, self._migrations)
        if not session.has_read:
            refuse_moved(self._describe(), settings["moved"])
            session.has_read = True
        return PostgresqlTables(session.connection)

    def _begin_writing(self, session: Session, mark: str) -> None:
        begin = _BEGIN_WRITING + _LEAVE_MARK.format(mark)
        settings = _begin(session, begin)
        if self._is_behind(settings):
            self._migrate(session)
            settings = _begin(session, begin)
        try:
            refuse_moved(self._describe(), settings["moved"] if settings else "")
        except StoreUnavailable:
            session.roll_back()
            raise

    def _is_behind(self, settings: t.Mapping[str, str] | None) -> bool:
        """Tell whether there is no catalog yet, or one of an older release."""
        version = int(settings["version"]) if settings else 0
        check_version(version, self._migrations)
        return version < len(self._migrations)

    def _migrate(self, session: Session) -> None:
        session.roll_back()
        session.begin(_BEGIN_WRITING)
        try:
            migrate(session.connection, self._migrations)
            session.connection.execute("COMMIT")
        finally:
            session.roll_back()

    def _commit(self, session: Session, connection: t.Any, mark: str) -> None:
        """Commit; a connection that is lost on the way says nothing about the outcome, so that is looked for."""
        try:
            done = connection.execute("COMMIT").statusmessage
        except psycopg.OperationalError as exc:
            if not connection.closed:
                raise
            if not self._was_committed(session, mark):
                raise self._lose(exc) from exc
        else:
            if done != "COMMIT":
                raise StoreUnavailable(self._describe(), f"answered COMMIT with {done}", remedy="Run the play again.")

    def _was_committed(self, session: Session, mark: str) -> bool:
        """Tell whether the transaction that left this mark was committed, once it has ended."""
        try:
            # The lock is that transaction's until the server has ended it, one way or the other.
            session.begin(_BEGIN_WRITING)
            found = session.connection.execute("SELECT count(*) FROM outcome WHERE id = %s", (mark,)).fetchone()
        except psycopg.Error as exc:
            problem = f"the connection was lost in a commit, whose outcome is unknown: {describe_problem(exc)}"
            remedy = "Run the play again when the server is back: it looks at what is there."
            raise StoreUnavailable(self._describe(), problem, remedy=remedy) from exc
        finally:
            session.roll_back()
        return bool(found[0])

    @contextlib.contextmanager
    def _translate_errors(self, session: Session) -> t.Iterator[None]:
        try:
            yield
        except SchemaMismatch as exc:
            session.roll_back()
            raise StoreUnavailable(self._describe(), str(exc), remedy=exc.remedy) from exc
        except psycopg.Error as exc:
            if session.is_lost:
                raise self._lose(exc) from exc
            raise StoreUnavailable(self._describe(), describe_problem(exc), remedy=find_remedy(exc)) from exc

    def _lose(self, exc: Exception) -> _ConnectionLost:
        problem = f"the connection was lost: {describe_problem(exc)}"
        return _ConnectionLost(self._describe(), problem, remedy="Nothing was changed; run the play again.")

    def _describe(self) -> str:
        return f"catalog {describe_url(self._url)}"


def _begin(session: Session, statements: str) -> dict[str, str] | None:
    """Begin a transaction and return the catalog's settings; None, and no transaction, when there is no catalog."""
    try:
        return dict(session.begin(statements + _READ_SETTINGS))
    except psycopg.errors.UndefinedTable:
        return None

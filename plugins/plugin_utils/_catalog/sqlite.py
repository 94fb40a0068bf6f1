# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog in one SQLite file, for one control node. Private to this collection; may change without notice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import typing as t
from pathlib import Path

from ...module_utils._core.errors import StoreUnavailable
from .base import BaseCatalog
from .moved import refuse_moved
from .schema import SchemaMismatch
from .sqlite_schema import MIGRATIONS, is_current, migrate
from .sqlite_tables import SqliteTables

_BUSY_TIMEOUT_S = 30.0


class SqliteCatalog(BaseCatalog):
    """A catalog in a file; opened at its first use, by each process and thread for itself."""

    synchronous = "FULL"
    is_made_for_readers = False
    """Whether a store that is not there is made even by who only reads."""

    def __init__(self, path: Path, *, read_only: bool = False, migrations: t.Sequence[str] = MIGRATIONS) -> None:
        self._path = path
        self._read_only = read_only
        self._migrations = migrations
        # A connection must neither be used nor closed by a forked child, so those of the parent are kept for good.
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}

    @contextlib.contextmanager
    def reading(self) -> t.Iterator[SqliteTables | None]:
        """Return a context with the tables; each statement sees the newest commit."""
        with self._translate_sqlite_errors():
            connection = self._connect()
            yield self._read(connection) if connection else None

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[SqliteTables]:
        """Return a context with the tables in one transaction."""
        with self._translate_sqlite_errors():
            connection = self._connect()
            if connection is None or self._read_only:
                raise StoreUnavailable(self._describe(), "was opened only for reading", remedy="Report this as a bug.")
            connection.execute("BEGIN IMMEDIATE")
            try:
                tables = self._read(connection)
                refuse_moved(self._describe(), tables.read_setting("moved"))
                yield tables
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, such as a full disk.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connections that this process made."""
        for place in [place for place in self._connections if place[0] == os.getpid()]:
            self._connections.pop(place).close()

    def _connect(self) -> sqlite3.Connection | None:
        """Return this thread's connection; None when there is only to be read and nothing is there."""
        place = (os.getpid(), threading.get_ident())
        if place not in self._connections:
            with self._translate_file_errors():
                connection = self._open()
                if connection is None or not is_current(connection, self._migrations):
                    return self._copy_migrated(connection) if connection else None
            refuse_moved(self._describe(), SqliteTables(connection).read_setting("moved"))
            self._connections[place] = connection
        return self._connections[place]

    def _open(self) -> sqlite3.Connection | None:
        if not self._path.exists():
            if self._read_only and not self.is_made_for_readers:
                return None
            _make_directory(self._path.parent)
            self._publish()
        connection = _connect_file(self._path)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        if not self._read_only:
            migrate(connection, self._migrations)
        return connection

    def _publish(self) -> None:
        """Make a whole store and let it appear at once; of several that try, one succeeds for all."""
        descriptor, unfinished = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")  # mode 0600
        os.close(descriptor)
        try:
            with contextlib.closing(_connect_file(Path(unfinished))) as connection:
                self._fill(connection)
                # Closing does it too, and says nothing when the disk is full: the file would get its name without them.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, self._path)
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                Path(f"{unfinished}{suffix}").unlink(missing_ok=True)

    def _fill(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new store."""
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, self._migrations)

    def _read(self, connection: sqlite3.Connection) -> SqliteTables:
        return SqliteTables(connection)

    def _copy_migrated(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Return a store of an older release as it would be now; reading must not write, so the copy is in memory.

        It is made anew for each read, until the first writer migrates the file.
        """
        copy = sqlite3.connect(":memory:", isolation_level=None)
        with contextlib.closing(connection):
            connection.backup(copy)
        migrate(copy, self._migrations)
        return copy

    @contextlib.contextmanager
    def _translate_sqlite_errors(self) -> t.Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise StoreUnavailable(self._describe(), str(exc), remedy=_find_remedy(str(exc))) from exc

    @contextlib.contextmanager
    def _translate_file_errors(self) -> t.Iterator[None]:
        try:
            yield
        except OSError as exc:
            problem = f"cannot be made or opened: {exc.strerror or type(exc).__name__}"
            raise StoreUnavailable(self._describe(), problem, remedy=_find_remedy(problem)) from exc
        except SchemaMismatch as exc:
            raise StoreUnavailable(self._describe(), str(exc), remedy=exc.remedy) from exc

    def _describe(self) -> str:
        return f"catalog {self._path}"


def _connect_file(path: Path) -> sqlite3.Connection:
    # Never rwc: a file that vanished must not come back empty and with the umask's mode.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _make_directory(directory: Path) -> None:
    for missing in reversed([folder for folder in (directory, *directory.parents) if not folder.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _find_remedy(problem: str) -> str:
    for part, remedy in _REMEDIES.items():
        if part in problem:
            return remedy
    return "Check the path, its permissions and the file system below."


_REMEDIES = {
    "No space left": "Free some space on its file system, then run the play again.",
    "full": "Free some space on its file system, then run the play again; nothing was changed.",
    "locked": f"Somebody has kept it locked for more than {_BUSY_TIMEOUT_S:.0f} s; end that process, then try again.",
    "not a database": "The file is something else: choose another path.",
    "malformed": "Restore it from a backup.",
    "readonly": "Make the file and its directory writable for this user; see whether their file system is full.",
    "I/O error": "See whether its file system is full, else look for errors of the disk in the kernel log.",
    "Input/output error": "Look for errors of the disk in the kernel log, then run the play again.",
    "unable to open": "Check that the path can be read and written by this user; see whether its file system is full.",
}

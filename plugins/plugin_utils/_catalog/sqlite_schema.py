# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables in SQLite and how they came to be. Private to this collection; may change without notice.

A migration is never changed once released: add the next one. The schema's version is the number of migrations made,
kept in ``PRAGMA user_version``.
"""

from __future__ import annotations

import sqlite3
import typing as t
import uuid

from .schema import SchemaMismatch, check_version

APPLICATION_ID = 0x656E6370  # "encp"; file(1) and we tell the catalog from other SQLite files by it

_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE operation (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    verb TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    owner TEXT NOT NULL,
    intent TEXT NOT NULL,
    recovered TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL
);
CREATE INDEX operation_by_state ON operation (state, since);

CREATE TABLE object (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    body TEXT NOT NULL,
    updated_at REAL NOT NULL,
    operation TEXT REFERENCES operation (id),
    PRIMARY KEY (kind, name)
);
CREATE INDEX object_by_operation ON object (operation) WHERE operation IS NOT NULL;

CREATE TABLE target (
    operation TEXT NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    outer_operation TEXT REFERENCES operation (id) ON DELETE SET NULL,
    PRIMARY KEY (operation, kind, name)
) WITHOUT ROWID;
CREATE INDEX target_by_outer ON target (outer_operation) WHERE outer_operation IS NOT NULL;

CREATE TABLE tag (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (kind, tag, value, name),
    FOREIGN KEY (kind, name) REFERENCES object (kind, name) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tag_by_object ON tag (kind, name);

CREATE TABLE claim (
    claim TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    FOREIGN KEY (kind, name) REFERENCES object (kind, name) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX claim_by_object ON claim (kind, name);

CREATE TABLE history (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    verb TEXT NOT NULL,
    operation TEXT,
    user TEXT NOT NULL,
    run TEXT NOT NULL,
    changes TEXT NOT NULL
);
CREATE INDEX history_by_object ON history (kind, name, number);
CREATE INDEX history_by_age ON history (at);

CREATE TABLE sequence (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE fact (
    host TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (host, key)
) WITHOUT ROWID;
"""

_MOVED = "INSERT INTO setting VALUES ('moved', ''), ('origin', '')"

MIGRATIONS: tuple[str, ...] = (_TABLES, _MOVED)


def migrate(connection: sqlite3.Connection, migrations: t.Sequence[str] = MIGRATIONS) -> None:
    """Bring the tables to the newest version in one transaction; does not write when they are there already.

    Raises SchemaMismatch for a file of something else and for one made by a newer release.
    """
    if _read_version(connection, migrations) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have migrated while this one waited for its turn.
        version = _read_version(connection, migrations)
        for migration in migrations[version:]:
            for statement in migration.split(";\n"):
                connection.execute(statement)
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("INSERT INTO setting VALUES ('uuid', ?)", (str(uuid.uuid4()),))
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_current(connection: sqlite3.Connection, migrations: t.Sequence[str] = MIGRATIONS) -> bool:
    """Tell whether the tables are of the version that this release works with."""
    return _read_version(connection, migrations) == len(migrations)


def _read_version(connection: sqlite3.Connection, migrations: t.Sequence[str]) -> int:
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not empty:
        raise SchemaMismatch("the file is a database of something else", "Choose another file.")
    check_version(version, migrations)
    return version

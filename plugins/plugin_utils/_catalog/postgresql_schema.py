# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables in PostgreSQL and how they came to be. Private to this collection; may change without notice.

A migration is never changed once released: add the next one. The schema's version is the number of migrations made,
kept among the settings.
"""

from __future__ import annotations

import typing as t
import uuid

from .schema import SchemaMismatch, check_version

SCHEMA = "encompass"

# Everything is sorted by bytes, as in SQLite and in Python, whatever the database's language.
_TABLES = """
CREATE TABLE setting (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE outcome (id TEXT COLLATE "C" PRIMARY KEY, at DOUBLE PRECISION NOT NULL);
CREATE INDEX outcome_by_age ON outcome (at);

CREATE TABLE operation (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    verb TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    owner TEXT NOT NULL,
    intent TEXT NOT NULL,
    recovered TEXT NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION NOT NULL
);
CREATE INDEX operation_by_state ON operation (state, since);

CREATE TABLE object (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision > 0),
    body TEXT NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    operation TEXT COLLATE "C" REFERENCES operation (id),
    PRIMARY KEY (kind, name)
);
CREATE INDEX object_by_operation ON object (operation) WHERE operation IS NOT NULL;

CREATE TABLE target (
    operation TEXT COLLATE "C" NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    outer_operation TEXT COLLATE "C" REFERENCES operation (id) ON DELETE SET NULL,
    PRIMARY KEY (operation, kind, name)
);
CREATE INDEX target_by_outer ON target (outer_operation) WHERE outer_operation IS NOT NULL;

CREATE TABLE tag (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, tag, value, name),
    FOREIGN KEY (kind, name) REFERENCES object (kind, name) ON DELETE CASCADE
);
CREATE INDEX tag_by_object ON tag (kind, name);

CREATE TABLE claim (
    claim TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    FOREIGN KEY (kind, name) REFERENCES object (kind, name) ON DELETE CASCADE
);
CREATE INDEX claim_by_object ON claim (kind, name);

CREATE TABLE history (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    verb TEXT NOT NULL,
    operation TEXT,
    "user" TEXT NOT NULL,
    run TEXT NOT NULL,
    changes TEXT NOT NULL
);
CREATE INDEX history_by_object ON history (kind, name, number);
CREATE INDEX history_by_age ON history (at);

CREATE TABLE sequence (name TEXT COLLATE "C" PRIMARY KEY, last BIGINT NOT NULL);

CREATE TABLE fact (
    host TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (host, key)
);

INSERT INTO setting VALUES ('version', '0'), ('moved', ''), ('origin', '');
"""

MIGRATIONS: tuple[str, ...] = (_TABLES,)


def migrate(connection: t.Any, migrations: t.Sequence[str]) -> None:
    """Bring the tables to the newest version, inside a transaction that has the catalog for itself.

    Raises SchemaMismatch for a schema of something else and for one made by a newer release.
    """
    version = _prepare_schema(connection)
    check_version(version, migrations)
    for migration in migrations[version:]:
        connection.execute(migration)
    if version == 0:
        connection.execute("INSERT INTO setting VALUES ('uuid', %s)", (str(uuid.uuid4()),))
    connection.execute("UPDATE setting SET value = %s WHERE name = 'version'", (str(len(migrations)),))


def _prepare_schema(connection: t.Any) -> int:
    """Return the version of the tables, 0 when there are none; make the schema when it is not there."""
    if connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()[0] is None:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    found = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", (SCHEMA,))
    tables = {name for (name,) in found}
    if tables and "outcome" not in tables:
        raise SchemaMismatch(f"its schema {SCHEMA} holds tables of something else", "Choose another database.")
    if not tables:
        return 0
    return int(connection.execute("SELECT value FROM setting WHERE name = 'version'").fetchone()[0])

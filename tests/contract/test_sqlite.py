# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a store in a file can suffer: modes, full disks, foreign files, older and newer schemas."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import StoreUnavailable
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite import SqliteCatalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite_schema import MIGRATIONS
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

NEXT = (*MIGRATIONS, "ALTER TABLE object ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';\nCREATE TABLE extra (a TEXT)")


@pytest.fixture
def path(tmp_path):
    """Return where the catalog will be."""
    return tmp_path / "state" / "deep" / "catalog.sqlite"


def put(catalog, name, body):
    with catalog.transaction() as transaction:
        transaction.put("master", name, body)


def test_the_files_are_private_whatever_the_umask(path):
    umask = os.umask(0)
    try:
        catalog = SqliteCatalog(path)
        put(catalog, "web-v1", {"a": 1})
    finally:
        os.umask(umask)

    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in (*path.parent.iterdir(), path.parent)}
    assert set(modes.values()) == {"0o600", "0o700"}
    assert modes["deep"] == "0o700"
    assert "catalog.sqlite-wal" in modes, "not in WAL mode"


def test_check_mode_leaves_every_byte_as_it_is(path, tmp_path):
    catalog = SqliteCatalog(path)
    put(catalog, "web-v1", {"a": 1})
    catalog.close()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    scratch = tmp_path / "ansible-local-1"
    scratch.mkdir(mode=0o700)
    planned = open_catalog(f"sqlite://{path}", scratch_dir=str(scratch))
    put(planned, "web-v1", {"a": 2})
    planned.close()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_commits_are_durable(path):
    catalog = SqliteCatalog(path)
    with catalog.writing() as tables:
        assert tables._execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert tables._execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert tables._execute("PRAGMA busy_timeout").fetchone()[0] == 30000


def test_a_locked_store_is_waited_for_and_then_an_error(path, monkeypatch):
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog import sqlite

    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_S", 0.2)
    holder, waiter = SqliteCatalog(path), SqliteCatalog(path)
    with (
        holder.transaction(),
        pytest.raises(StoreUnavailable, match=r"database is locked\. Somebody has kept it locked"),
    ):
        put(waiter, "web-v1", {})
    put(waiter, "web-v1", {})


# Migration


def test_an_older_store_is_migrated_by_the_first_writer(path):
    put(SqliteCatalog(path), "web-v1", {"version": 1})

    newer = SqliteCatalog(path, migrations=NEXT)
    put(newer, "web-v2", {"version": 2})

    assert [row.body for row in newer.find("master")] == [{"version": 1}, {"version": 2}]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(NEXT),)
        assert connection.execute("SELECT DISTINCT colour FROM object").fetchall() == [("red",)]


def test_reading_an_older_store_does_not_write_it(path):
    old = SqliteCatalog(path)
    put(old, "web-v1", {"version": 1})
    old.close()
    before = path.read_bytes()

    reader = SqliteCatalog(path, migrations=NEXT, read_only=True)
    assert [row.name for row in reader.find("master")] == ["web-v1"]
    assert path.read_bytes() == before

    put(SqliteCatalog(path, migrations=NEXT), "web-v2", {"version": 2})
    assert [row.name for row in reader.find("master")] == ["web-v1", "web-v2"]


def test_a_failed_migration_changes_nothing(path):
    put(SqliteCatalog(path), "web-v1", {"version": 1})

    with pytest.raises(StoreUnavailable, match="syntax error"):
        SqliteCatalog(path, migrations=(*NEXT, "NONSENSE")).find("master")
    assert [row.name for row in SqliteCatalog(path).find("master")] == ["web-v1"]


def test_a_newer_store_is_refused(path):
    put(SqliteCatalog(path, migrations=NEXT), "web-v1", {})

    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match=r"written by a newer release of encompass.images \(schema 3, known"):
            SqliteCatalog(path, read_only=read_only).find("master")


# Files that are something else


def test_another_database_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()

    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match="is a database of something else"):
            SqliteCatalog(path, read_only=read_only).find("master")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)

    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match=r"notes.txt: file is not a database"):
            SqliteCatalog(path, read_only=read_only).find("master")
    assert path.read_text() == "not a database " * 100


def test_an_empty_file_becomes_a_catalog(tmp_path):
    path = tmp_path / "empty.sqlite"
    path.touch()

    assert SqliteCatalog(path, read_only=True).find("master") == []
    assert path.stat().st_size == 0
    put(SqliteCatalog(path), "web-v1", {})
    assert len(SqliteCatalog(path).uuid) == 36


def test_a_place_where_nothing_can_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be made or opened: Not a directory"):
        SqliteCatalog(tmp_path / "file" / "catalog.sqlite").find("master")


# Full disks

FILL = """
    import sys
    from pathlib import Path
    from ansible_collections.encompass.images.plugins.module_utils._core.errors import StoreUnavailable
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite import SqliteCatalog

    catalog = SqliteCatalog(Path(sys.argv[1]))
    written = 0
    try:
        for written in range(10000):
            with catalog.transaction() as transaction:
                transaction.put("master", f"a{written}", {"text": "x" * 3000})
                transaction.put("master", f"b{written}", {"text": "x" * 3000})
    except StoreUnavailable as exc:
        print(exc)
    names = {row.name for row in catalog.find("master")}
    assert names == {f"{side}{number}" for number in range(written) for side in "ab"}, (written, names)
    catalog.close()
    assert len(SqliteCatalog(Path(sys.argv[1]), read_only=True).find("master")) == 2 * written
"""


def can_mount():
    return shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs root for a small file system of its own")
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path):
    script = tmp_path / "fill.py"
    script.write_text(textwrap.dedent(FILL))
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"mount -t tmpfs -o size=1m none {disk} && {sys.executable} {script} {disk}/catalog.sqlite"

    # The mount goes with the namespace, however this ends.
    run = subprocess.run(
        ["unshare", "-m", "sh", "-ec", command], env=environ(), capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    assert "Free some space on its file system, then run the play again; nothing was changed." in run.stdout


def test_a_full_store_can_still_be_read_and_written_later(path):
    catalog = SqliteCatalog(path)
    put(catalog, "web-v1", {"a": 1})
    with catalog.writing() as tables:
        pages = tables._execute("PRAGMA page_count").fetchone()[0]
        tables._execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match=r"database or disk is full\. Free some space"):
        put(catalog, "web-v2", {"text": "x" * 100_000})
    assert [row.name for row in catalog.find("master")] == ["web-v1"]

    with catalog.writing() as tables:
        tables._execute("PRAGMA max_page_count = 100000")
    put(catalog, "web-v2", {"text": "x" * 100_000})


def environ():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["ANSIBLE_COLLECTIONS_PATH"], *sys.path])}


# History and journal


def test_old_entries_are_trimmed_by_age(path):
    catalog = SqliteCatalog(path)
    put(catalog, "web-v1", {"a": 1})
    with catalog.writing() as tables:
        tables._execute("UPDATE history SET at = at - 401 * 86400")
    put(catalog, "web-v2", {"a": 1})

    assert catalog.history("master", "web-v1") == []
    assert len(catalog.history("master", "web-v2")) == 1


def test_old_operations_are_trimmed_unless_an_object_is_marked_by_one(path, owner):
    catalog = SqliteCatalog(path)
    put(catalog, "web-v1", {"a": 1})
    put(catalog, "web-v2", {"a": 1})
    ended = catalog.begin("a", [("master", "web-v1")], owner=owner)
    catalog.commit(ended.id, {})
    open_one = catalog.begin("b", [("master", "web-v2")], owner=owner)
    with catalog.writing() as tables:
        tables._execute("UPDATE operation SET since = since - 401 * 86400, until = until - 401 * 86400")
        tables._execute("UPDATE operation SET state = 'failed' WHERE id = ?", (open_one.id,))

    last = catalog.begin("c", [("master", "web-v1")], owner=owner)

    assert [operation.id for operation in catalog.operations()] == [open_one.id, last.id]


def test_the_queries_of_the_front_doors_use_an_index(path):
    catalog = SqliteCatalog(path)
    put(catalog, "web-v1", {"function": "web", "version": 1})
    statements = []
    with catalog.reading() as tables:
        connection = tables._connection
        connection.set_trace_callback(statements.append)
        catalog.find("master", function="web", version=1)
        catalog.get("master", "web-v1")
        catalog.facts_get("h")
        connection.set_trace_callback(None)
        plans = [row[3] for text in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert len(statements) == 3
    assert [plan for plan in plans if plan.startswith("SCAN")] == []


def test_each_catalog_has_a_scratch_file_of_its_own(tmp_path):
    scratch = tmp_path / "scratch"
    for name in ("one", "one", "other"):
        put(open_catalog(f"sqlite://{tmp_path}/{name}.sqlite", scratch_dir=str(scratch)), name, {})

    assert len(list(scratch.glob("encompass-check-*.sqlite"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a store behind a network can suffer: crashes, lost answers, other hosts, other clocks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, StoreUnavailable
from ansible_collections.encompass.images.plugins.plugin_utils._catalog import (
    postgresql,
    postgresql_session,
    postgresql_tables,
)
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.postgresql import PostgresqlCatalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.postgresql_schema import MIGRATIONS

from tests.contract.conftest import Store
from tests.contract.crowd import Crowd
from tests.contract.flaky_link import FlakyLink

A = ("machine", "a")
COMMIT = b"COMMIT\0"  # the statement; begin says READ COMMITTED
LOST = r"the connection was lost: .*\. Nothing was changed; run the play again\."
NEXT = (*MIGRATIONS, "ALTER TABLE object ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'; CREATE TABLE extra (a TEXT)")


@pytest.fixture
def catalog(database):
    """Return a catalog with one machine."""
    catalog = PostgresqlCatalog(database)
    put(catalog, {"count": 0})
    yield catalog
    catalog.close()


def put(catalog, body):
    with catalog.transaction() as transaction:
        return transaction.put(*A, body)


def kill_backend(catalog):
    """Kill the server's process for this connection; the server then ends all others too, and recovers."""
    os.kill(catalog._sessions[os.getpid()].connection.info.backend_pid, signal.SIGKILL)


# Crashes


def test_an_operation_outlasts_a_crash_of_the_server(catalog, database_server, owner):
    operation = catalog.begin("assign", [A], owner=owner)
    database_server.stop()
    database_server.start()

    assert catalog.renew(operation.id, 60).until > operation.until
    assert catalog.commit(operation.id, {A: {"count": 1}})[A].revision == 2


def test_a_run_waits_for_a_server_that_was_there(catalog, database_server):
    database_server.stop()
    with Restarting(database_server, after_s=2):
        assert put(catalog, {"count": 1}).revision == 2


def test_a_killed_transaction_is_undone_and_says_so(catalog):
    with (
        pytest.raises(StoreUnavailable, match=LOST),
        catalog.transaction() as transaction,
    ):
        transaction.put(*A, {"count": 1})
        kill_backend(catalog)
        transaction.put("machine", "b", {})

    assert (catalog.require(*A).body, catalog.get("machine", "b")) == ({"count": 0}, None)


def test_a_server_that_stops_in_the_middle_is_given_up(catalog, monkeypatch):
    monkeypatch.setattr(postgresql_session, "_SILENT_FOR_S", 0.5)
    pid = catalog._sessions[os.getpid()].connection.info.backend_pid
    started = time.monotonic()
    try:
        with (
            pytest.raises(StoreUnavailable, match=r"was silent for 0\.5 s\. Nothing was changed"),
            catalog.transaction() as transaction,
        ):
            transaction.put(*A, {"count": 1})
            os.kill(pid, signal.SIGSTOP)
            transaction.put("machine", "b", {})
    finally:
        os.kill(pid, signal.SIGCONT)

    assert time.monotonic() - started < 5
    assert catalog.require(*A).body == {"count": 0}


def test_what_stands_for_itself_is_done_again(catalog):
    turns = []

    def work(tables):
        turns.append(tables.now())
        if len(turns) == 1:
            kill_backend(catalog)
        tables.write_facts("h", {"turn": str(len(turns))})

    catalog.write(work)

    assert len(turns) == 2
    assert catalog.facts_get("h") == {"turn": 2}


# Lost answers


@pytest.fixture
def link(catalog, database_server):
    """Return a link to the server that can break; it must be read, so nothing is encrypted on it."""
    with FlakyLink(database_server.port) as link:
        yield link


@pytest.fixture
def linked(link, database, database_server):
    """Return the catalog behind that link."""
    url = database.replace(f":{database_server.port}/", f":{link.port}/")
    catalog = PostgresqlCatalog(f"{url}?sslmode=disable")
    assert catalog.require(*A).body == {"count": 0}
    yield catalog
    catalog.close()


def test_a_commit_whose_answer_is_lost_is_found_to_be_done(link, linked):
    link.break_at(COMMIT, is_heard=True)

    assert put(linked, {"count": 1}).revision == 2
    assert link.breaks == 1
    assert [entry.revision for entry in linked.history(*A)] == [2, 1]


def test_a_commit_that_never_arrives_is_found_to_be_undone(link, linked):
    link.break_at(COMMIT, is_heard=False)

    with pytest.raises(StoreUnavailable, match=LOST):
        put(linked, {"count": 1})
    assert link.breaks == 1
    assert linked.require(*A).body == {"count": 0}


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_lost_commit_of_an_operation_is_done_once(link, linked, owner, is_heard):
    operation = linked.begin("assign", [A], owner=owner)
    link.break_at(COMMIT, is_heard=is_heard)

    linked.commit(operation.id, {A: {"count": 1}})

    assert link.breaks == 1
    assert [entry.revision for entry in linked.history(*A)] == [2, 1]
    assert [entry.state for entry in linked.operations()] == ["done"]


def test_an_outcome_that_cannot_be_looked_up_is_called_unknown(link, linked, monkeypatch):
    monkeypatch.setattr(postgresql_session, "_RETURNS_WITHIN_S", 1.0)
    link.break_at(COMMIT, is_heard=True)

    with (
        pytest.raises(StoreUnavailable, match=r"whose outcome is unknown: .*it looks at what is there"),
        linked.transaction() as transaction,
    ):
        transaction.put(*A, {"count": 1})
        link.close()


# Several control nodes


def test_of_many_control_nodes_one_wins_and_the_others_learn_which(database, catalog, owner):
    def begin(number):
        node = dataclasses.replace(owner, host=f"node-{number}", boot_id=str(number))
        try:
            return PostgresqlCatalog(database).begin("assign", [A], owner=node).owner.host
        except Conflict as conflict:
            return conflict.holder["host"]

    assert len(set(Crowd(8, begin).collect())) == 1
    assert len(catalog.operations()) == 1


def test_a_lease_ends_by_the_clock_of_the_server(catalog, other, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)

    operation = catalog.begin("assign", [A], owner=other, lease_s=60)

    assert operation.since == pytest.approx(now, abs=30)
    with pytest.raises(Conflict, match="is busy: assign by alice"):
        catalog.begin("assign", [A], owner=dataclasses.replace(other, user="bob"))


def test_a_scratch_copy_keeps_what_is_left_of_a_lease(catalog, other, tmp_path, monkeypatch):
    monkeypatch.setattr(postgresql_tables, "_NOW", f"{postgresql_tables._NOW} + 3600")  # a server that is ahead
    operation = catalog.begin("assign", [A], owner=other, lease_s=60)
    assert operation.since == pytest.approx(time.time() + 3600, abs=30)

    scratch = Store(catalog._url).open(scratch_dir=str(tmp_path))

    assert scratch.operations() == [operation]
    assert operation.until - scratch.now() == pytest.approx(60, abs=30)
    with pytest.raises(Conflict, match="is busy: assign by alice"):
        scratch.begin("assign", [A], owner=dataclasses.replace(other, user="bob"))


def test_what_is_changed_beside_a_scratch_copy_is_told_by_the_clock_of_the_server(
    catalog, owner, tmp_path, monkeypatch
):
    monkeypatch.setattr(postgresql_tables, "_NOW", f"{postgresql_tables._NOW} - 3600")  # a server that is behind
    put(catalog, {"count": 1})
    scratch = Store(catalog._url).open(scratch_dir=str(tmp_path))

    scratch.commit(scratch.begin("assign", [A], owner=owner).id, {A: {"count": 2}})
    operation = scratch.begin("assign", [A], owner=owner)
    put(catalog, {"count": 3})
    with pytest.raises(Conflict, match="machine a: was changed by somebody else"):
        scratch.commit(operation.id, {})


def test_limits_hold_in_each_transaction_and_nothing_outlasts_it(catalog):
    limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "search_path")

    def show(connection):
        return [connection.execute(f"SHOW {name}").fetchone()[0] for name in limits]

    with catalog.reading() as tables:
        connection = tables._connection
        assert show(connection) == ["30s", "1min", "1min", "encompass"]
    with catalog.writing() as tables:
        assert show(tables._connection) == ["30s", "1min", "1min", "encompass"]
    assert show(connection) == ["0", "0", "0", '"$user", public']


def test_a_process_asks_for_one_connection_however_many_threads_it_has(catalog, database_server):
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(lambda _number: catalog.require(*A), range(64)))) == 64

    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'encompass'"
    assert database_server.execute(count) == [(1,)]


def test_a_transaction_that_hangs_is_waited_for_and_then_an_error(catalog, database, monkeypatch):
    waiter = PostgresqlCatalog(database)
    monkeypatch.setattr(postgresql, "_BEGIN_WRITING", postgresql._BEGIN_WRITING.replace("30s", "200ms"))

    with (
        catalog.transaction(),
        pytest.raises(StoreUnavailable, match=r"due to lock timeout\. Somebody has kept the catalog locked"),
    ):
        put(waiter, {"count": 1})
    put(waiter, {"count": 1})


def test_many_objects_take_few_statements(catalog, owner):
    with catalog.transaction() as transaction:
        for number in range(300):
            transaction.put("machine", f"m{number}", {"server": f"s{number}"})
    keys = [("machine", f"m{number}") for number in range(300)]
    counted = CountingTables()

    with counted.in_place_of(catalog):
        operation = catalog.begin("assign", keys, owner=owner)
        catalog.commit(operation.id, {key: {"server": f"t{key[1]}"} for key in keys})

    assert counted.statements < 40


def test_the_queries_of_the_front_doors_use_an_index(catalog):
    with catalog.reading() as tables:
        tables._connection.execute("SET LOCAL enable_seqscan = off")
        asked = []
        execute = tables._execute
        tables._execute = lambda statement, values=(): asked.append((statement, values)) or execute(statement, values)
        tables.read_objects("clone", {"function": ["web"], "stage": ["active"]})
        tables.read_object(A)
        tables.read_facts("h")
        plans = [row[0] for statement, values in asked for row in execute(f"EXPLAIN {statement}", values).fetchall()]
    assert len(asked) == 3
    assert [plan for plan in plans if "Seq Scan" in plan] == []


# Migration


def test_an_older_catalog_is_migrated_by_the_first_writer(catalog, database, database_server):
    newer = PostgresqlCatalog(database, migrations=NEXT)
    assert put(newer, {"count": 1}).revision == 2

    assert database_server.execute("SELECT DISTINCT colour FROM encompass.object") == [("red",)]
    with pytest.raises(StoreUnavailable, match=r"written by a newer release of encompass.images \(schema 2, known"):
        catalog.find("machine")


def test_reading_an_older_catalog_does_not_write_it(catalog, database):
    before = Store(database).dump()
    reader = PostgresqlCatalog(database, migrations=NEXT, read_only=True)

    assert [row.name for row in reader.find("machine")] == ["a"]
    assert Store(database).dump() == before


def test_a_failed_migration_changes_nothing(catalog, database):
    before = Store(database).dump()

    with pytest.raises(StoreUnavailable, match="syntax error"):
        put(PostgresqlCatalog(database, migrations=(*NEXT, "NONSENSE")), {})
    assert Store(database).dump() == before


def test_a_schema_of_something_else_is_refused_and_not_touched(database, database_server):
    database_server.execute("CREATE TABLE encompass.theirs (a TEXT)")
    database_server.execute("GRANT ALL ON encompass.theirs TO encompass")

    with pytest.raises(StoreUnavailable, match="its schema encompass holds tables of something else"):
        PostgresqlCatalog(database).find("machine")
    assert list(Store(database).dump()) == ["theirs"]


class Restarting:
    """Starts a server after some time, from a thread."""

    def __init__(self, server, after_s):
        self._timer = threading.Timer(after_s, server.start)

    def __enter__(self):
        self._timer.start()

    def __exit__(self, *_exc):
        self._timer.join()


class CountingTables:
    """Counts the statements of a catalog; many rows in one go count as one."""

    def __init__(self):
        self.statements = 0

    @contextlib.contextmanager
    def in_place_of(self, catalog):
        counter = self

        class Tables(postgresql.PostgresqlTables):
            def _execute(self, *args):
                counter.statements += 1
                return super()._execute(*args)

            def _execute_many(self, *args):
                counter.statements += 1
                super()._execute_many(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postgresql, "PostgresqlTables", Tables)
            yield

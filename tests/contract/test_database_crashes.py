# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database server that dies in the middle of commits: the outcome is known, nothing is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import StoreUnavailable
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.changes import KEEP_ENTRIES
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.postgresql import PostgresqlCatalog

from tests.lab.commands import wait_until

A = ("machine", "a")
UNDONE = r"the connection was lost: .*\. Nothing was changed; run the play again\."
COMMITTING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND state = 'active' AND wait_event = '{}'"
)
SLOW_COMMIT = """
CREATE FUNCTION encompass.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON encompass.object DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION encompass.wait();
"""
CRASHES = int(os.environ.get("CRASHES", "6"))


@pytest.fixture
def catalog(database):
    """Return a catalog with one machine."""
    catalog = PostgresqlCatalog(database)
    put(catalog, 0)
    yield catalog
    catalog.close()


def put(catalog, number):
    with catalog.transaction() as transaction:
        return transaction.put(*A, {"count": number})


@contextlib.contextmanager
def configured(server, setting, value):
    """Set something in the server, also beyond a crash of it."""
    server.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
    server.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        server.execute(f"ALTER SYSTEM RESET {setting}")
        server.execute("SELECT pg_reload_conf()")


class Crash:
    """Kills the server once a commit waits for ``event`` in it, has ``then`` done, and starts it again."""

    def __init__(self, server, event, then=lambda: None):
        self._server, self._event, self._then = server, event, then
        self._thread = threading.Thread(target=self._crash, daemon=True)

    def _crash(self):
        asked = COMMITTING.format(self._event)
        wait_until(lambda: self._server.execute(asked) == [(1,)], timeout_s=30, what="a commit in the server")
        self._server.stop()
        self._then()
        self._server.start()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_exc):
        self._thread.join(timeout=90)
        assert not self._thread.is_alive()


def test_a_commit_that_was_done_when_the_server_died_is_found_to_be_done(catalog, database_server):
    settings = database_server.directory / "data/postgresql.auto.conf"

    # A commit waits for a standby that there is not, when it is on the disk already.
    with (
        configured(database_server, "synchronous_standby_names", "nobody"),
        Crash(database_server, "SyncRep", then=lambda: settings.write_text("", encoding="utf-8")),
    ):
        assert put(catalog, 1).revision == 2

    assert [entry.revision for entry in catalog.history(*A)] == [2, 1]


def test_a_commit_that_was_not_done_when_the_server_died_is_found_to_be_undone(catalog, database_server):
    database_server.execute(SLOW_COMMIT)

    with pytest.raises(StoreUnavailable, match=UNDONE), Crash(database_server, "PgSleep"):
        put(catalog, 1)

    assert catalog.require(*A).body == {"count": 0}
    assert [entry.revision for entry in catalog.history(*A)] == [1]


def test_of_many_operations_each_is_done_once_however_often_the_server_dies(catalog, database_server, owner):
    chance, over = random.Random(20261121), threading.Event()

    def work():
        number = 0
        while not over.is_set():
            number += 1
            operation = catalog.begin("assign", [A], owner=owner)
            assert catalog.commit(operation.id, {A: {"count": number}})[A].revision == number + 1
        return number

    with ThreadPoolExecutor(1) as worker:
        number = worker.submit(work)
        for _crash in range(CRASHES):
            time.sleep(chance.uniform(0.1, 0.5))
            database_server.stop()
            database_server.start()
        over.set()

    kept = [entry.revision for entry in catalog.history(*A, limit=100_000)]
    assert kept == list(range(number.result() + 1, 0, -1))[:KEEP_ENTRIES]
    assert {operation.state for operation in catalog.operations()} == {"done"}

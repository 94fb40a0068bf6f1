# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One suite for every store: a store that is added adds its name and a way to make an empty one."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from pathlib import Path

import psycopg
import pytest

from tests.contract.project import Project
from tests.lab.postgresql import PostgresqlServer


@dataclasses.dataclass(frozen=True)
class Store:
    """Where one test keeps its catalog; it can be handed to another process."""

    url: str

    def dump(self):
        """Return all that is kept, read past all our code; of a database with the transaction that wrote each row."""
        if self.url.startswith("sqlite"):
            path = Path(self.url.removeprefix("sqlite://"))
            if not path.exists():
                return {}
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                return dict(enumerate(connection.iterdump()))
        with psycopg.connect(self.url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'encompass'").fetchall()
            return {name: connection.execute(f"SELECT xmin, * FROM encompass.{name}").fetchall() for (name,) in tables}

    def open(self, **options):
        """Return a catalog of its own, as another process would open it."""
        from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

        return open_catalog(self.url, **options)


@pytest.fixture(scope="session")
def database_server():
    """Return a PostgreSQL server with a role for catalogs."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture
def database(database_server, monkeypatch):
    """Return the URL of a database in which no catalog has been made, with the password where libpq looks for it."""
    monkeypatch.setenv("PGPASSFILE", str(database_server.passwords))
    database_server.clear()
    return database_server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """Return a store with nothing in it, not even made."""
    if request.param == "postgresql":
        return Store(request.getfixturevalue("database"))
    return Store(f"sqlite://{tmp_path}/state/catalog.sqlite")


@pytest.fixture
def catalog(store):
    """Return an empty catalog."""
    catalog = store.open()
    yield catalog
    catalog.close()


@pytest.fixture
def owner():
    """Return this process as an owner."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner

    return current_owner(run="mine.yml")


@pytest.fixture
def other():
    """Return somebody who is alive, as far as this host can know, and is not us."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.objects import Owner

    return Owner(host="elsewhere", boot_id="b", pid=1, start_time=1, user="alice", run="nightly.yml")


@pytest.fixture
def dead():
    """Return an owner who is certainly dead: a pid of this boot that was used by an older process."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner

    return dataclasses.replace(current_owner(run="killed.yml"), start_time=1)


@pytest.fixture
def project(tmp_path):
    """Return a user's project without a catalog yet."""
    return Project.make(tmp_path / "project")


@pytest.fixture
def servers(project):
    """Return the catalog of the project with two servers, a third that is not active, and a spare clone."""
    catalog = Store(project.url).open()
    with catalog.transaction() as transaction:
        put_servers(transaction)
    yield catalog
    catalog.close()


def put_servers(transaction):
    """Put a master, a deployment of three servers, and a clone that nobody uses."""
    transaction.put("master", "web-server-v2", {"function": "web-server", "version": 2, "state": "available"})
    spec = {"function": "web-server", "vars": {"ansible_user": "admin", "motto": "{{ 6 * 7 }}"}}
    transaction.put("deployment", "web", {"spec": spec})
    for number, stage in enumerate(["active", "active", "attached", "unassigned"], 1):
        clone = {"master": "web-server-v2", "provider": f"kvm-{number % 2 + 1}", "pool": "default", "stage": stage}
        used = {"machine": f"vm-{number}"} if number < 4 else {}
        transaction.put("clone", f"web-server-v2-{number}", {**clone, "metastate": "operational", **used})
        if used:
            transaction.put("machine", f"vm-{number}", describe_machine(number))


def describe_machine(number):
    """Return the record of a server's machine."""
    return {
        "provider": f"kvm-{number % 2 + 1}",
        "server": f"web-{number}",
        "deployment": "web",
        "clone": f"web-server-v2-{number}",
        "cpus": 1,
        "memory_mib": 256,
        "virt_type": "qemu",
        "nics": [{"network": "default", "mac": f"52:54:00:00:00:0{number}", "address": f"10.0.0.{number}"}],
    }

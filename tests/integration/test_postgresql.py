# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way with the catalog in PostgreSQL: one guest, two control nodes, and a server that crashes meanwhile."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import Site, make_web
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts
from tests.lab.postgresql import PASSWORD, PostgresqlServer

WEB = make_web(count=1)


class DatabaseSite(Site):
    """A site whose catalog is in a database."""

    def __init__(self, lab: LabHosts, controller: Controller, server: PostgresqlServer) -> None:
        super().__init__(lab, controller)
        self.server = server
        controller.environment["ENCOMPASS_CATALOG_URL"] = server.url
        controller.environment["PGPASSFILE"] = str(server.passwords)

    def find(self, kind: str) -> dict[str, dict[str, t.Any]]:
        """Return the catalog's records of a kind, read past all our code."""
        rows = self.server.execute(f"SELECT name, body FROM encompass.object WHERE kind = '{kind}'")
        return {name: json.loads(body) for name, body in rows}

    def dump(self) -> list[str]:
        """Return the whole catalog as text, with the transaction that wrote each row."""
        tables = self.server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'encompass' ORDER BY 1")
        kept = [name for (name,) in tables if name != "outcome"]
        return [str(row) for name in kept for row in self.server.execute(f"SELECT xmin, * FROM encompass.{name}")]

    def crash_while(self, verb: str) -> threading.Thread:
        """Crash the server once an operation of this verb runs, and start it again."""

        def crash() -> None:
            running = f"SELECT count(*) FROM encompass.operation WHERE verb = '{verb}' AND state = 'running'"
            while self.server.execute(running) == [(0,)]:
                time.sleep(0.05)
            self.server.stop()
            self.server.start()

        thread = threading.Thread(target=crash, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def server() -> t.Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        server.clear()
        yield server


@pytest.fixture
def site(mini_image: Path, tmp_path: Path, server: PostgresqlServer) -> t.Iterator[DatabaseSite]:
    with LabHosts(1) as lab:
        site = DatabaseSite(lab, Controller(tmp_path / "controller", lab=lab), server)
        site.prepare(mini_image)
        yield site


def test_a_deployment_comes_and_stays(site: DatabaseSite, tmp_path: Path) -> None:
    before = site.dump()
    assert "create web-1 on" in site.deploy(WEB, check=True).require_success().stdout
    assert site.dump() == before

    crash = site.crash_while("customize")
    site.deploy(WEB).require_success()
    crash.join(timeout=10)
    assert not crash.is_alive()
    assert site.fetch("web-1").startswith("hello from web-1")

    after = site.dump()
    other = DatabaseSite(site.lab, Controller(tmp_path / "other", lab=site.lab), site.server)
    other.controller.write("inventory/servers.catalog.yml", "plugin: encompass.images.catalog\n")
    other.controller.write("inventory/site.json", site._variables())
    assert "@function_web_server" in other.controller.command("ansible-inventory", "--graph").stdout
    assert "deployment web: nothing to do" in other.deploy(WEB).require_unchanged().stdout
    assert site.dump() == after
    assert site.orphans() == []
    assert not site.controller.catalog.exists()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert written == []

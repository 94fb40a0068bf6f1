# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may enter a database and how: TLS, passwords, grants, and what a user sees of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import StoreUnavailable
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.postgresql import PostgresqlCatalog

from tests.lab.postgresql import PASSWORD


def test_tls_proves_who_the_server_is(database, database_server):
    def connect(host):
        options = f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={database_server.certificate}"
        return PostgresqlCatalog(f"{database.replace('127.0.0.1', host)}?{options}")

    right = connect("db.example")
    assert len(right.uuid) == 36
    used = "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'encompass' AND ssl"
    assert database_server.execute(used) == [("TLSv1.3",)]
    with pytest.raises(StoreUnavailable, match=r'certificate for "db.example" does not match host name "evil.example"'):
        connect("evil.example").find("machine")


def test_a_wrong_password_is_one_sentence_without_it(database, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong canary")

    with pytest.raises(StoreUnavailable) as error:
        PostgresqlCatalog(database).find("machine")
    place = database.replace("encompass@", "")
    assert str(error.value) == (
        f'catalog {place}: password authentication failed for user "encompass". '
        "Give the role's password by a password file (PGPASSFILE, ~/.pgpass) or by PGPASSWORD."
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("/site", "/nowhere"), 'database "nowhere" does not exist. Check the names in the URL.'),
        (("127.0.0.1:", "127.0.0.1:1"), "Check that the server runs and can be reached from here."),
        (("/site", "/site?sslmod=require"), 'invalid URI query parameter: "sslmod". Use postgresql://user@host:5432/'),
    ],
)
def test_a_server_that_cannot_be_used_is_an_error_at_once(database, change, problem):
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as error:
        PostgresqlCatalog(database.replace(*change)).find("machine")
    assert problem in str(error.value)
    assert time.monotonic() - started < 5


def test_a_role_without_its_grants_is_an_error_with_a_remedy(database, database_server):
    database_server.execute("DROP SCHEMA encompass")

    with pytest.raises(StoreUnavailable, match=r"permission denied for database site\. Grant the role what the README"):
        PostgresqlCatalog(database).facts_set("h", {"a": 1})


def test_without_psycopg_the_error_names_it(database):
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog\n"
        "open_catalog(sys.argv[1]).find('machine')\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["ANSIBLE_COLLECTIONS_PATH"], *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", script, database], env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 1
    assert "psycopg 3, which is not installed on the control node. Install it there: pip install" in run.stderr


def test_facts_and_servers_come_from_the_server(project, database):
    environ = {"ANSIBLE_CACHE_PLUGIN_CONNECTION": database}
    project.play("- ansible.builtin.set_fact: {alpha: 1, cacheable: true}", **environ)
    with PostgresqlCatalog(database).transaction() as transaction:
        transaction.put("master", "web-v1", {"function": "web", "version": 1})
        transaction.put("clone", "web-v1-1", {"master": "web-v1", "stage": "active", "machine": "vm-1"})
        nics = [{"mac": "52:54:00:00:00:01", "address": "10.0.0.1"}]
        transaction.put("machine", "vm-1", {"server": "web-1", "clone": "web-v1-1", "provider": "kvm-1", "nics": nics})

    project.play(
        """
        - ansible.builtin.assert:
            that:
              - hostvars['h1'].ansible_facts.alpha == 1
              - ansible_facts.encompass.function == 'web'
              - ansible_host == '10.0.0.1'
              - lookup('encompass.images.image', 'machine') | map(attribute='name') == ['vm-1']
        """,
        hosts="function_web",
        **environ,
    )
    output = project.play("- ansible.builtin.meta: noop", PGPASSWORD="wrong canary", succeeds=False, **environ)
    assert "password authentication failed" in output
    assert "canary" not in output
    assert PASSWORD not in output

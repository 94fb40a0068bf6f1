# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server for tests: a cluster of its own on 127.0.0.1, with TLS and passwords, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import typing as t
from pathlib import Path

from tests.lab.commands import LabError, run

ROLE = "encompass"
DATABASE = "site"
PASSWORD = "canary-9182 do not print"
USER = "postgres"  # the server refuses to run as root

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}'
ssl = on
ssl_cert_file = '{directory}/server.crt'
ssl_key_file = '{directory}/server.key'
max_connections = 60
shared_buffers = 32MB
log_min_messages = warning
"""

# The socket is in a directory that only the server's user and root can enter.
_ACCESS = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""

# A pipe that its other end does not hold any more says that whoever wanted the server is gone, however that went.
_KEEPER = 'read -r _; "$@"; rm -rf "$0"'


class PostgresqlServer:
    """A server that runs while it is entered, also over ``restart``."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="encompass-postgresql-"))
        self.port = _find_free_port()
        self._tools = _find_tools()
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresqlServer:
        stop = self._words("pg_ctl", "-D", self._data, "-m", "immediate", "-s", "stop")
        words = ["sh", "-c", _KEEPER, str(self.directory), *stop]
        self._keeper = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if os.geteuid() == 0:
            shutil.chown(self.directory, USER, USER)
        self._make_certificate()
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        settings = _SETTINGS.format(port=self.port, directory=self.directory)
        with (self.directory / "data/postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(settings)
        (self.directory / "data/pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'", database="postgres")
        self.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8'", database="postgres")
        self.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        self.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {ROLE}")
        self.passwords.write_text(f"*:*:*:{ROLE}:{PASSWORD}\n", encoding="utf-8")
        self.passwords.chmod(0o600)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._keeper is not None
        self._keeper.communicate(timeout=60)

    @property
    def passwords(self) -> Path:
        """Return the file that libpq takes the role's password from, when PGPASSFILE says so."""
        return self.directory / "passwords"

    @property
    def certificate(self) -> Path:
        """Return the certificate of the server, whose name is ``db.example``; nobody else signed it."""
        return self.directory / "server.crt"

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-t", "60", "-s", "start")

    def stop(self) -> None:
        """End the server as a crash of its machine would."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-s", "stop")

    @property
    def url(self) -> str:
        """Return the URL of the catalog."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{DATABASE}"

    def clear(self) -> None:
        """Empty the database and end all sessions; the role may do there what the README grants it, and no more."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
        self.execute("DROP SCHEMA IF EXISTS encompass CASCADE")
        self.execute(f"CREATE SCHEMA encompass AUTHORIZATION {ROLE}")

    def execute(self, statement: str, *, database: str = DATABASE) -> list[tuple[t.Any, ...]]:
        """Execute a statement as the superuser, past all our code."""
        import psycopg

        conninfo = {"host": str(self.directory), "port": self.port, "user": USER, "dbname": database}
        with psycopg.connect(**conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _make_certificate(self) -> None:
        key, certificate = self.directory / "server.key", self.certificate
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-days", "2")
        name = ("-subj", "/CN=db.example", "-addext", "subjectAltName=DNS:db.example")
        run("openssl", "req", *kind, *name, "-keyout", key, "-out", certificate)
        if os.geteuid() == 0:
            shutil.chown(key, USER, USER)
        key.chmod(0o600)

    def _run(self, tool: str, *arguments: str) -> None:
        run(*self._words(tool, *arguments), timeout_s=120)

    def _words(self, tool: str, *arguments: str) -> list[str]:
        drop_root = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
        return [*drop_root, str(self._tools / tool), *arguments]


def _find_tools() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise LabError("PostgreSQL is not installed: run make venv")
    return found[-1].parent


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

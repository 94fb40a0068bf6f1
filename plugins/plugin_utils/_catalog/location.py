# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the catalog is. Private to this collection; may change without notice."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from ...module_utils._core.errors import InvalidRequest

ENVIRONMENT_VARIABLE = "ENCOMPASS_CATALOG_URL"
DEFAULT_PATH = "~/.local/state/encompass/catalog.sqlite"

_POSTGRESQL = ("postgresql", "postgres")
_SECRETS = {"password", "sslpassword", "oauth_client_secret"}
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


def resolve_url(
    explicit: str | None = None,
    environ: t.Mapping[str, str] | None = None,
    connection: str | None = None,
    project_dir: str | None = None,
) -> str:
    """Return the catalog's URL: the first of what was asked for, the environment, the cache's connection, the default.

    ``connection`` is ``fact_caching_connection`` when this collection's plugin is the fact cache, else None. A relative
    path is taken from ``project_dir``; one in the environment from the working directory.
    """
    environ = os.environ if environ is None else environ
    if not explicit and environ.get(ENVIRONMENT_VARIABLE):
        return _to_url(environ[ENVIRONMENT_VARIABLE], base=None)
    return _to_url(explicit or connection or DEFAULT_PATH, base=project_dir)


def is_postgresql(url: str) -> bool:
    """Tell whether the URL is of a database of PostgreSQL."""
    parts = _SCHEME.fullmatch(url)
    return parts is not None and parts["scheme"].lower() in _POSTGRESQL


def describe_url(url: str) -> str:
    """Return the URL as messages and records name it: without options, and without the role of a database."""
    if not is_postgresql(url):
        return url
    scheme, _colon, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def parse_sqlite_path(url: str) -> Path:
    """Return the file of a SQLite URL or plain path; raise InvalidRequest for any other scheme."""
    parts = _SCHEME.fullmatch(url)
    if parts is None:
        return Path(url).expanduser()
    if parts["scheme"].lower() != "sqlite":
        raise _unsupported(parts["scheme"])
    path = unquote(parts["rest"])
    # sqlite:///var/lib/x is absolute, and so is sqlite:////var/lib/x as some write it; sqlite:///~/x is at home.
    return Path(re.sub("^/+", "" if path.lstrip("/").startswith("~") else "/", path)).expanduser()


def _to_url(wanted: str, base: str | None) -> str:
    wanted = os.path.expandvars(wanted)
    if is_postgresql(wanted):
        return _refuse_secrets(wanted)
    path = parse_sqlite_path(wanted)
    if not path.is_absolute():
        path = Path(base or os.curdir).absolute() / path
    if not path.name:
        raise InvalidRequest("catalog", f"{wanted!r} names no file", remedy="Use sqlite:///path/of/catalog.sqlite.")
    return f"sqlite://{quote(os.path.normpath(path))}"


def _refuse_secrets(url: str) -> str:
    """Return the URL, or raise InvalidRequest when it holds a password: settings are shown, logged and inherited."""
    _scheme, _colon, rest = url.partition("://")
    # Up to the very last @, because a password that nobody quoted may hold any of the marks before it.
    options = {name for name, _value in parse_qsl(rest.partition("?")[2], keep_blank_values=True)}
    if ":" in rest.rpartition("@")[0] or options & _SECRETS:
        raise InvalidRequest(
            "catalog",
            "its URL holds a password (or an @ that is not written %40)",
            remedy="Leave it out, and give the password by a password file (PGPASSFILE, ~/.pgpass) or by PGPASSWORD.",
        )
    return url


def _unsupported(scheme: str) -> InvalidRequest:
    return InvalidRequest(
        "catalog",
        f"there is no store for {scheme}:// URLs",
        remedy="Use sqlite:///path/of/catalog.sqlite, or simply the path, or postgresql://user@host/database.",
    )

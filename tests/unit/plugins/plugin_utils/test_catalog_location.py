# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.location import (
    describe_url,
    is_postgresql,
    parse_sqlite_path,
    resolve_url,
)


def test_the_order_of_precedence():
    environ = {"ENCOMPASS_CATALOG_URL": "/from/environment"}

    assert resolve_url("/explicit", environ, "/from/connection") == "sqlite:///explicit"
    assert resolve_url(None, environ, "/from/connection") == "sqlite:///from/environment"
    assert resolve_url(None, {}, "/from/connection") == "sqlite:///from/connection"


def test_the_default_is_below_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane")

    assert resolve_url(None, {}) == "sqlite:///home/jane/.local/state/encompass/catalog.sqlite"


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert resolve_url(None, {}, "a.sqlite", "/project") == "sqlite:///project/a.sqlite"
    assert resolve_url("a.sqlite", {}, None, "/project") == "sqlite:///project/a.sqlite"
    assert resolve_url(None, {"ENCOMPASS_CATALOG_URL": "a.sqlite"}, None, "/project") == f"sqlite://{tmp_path}/a.sqlite"


@pytest.mark.parametrize("url", ["sqlite:///var/x y.sqlite", "sqlite:////var/x%20y.sqlite", "/var/./x y.sqlite"])
def test_ways_to_write_one_path(url):
    assert parse_sqlite_path(resolve_url(url, {})) == Path("/var/x y.sqlite")


def test_home_in_a_url(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane")

    assert resolve_url("sqlite:///~/c.sqlite", {}) == "sqlite:///home/jane/c.sqlite"


def test_an_unknown_scheme_is_refused_in_one_sentence():
    with pytest.raises(InvalidRequest, match=r"there is no store for redis:// URLs. Use sqlite:///"):
        resolve_url("redis://localhost", {})


def test_a_url_without_a_file_is_refused():
    with pytest.raises(InvalidRequest, match="names no file"):
        resolve_url("sqlite:///", {})


@pytest.mark.parametrize("url", ["postgresql://jane@db.example:5432/site?sslmode=verify-full", "postgres:///site"])
def test_a_url_of_a_database_stays_as_it_is(url):
    assert resolve_url(None, {"ENCOMPASS_CATALOG_URL": url}) == url
    assert is_postgresql(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://jane:canary@db.example/site",
        "postgresql://jane:@db.example/site",
        "postgresql://jane:ca#na/ry?@db.example/site",
        "postgresql://jane@db.example/site?password=canary",
        "postgresql://jane@db.example/site?sslmode=require&p%61ssword=canary",
        "POSTGRES://jane:canary@one.example,two.example/site",
        "postgresql://db.example/site?sslpassword=canary",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(url):
    with pytest.raises(InvalidRequest, match="its URL holds a password") as error:
        resolve_url(url, {})
    assert "canary" not in str(error.value)
    assert "PGPASSFILE" in error.value.remedy


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://jane@db.example:5432/site?sslmode=require", "postgresql://db.example:5432/site"),
        ("postgresql:///site", "postgresql:///site"),
        ("sqlite:///a/b?c.sqlite", "sqlite:///a/b?c.sqlite"),
    ],
)
def test_messages_name_a_catalog_without_its_options(url, words):
    assert describe_url(url) == words

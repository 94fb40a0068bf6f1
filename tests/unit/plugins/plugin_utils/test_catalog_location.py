# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.location import parse_sqlite_path, resolve_url


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
    with pytest.raises(InvalidRequest, match=r"there is no store for redis:// URLs. Supported is sqlite:///"):
        resolve_url("redis://localhost", {})


def test_a_url_without_a_file_is_refused():
    with pytest.raises(InvalidRequest, match="names no file"):
        resolve_url("sqlite:///", {})

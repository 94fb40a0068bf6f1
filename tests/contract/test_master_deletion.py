# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masters are deleted, and what others need of them stays."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._module import publishing

from tests.contract.module_process import is_unchanged, run_module
from tests.contract.pools import MIB, PoolDir, make_raw, qemu_img
from tests.contract.test_masters import publish, published, run_in_process


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Return a small raw image."""
    return make_raw(tmp_path_factory.mktemp("raw") / "source.raw", data_bytes=MIB, virtual_bytes=8 * MIB)


@pytest.fixture
def pool(tmp_path):
    """Return an empty pool."""
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


def test_two_masters_may_hold_the_same_bytes(pool, raw):
    entries = [pool.master_entry(raw, "raw", function=name) for name in ("web", "api")]
    assert not publish(*entries)["failed"]
    assert len(published(pool)) == 1
    assert publish(entries[0], state="absent")["objects"][0]["steps"][0].startswith("forget")
    assert len(published(pool)) == 1
    assert publish(entries[1], state="absent")["changed"]
    assert published(pool) == list((pool.path / "masters" / ".sources").glob("*.json")) == []
    assert is_unchanged(publish(*entries, state="absent"))


def test_a_master_whose_file_another_one_brought_keeps_it(pool, raw):
    """As on a second provider: it is registered, and its file is there although it was not imported here."""
    web = pool.master_entry(raw, "raw", function="web")
    digest = publish(web)["objects"][0]["record"]["digest"]
    api = pool.master_entry(raw, "raw", function="api", digest=digest)
    assert publish(api)["objects"][0]["steps"] == ["write down that it has the files that are there"]
    assert is_unchanged(publish(api))
    publish(web, state="absent")
    assert len(published(pool)) == 1
    publish(api, state="absent")
    assert published(pool) == []


def test_a_file_that_another_master_has_since_the_deletion_was_planned_stays(pool, raw, monkeypatch):
    web, api = (pool.master_entry(raw, "raw", function=name) for name in ("web", "api"))
    publish(web)
    hold = publishing.hold_contents

    def hold_later(*args):
        monkeypatch.setattr(publishing, "hold_contents", hold)
        assert not publish(api)["failed"]
        return hold(*args)

    monkeypatch.setattr(publishing, "hold_contents", hold_later)
    assert run_in_process(web, state="absent").error is None
    assert len(published(pool)) == 1
    assert is_unchanged(publish(api))


def test_a_master_with_overlays_is_not_deleted(pool, raw):
    entry = pool.master_entry(raw, "raw")
    record = publish(entry)["objects"][0]["record"]
    base = {key: record[key] for key in ("path", "format", "digest", "fingerprint")}
    run_module("clone", {"clones": [pool.clone_entry("web-v1-1", base)]})
    result = publish(entry, state="absent")
    assert "its file is the base of web-v1-1" in result["msg"]
    assert len(published(pool)) == 1


def test_an_unused_master_is_planned_to_go_with_clones_that_are_only_planned_to_go(pool, raw):
    """In check mode the catalog has no clones any more, but the pool has."""
    entry = pool.master_entry(raw, "raw")
    record = publish(entry)["objects"][0]["record"]
    base = {key: record[key] for key in ("path", "format", "digest", "fingerprint")}
    run_module("clone", {"clones": [pool.clone_entry("web-v1-1", base)]})
    options = {"state": "absent", "when_unused": True, "masters": [entry]}
    assert run_module("master", options, check_mode=True)["changed"]
    assert "its file is the base of web-v1-1" in run_module("master", options)["msg"]
    assert len(published(pool)) == 1


@pytest.mark.parametrize("backing", ["masters/{}", "{}/masters/{}"])
def test_a_file_that_is_no_clone_keeps_its_base_too(backing, pool, raw):
    entry = pool.master_entry(raw, "raw")
    publish(entry)
    [path] = published(pool)
    overlay = pool.path / "by hand.img"
    base = backing.format(*[pool.path, path.name][-backing.count("{}") :])
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay)
    assert f"its file is the base of {overlay}" in publish(entry, state="absent")["msg"]
    overlay.unlink()
    assert publish(entry, state="absent")["changed"]

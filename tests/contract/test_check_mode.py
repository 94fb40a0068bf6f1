# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scratch copy of check mode: the store itself is not touched. For every store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict

from tests.contract.crowd import Crowd


@pytest.fixture
def scratch(tmp_path):
    """Return the temporary directory of a run."""
    directory = tmp_path / "ansible-local-1"
    directory.mkdir(mode=0o700)
    return str(directory)


def put(catalog, name, body):
    with catalog.transaction() as transaction:
        transaction.put("clone", name, body)


def test_an_absent_store_stays_absent(store, scratch, tmp_path):
    planned = store.open(scratch_dir=scratch)
    put(planned, "c", {"stage": "planned"})
    planned.facts_set("h", {"a": 1})

    assert store.open(scratch_dir=scratch).require("clone", "c").body == {"stage": "planned"}
    assert store.dump() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["ansible-local-1"]


def test_the_store_is_not_touched(store, catalog, scratch, owner):
    put(catalog, "c", {"stage": "assigned", "machine": "m"})
    catalog.facts_set("h", {"a": 1})
    catalog.close()
    before = store.dump()
    assert before

    planned = store.open(scratch_dir=scratch)
    operation = planned.begin("attach", [("clone", "c")], owner=owner)
    planned.commit(operation.id, {("clone", "c"): {"stage": "attached"}})
    planned.facts_set("h", {"a": 2})
    planned.facts_delete("h")

    assert [row.name for row in planned.find("clone", stage="attached")] == ["c"]
    assert planned.uuid
    planned.close()
    assert store.dump() == before


def test_the_copy_is_made_once_and_shared(store, catalog, scratch):
    first = store.open(scratch_dir=scratch)
    put(first, "planned", {"stage": "planned"})
    put(catalog, "real", {"stage": "active"})

    names = [row.name for row in store.open(scratch_dir=scratch, create=False).find("clone")]
    assert names == ["planned"]


def test_workers_that_race_to_make_the_copy_share_one(store, catalog, scratch):
    put(catalog, "c", {"count": 0})

    def count_up(_number):
        mine = store.open(scratch_dir=scratch)
        for _step in range(10):
            with mine.transaction() as transaction:
                transaction.put("clone", "c", {"count": transaction.require("clone", "c").body["count"] + 1})

    Crowd(8, count_up).collect()

    assert store.open(scratch_dir=scratch).require("clone", "c").body == {"count": 80}
    assert catalog.require("clone", "c").body == {"count": 0}
    assert [path.name for path in Path(scratch).iterdir() if path.name.startswith(".")] == []


def test_a_real_lease_is_a_conflict_in_check_mode_too(store, catalog, scratch, other):
    put(catalog, "c", {"stage": "assigned"})
    catalog.begin("attach", [("clone", "c")], owner=other)

    with pytest.raises(Conflict, match="is busy: attach by alice"):
        store.open(scratch_dir=scratch).begin("attach", [("clone", "c")], owner=dataclasses.replace(other, user="bob"))

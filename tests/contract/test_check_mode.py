# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scratch copy of check mode: the store itself is not touched. For every store."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import make_seen

from tests.contract.conftest import Store
from tests.contract.crowd import Crowd
from tests.lab.commands import wait_until


@pytest.fixture
def scratch(tmp_path):
    """Return the temporary directory of a run."""
    directory = tmp_path / "ansible-local-1"
    directory.mkdir(mode=0o700)
    return str(directory)


def put(catalog, name, body, **author):
    with catalog.transaction() as transaction:
        transaction.put("clone", name, body, **author)


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


class TestWhileOthersWork:
    """A copy knows nothing of what others do meanwhile; what was made of it is not believed then."""

    AFTERWARDS = "was changed by .*(customize|delete) by alice .*, after this run had looked at it"

    @pytest.fixture
    def planned(self, store, catalog, scratch, owner):
        """Return a copy in which two clones are being attached; a third one was changed before it was made."""
        for name in ("c", "d", "e"):
            put(catalog, name, {"stage": "assigned"})
        put(catalog, "e", {"stage": "attached"})
        planned = store.open(scratch_dir=scratch)
        self.operation = planned.begin("attach", [("clone", "c"), ("clone", "d")], owner=owner)
        time.sleep(0.01)  # a store's clock may tick in milliseconds
        return planned

    def commit(self, planned):
        return planned.commit(self.operation.id, {("clone", "c"): {"stage": "attached"}})

    def test_what_somebody_changed_is_not_written(self, planned, catalog, other):
        put(catalog, "d", {"stage": "prepared"}, verb="customize", owner=other)
        with pytest.raises(Conflict, match=f"clone d: {self.AFTERWARDS}"):
            self.commit(planned)
        assert planned.require("clone", "c").body == {"stage": "assigned"}

    def test_nor_what_somebody_took_away(self, planned, catalog, other):
        with catalog.transaction() as transaction:
            transaction.delete("clone", "c", owner=other)
        with pytest.raises(Conflict, match=f"clone c: {self.AFTERWARDS}"):
            self.commit(planned)

    def test_nor_what_somebody_is_at_work_on(self, planned, catalog, other):
        catalog.begin("retire", [("clone", "c")], owner=other)
        with pytest.raises(Conflict, match="clone c: is busy: retire by alice"):
            self.commit(planned)

    def test_a_refusal_is_not_believed_either(self, planned, catalog, other):
        put(catalog, "c", {"stage": "prepared"}, verb="customize", owner=other)
        with pytest.raises(Conflict, match=f"clone c: {self.AFTERWARDS}"):
            planned.abort(self.operation.id)

    def test_what_was_there_before_or_is_not_concerned_is_no_matter(self, planned, catalog):
        put(catalog, "e", {"stage": "active"})
        put(catalog, "f", {"stage": "planned"})
        assert self.commit(planned)["clone", "c"].body == {"stage": "attached"}

    def test_nothing_is_judged_by_it(self, planned, catalog, owner, other):
        seen_at = dict.fromkeys([("clone", "e"), ("machine", "new")], planned.now() + 60)
        with planned.transaction() as transaction:
            transaction.refuse_unsettled(seen_at, owner=owner)
        put(catalog, "e", {"stage": "active"}, verb="customize", owner=other)
        with planned.transaction() as transaction, pytest.raises(Conflict, match=f"clone e: {self.AFTERWARDS}"):
            transaction.refuse_unsettled(seen_at, owner=owner)


def test_verify_reads_what_others_have_written_since_the_copy_was_made(project):
    catalog = Store(project.url).open()
    put(catalog, "c", {"stage": "planned"})
    play = project.write_play(f"""
    - encompass.images.clone_info:
    - ansible.builtin.copy:
        dest: copied
        content: now
      check_mode: false
    - ansible.builtin.wait_for:
        path: {project.path}/written
        timeout: 60
      check_mode: false
    - encompass.images.verify:
        observed: {json.dumps({"h1": make_seen()})}
        fail_on: error
    """)

    running = project.start("ansible-playbook", play, "--check")
    wait_until((project.path / "copied").exists, timeout_s=60, what="the copy")
    with catalog.transaction() as transaction:
        transaction.delete("clone", "c")
        transaction.put("function", "web-server", {"current": 3})
    (project.path / "written").touch()
    output, _none = running.communicate(timeout=60)

    assert running.returncode == 2
    assert "function web-server: its current version 3 is not there" in output
    assert "clone c" not in output

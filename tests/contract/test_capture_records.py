# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What capture makes of a module's answer, in a real catalog: a new master, a spent clone, both or none."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.action import plan_capture, prove
from ansible_collections.encompass.images.plugins.action.prove import find_problem
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.module_utils._core.lifecycle import settle_event
from ansible_collections.encompass.images.plugins.plugin_utils._actions.batch import Batch
from ansible_collections.encompass.images.plugins.plugin_utils._actions.capturing import (
    Capture,
    draft_donations,
    name_clones,
    write_drafts,
)
from ansible_collections.encompass.images.plugins.plugin_utils._actions.library import Library
from ansible_collections.encompass.images.plugins.plugin_utils._actions.verb import Request
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import Catalog

from tests.contract.module_process import is_unchanged
from tests.contract.test_action_leases import make_action
from tests.contract.test_verbs import bring_up, run
from tests.contract.test_verbs import catalog as make_catalog

NAME = "web-server-v1-1"
VOLUME = {
    **{"name": "root", "digest": "b" * 64, "format": "qcow2", "virtual_bytes": 1, "allocated_bytes": 1, "path": "/x"},
    **{"fingerprint": "1:2:3", "source": {}},
}
RECORD = {
    "volumes": [VOLUME, {**VOLUME, "name": "srv", "digest": "c" * 64}],
    **{"hardware": {}, "software": {}, "layout": {}, "source": {}, "captured": {}},
}

catalog = make_catalog


@pytest.fixture
def off(catalog: Catalog, tmp_path: Path) -> Catalog:
    """Return a catalog with a clone in maintenance that does not run."""
    bring_up(catalog)
    with catalog.transaction() as tx:
        tx.put("clone", NAME, settle_event(NAME, tx.require("clone", NAME).body, "reconfigure") or {})
    run(catalog, "activate", "inactive")
    return catalog


def begin(catalog: Catalog, name: str) -> tuple[Batch, t.Any]:
    verb = Capture(current=True)
    batch = Batch(verb, "hv1", [])
    with catalog.transaction() as tx:
        (item,), _gone = name_clones(tx, [name])
        batch.add(tx, item, Request({}, ""))
        write_drafts(tx, verb, current_owner())
        if not batch.subjects:
            return batch, None
        masters = [("master", master) for master, _draft in verb.drafts.values()]
        return batch, tx.begin("capture", [*batch.targets, *masters], owner=current_owner())


def finish(catalog: Catalog, batch: Batch, operation: t.Any, **answer: t.Any) -> None:
    bodies, errors = batch.absorb([{"name": NAME, "failed": False, "record": RECORD, **answer}])
    catalog.commit(operation.id, bodies, errors=errors)


def states(catalog: Catalog) -> tuple[str, str | None]:
    master = catalog.get("master", "web-server-v2")
    return catalog.require("clone", NAME).body["metastate"], master.body["state"] if master else None


def test_the_clone_is_spent_and_the_master_can_be_published(off: Catalog) -> None:
    batch, operation = begin(off, "web-1")
    assert states(off) == ("maintenance", "importing")
    (item,) = batch.items
    assert (item["name"], item["master"], item["pool_path"]) == (NAME, "web-server-v2", "/pool")
    finish(off, batch, operation)
    assert states(off) == ("spent", "unproven")
    master = off.require("master", "web-server-v2").body
    assert [volume["name"] for volume in master["volumes"]] == list(master["replicas"][0]["volumes"]) == ["root", "srv"]
    assert off.require("clone", NAME).body["stage"] == "attached"
    for _twice in range(2):
        with off.transaction() as tx:
            Library(tx, "hv1", current_owner()).publish("web-server-v2", "capture")
        assert states(off) == ("spent", "available")
        assert off.require("function", "web-server").body["current"] == 2


def test_a_second_capture_is_of_the_same_master(off: Catalog) -> None:
    finish(off, *begin(off, NAME))
    before = off.require("master", "web-server-v2")
    batch, operation = begin(off, NAME)
    assert batch.items[0]["master"] == "web-server-v2"
    finish(off, batch, operation)
    assert off.require("master", "web-server-v2").revision == before.revision


def test_a_failure_leaves_the_clone_in_maintenance_and_the_next_run_goes_on(off: Catalog) -> None:
    finish(off, *begin(off, NAME), failed=True, msg="disk full")
    assert states(off) == ("maintenance", "importing")
    assert off.require("clone", NAME).body["last_error"]["msg"] == "disk full"
    finish(off, *begin(off, NAME))
    assert states(off) == ("spent", "unproven")


def test_what_is_gone_but_was_captured_is_named(off: Catalog) -> None:
    finish(off, *begin(off, NAME))
    for module, state in (("attach", "detached"), ("assign", "unassigned"), ("clone", "absent")):
        assert run(off, module, state).subjects, module
    assert name_clones(off, [NAME, "web-1", "nobody"]) == (
        [{"name": "nobody"}],
        {NAME: "web-server-v2", "web-1": "web-server-v2"},
    )


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ([], "it is operational/active. Only a clone in maintenance is captured"),
        (["reconfigure"], "capture starts from unassigned or assigned or attached. Shut it down"),
    ],
)
def test_refusals_leave_no_trace(catalog: Catalog, moves: list[str], words: str) -> None:
    bring_up(catalog)
    with catalog.transaction() as tx:
        for event in moves:
            tx.put("clone", NAME, settle_event(NAME, tx.require("clone", NAME).body, event) or {})
    before = list(catalog.find("master"))
    batch, operation = begin(catalog, NAME)
    assert operation is None
    (item,) = batch.report({"objects": []})["objects"]
    assert words in item["msg"]
    assert list(catalog.find("master")) == before


def test_an_unknown_clone_is_refused(off: Catalog) -> None:
    batch, operation = begin(off, "nobody")
    assert operation is None
    assert "nobody: does not exist" in batch.report({"objects": []})["msg"]


def test_a_master_is_proved_by_servers_of_its_own_that_are_active(catalog: Catalog) -> None:
    def ask(master: str, deployment: str) -> str | None:
        with catalog.transaction() as tx:
            problem = find_problem(tx, master, deployment)
        return problem["msg"] if problem else None

    assert "it has no servers, so nothing is proved" in str(ask("web-server-v1", "nothing"))
    assert "its server did not become active, it is planned" in str(ask("web-server-v1", "web"))
    run(catalog, "clone", "present", failed=True, msg="disk full")
    assert ask("web-server-v1", "web") == "disk full"
    bring_up(catalog)
    assert ask("web-server-v1", "web") is None
    assert "its servers are of web-server-v1" in str(ask("web-server-v2", "web"))


def test_the_servers_of_a_proof_are_known_until_they_are_gone(off: Catalog) -> None:
    batch, operation = begin(off, NAME)
    finish(off, batch, operation)
    proof = {"master": "web-server-v2", "deployment": "web-server-proof"}
    spec = {"function": "web-server", "version": 2, "count": 1}
    with off.transaction() as tx:
        tx.put("master", "web-server-v2", {**tx.require("master", "web-server-v2").body, "state": "unproven"})
        tx.put("clone", "proof", {"master": "web-server-v2", "stage": "active", "machine": "proof-1"})
        tx.put("machine", "proof-1", {"clone": "proof", "deployment": "web-server-proof"})
        tx.put("deployment", "web-server-proof", {"spec": spec})
    assert make_action(prove, off, proofs=[proof]).perform()["changed"]
    assert make_action(plan_capture, off, clones=[NAME]).perform()["left"] == [{**proof, "is_there": True}]
    assert is_unchanged(make_action(prove, off, proofs=[proof], ended=True).perform())  # they are there still
    with off.transaction() as tx:
        tx.put("deployment", "web-server-proof", {"spec": {**spec, "count": 3}})
    assert make_action(plan_capture, off, clones=[NAME]).perform()["left"] == [
        {**proof, "is_there": False}
    ]  # somebody's own by now
    with off.transaction() as tx:
        tx.delete("deployment", "web-server-proof")
    assert make_action(prove, off, proofs=[proof], ended=True).perform()["changed"]
    assert make_action(plan_capture, off, clones=[NAME]).perform()["left"] == []


def test_what_is_known_already_is_not_donated_again(catalog: Catalog) -> None:
    donor = {"domain": "old", "function": "shop", "version": 1}
    with catalog.transaction() as tx:
        draft, item = draft_donations(tx, "hv1", [donor], current_owner(), current=True)["shop-v1"]
        assert (draft["state"], draft["captured_from"], item["pool_path"]) == ("importing", "domain old", "/pool")
        # Begun, and not made yet: it is done again.
        assert list(draft_donations(tx, "hv1", [donor], current_owner(), current=True)) == ["shop-v1"]
        tx.put("master", "shop-v1", {**draft, "state": "available", "volumes": [{"name": "root"}]})
        assert draft_donations(tx, "hv1", [donor], current_owner(), current=True) == {}
        host = {"ssh": "root@old", "function": "desk"}
        draft, _item = draft_donations(tx, "hv1", [host], current_owner(), current=True)["desk-v1"]
        assert draft["captured_from"] == "host root@old"
    for taken in (
        {**donor, "domain": "other"},
        {"domain": "old", "function": "web-server"},
        {"ssh": "old", "function": "shop"},
    ):
        with catalog.transaction() as tx, pytest.raises(Conflict, match="is in the catalog already"):
            draft_donations(tx, "hv1", [taken], current_owner(), current=True)

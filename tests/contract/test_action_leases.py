# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions do about the deployments that a run holds: reserved once, held on by every task, lost by takeover."""

from __future__ import annotations

import time
import types

import pytest
from ansible_collections.encompass.images.plugins.action import activate, place, settle
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    WEB,
    make_master,
    make_seen,
)

from tests.contract.crowd import TIMEOUT_S, Crowd, fork

WANTED = {"observed": {"hv1": make_seen()}, "deployments": [{**WEB, "count": 1}]}


@pytest.fixture
def catalog(catalog):
    """Return a catalog with a master and a pool to deploy from."""
    pool = {"pool": "default", "path": "/pool", "shared": False, "reflink": False, "providers": ["hv1"]}
    volumes = {"root": {"path": "/pool/masters/web", "fingerprint": "1:2:3"}}
    replica = {"provider": "hv1", "pool": "default", "volumes": volumes}
    with catalog.transaction() as tx:
        tx.put("master", "web-server-v1", make_master(replicas=[replica]))
        tx.put("pool", "hv1:default", pool)
    return catalog


def make_action(module, catalog, run="mine.yml", **options):
    """Return an action as a task would have it, without the rest of Ansible; each process is a run of its own."""
    action = module.ActionModule.__new__(module.ActionModule)
    action._task = types.SimpleNamespace(args=options, check_mode=False)
    action.catalog, action.task_vars = catalog, {"inventory_hostname": "hv1"}
    action.run_owner = lambda: current_owner(run=run)
    return action


def test_of_many_runs_that_place_a_deployment_one_reserves_it(store, catalog):
    finish, answers = fork.Event(), fork.Queue()

    def reserve(number):
        run = f"run-{number}.yml"
        try:
            answers.put((run, make_action(place, store.open(), run, **WANTED).perform()["operations"]))
        except Conflict as conflict:
            answers.put((str(conflict), []))
        finish.wait(TIMEOUT_S)  # a run that has ended would rightly be taken over

    crowd = Crowd(8, reserve)
    found = [answers.get(timeout=TIMEOUT_S) for _process in range(8)]
    finish.set()
    crowd.collect()

    ((winner, operations),) = [(text, operations) for text, operations in found if operations]
    assert all(
        f"deployment web: is busy: deploy by {current_owner().user} ({winner}, pid " in text
        for text, operations in found
        if not operations
    )
    assert [operation.id for operation in catalog.operations()] == operations
    assert [len(catalog.find(kind)) for kind in ("deployment", "machine", "clone")] == [1, 1, 1]
    assert [entry.run for entry in catalog.history("machine", "web-1")] == [winner]


def test_a_run_is_told_who_is_at_work_before_it_judges_what_that_one_is_changing(catalog, other):
    (operation,) = make_action(place, catalog, **WANTED).perform()["operations"]
    catalog.commit(operation, {})
    catalog.begin("assign", [("machine", "web-1")], owner=other)
    stranger = {"name": "web-1", "uuid": "another", "active": True}
    observed = {"hv1": {**make_seen(), "domains": [stranger]}}

    with pytest.raises(Conflict, match=f"machine web-1: is busy: assign by {other.user} "):
        make_action(place, catalog, **{**WANTED, "observed": observed}).perform()


def test_a_run_judges_nothing_by_what_it_saw_before_another_run_changed_it(catalog):
    observed = {"hv1": {**make_seen(), "asked_at": catalog.now()}, "hv2": {**make_seen(2), "asked_at": catalog.now()}}
    time.sleep(0.01)  # a store's clock may tick in milliseconds
    first = make_action(place, catalog, "first.yml", **{**WANTED, "observed": observed})
    (operation,) = first.perform()["operations"]
    catalog.commit(operation, {})

    with pytest.raises(Conflict, match=r"web: was changed by somebody else, in deploy by .*first\.yml.*, after"):
        make_action(place, catalog, **{**WANTED, "observed": observed}).perform()
    for seen in observed.values():
        seen["asked_at"] = catalog.now()
    assert make_action(place, catalog, **{**WANTED, "observed": observed}).perform()["changed"]


def test_what_was_seen_of_one_provider_gets_no_older_by_changes_on_another(catalog):
    observed = {name: {**make_seen(n), "asked_at": catalog.now()} for n, name in ((1, "hv1"), (2, "hv2"))}
    first = make_action(place, catalog, **{**WANTED, "observed": observed})
    (operation,) = first.perform()["operations"]
    catalog.commit(operation, {})
    for seen in observed.values():
        seen["asked_at"] = catalog.now()
    machine = catalog.require("machine", "web-1").body
    time.sleep(0.01)
    with catalog.transaction() as tx:
        tx.put("machine", "web-1", {**machine, "cpus": 7})

    with pytest.raises(Conflict, match="machine web-1: was changed by somebody else"):
        make_action(place, catalog, **{**WANTED, "observed": observed}).perform()
    observed[machine["provider"]]["asked_at"] = catalog.now()
    assert make_action(place, catalog, **{**WANTED, "observed": observed}).perform()["changed"]


def test_what_a_killed_run_held_is_released_with_what_it_left_to_do(catalog, dead):
    """Its volume is finished, and only the end of that is not written down; there is other work to be done."""
    wanted = {**WANTED, "deployments": [{**WEB, "count": 1, "data": [{"name": "db", "size_mib": 16}]}]}
    killed = make_action(place, catalog, **wanted)
    killed.run_owner = lambda: dead
    (outer,) = killed.perform()["operations"]
    (volume,) = catalog.find("volume")
    inner = catalog.begin("make_volume", [volume.key], owner=dead, alongside=[outer])
    with catalog.transaction() as tx:
        tx.put("volume", volume.name, {**volume.body, "stage": "available"})
    data = [{key: volume.body[key] for key in ("path", "virtual_bytes")}]
    again = make_action(place, catalog, **{**wanted, "observed": {"hv1": {**make_seen(), "data": data}}})

    (operation,) = again.perform()["operations"]

    running = catalog.operations("running")
    assert [found.id for found in running] == [operation]
    assert {outer, inner.id} <= set(running[0].recovered)
    catalog.commit(operation, {})
    assert catalog.require(*volume.key).lease is None


@pytest.mark.parametrize(
    ("module", "options"), [(activate, {}), (settle, {"expected": {}})], ids=["activate", "settle"]
)
def test_a_task_prolongs_the_lease_of_its_deployment(catalog, owner, module, options):
    operation = catalog.begin("deploy", [("master", "web-server-v1")], owner=owner, lease_s=1)

    make_action(module, catalog, operations=[operation.id], **options).perform()

    assert catalog.operations("running")[0].until > operation.until + 200


@pytest.mark.parametrize("module", [activate, settle], ids=["activate", "settle"])
def test_a_run_that_was_taken_over_does_no_more(catalog, owner, dead, module):
    operation = catalog.begin("deploy", [("master", "web-server-v1")], owner=dead)
    catalog.commit(catalog.begin("retire", [("master", "web-server-v1")], owner=owner).id, {})

    with pytest.raises(Conflict, match=f"retire by .*pid {owner.pid} .* took over"):
        make_action(module, catalog, operations=[operation.id], machines=[{"name": "web-1"}]).perform()

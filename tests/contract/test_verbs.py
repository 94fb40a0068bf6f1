# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs of the life cycle make of a module's answers, in a real catalog."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._actions.batch import Batch
from ansible_collections.encompass.images.plugins.plugin_utils._actions.snapshot import read_snapshot
from ansible_collections.encompass.images.plugins.plugin_utils._actions.verb import Request
from ansible_collections.encompass.images.plugins.plugin_utils._actions.verbs import VERBS
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import Catalog, open_catalog
from ansible_collections.encompass.images.plugins.plugin_utils._planning.ledger import FreshNames, Ledger
from ansible_collections.encompass.images.plugins.plugin_utils._planning.planner import plan_deployment
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import parse_deployment
from ansible_collections.encompass.images.plugins.plugin_utils._planning.world import ProviderView
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    DIGEST,
    WEB,
    make_master,
    make_seen,
)

SECRET = "canary-4711"
PATH = f"/pool/masters/{DIGEST}.qcow2"
IDENTITY = {"hostname": "web-1", "machine_id": "0" * 32, "random_seed_sha256": "5", "host_keys": {}}
REPORTS: dict[str, dict[str, t.Any]] = {
    "clone": {
        "directory": "/pool/clones/web-server-v1-1",
        "method": "overlay",
        "reason": "cheap",
        "volumes": [
            {
                "name": "root",
                "path": "/pool/clones/web-server-v1-1/root.qcow2",
                "format": "qcow2",
                "virtual_bytes": 1,
                "backing": {"path": PATH, "format": "qcow2", "digest": DIGEST},
            }
        ],
    },
    "assign": {"nics": [], "reserved": True},
    "customize": {"customization": {"pointer": 1, "applied": []}, "identity": IDENTITY, "seed": None},
    "attach": {"stage": "attached"},
    "activate": {"stage": "active", "answered": {"after_s": 3.0, "status": 200}},
}
UP = {"clone": "present", "assign": "assigned", "customize": "present", "attach": "attached", "activate": "active"}
DOWN = {"activate": "inactive", "attach": "detached", "assign": "unassigned", "clone": "absent"}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Return a catalog with one planned server."""
    store = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    master = make_master(
        inputs=[{"name": "token", "secret": True}],
        items=[{"name": "key", "type": "template", "path": "/etc/key", "content": "{{ token }} of {{ server_name }}"}],
        layout={"mounts": [], "batchable": True},
        replicas=[{"provider": "hv1", "pool": "default", "volumes": {"root": {"path": PATH, "fingerprint": "1:2:3"}}}],
    )
    pool = {"pool": "default", "path": "/pool", "shared": False, "reflink": False, "providers": ["hv1"]}
    with store.transaction() as tx:
        tx.put("master", "web-server-v1", master)
        tx.put("pool", "hv1:default", pool)
        fresh = FreshNames(store.uuid, tx.next_number, lambda: "00000000-0000-4000-8000-000000000000")
        ledger = Ledger(read_snapshot(tx), {"hv1": ProviderView.parse("hv1", make_seen())}, fresh)
        for key, body in plan_deployment(ledger, parse_deployment({**WEB, "count": 1}, "web")).rows.items():
            tx.put(*key, body)
    return store


def run(catalog: Catalog, module: str, state: str, *, report: dict[str, t.Any] | None = None, **result: t.Any) -> Batch:
    """Run a verb on the only server, with a module that answers ``report``."""
    verb = VERBS[(module, state)]
    batch = Batch(verb, "hv1", [])
    name = "web-1" if verb.on_machines else "web-server-v1-1"
    with catalog.transaction() as tx:
        batch.add(tx, {"name": name}, Request({"web": {"token": SECRET}}, catalog.uuid))
        if not batch.subjects:
            return batch
        operation = tx.begin(verb.event, batch.targets, owner=current_owner())
    answer = {"name": name, "failed": False, "record": REPORTS.get(verb.event, {}) if report is None else report}
    bodies, errors = batch.absorb([{**answer, **result}])
    catalog.commit(operation.id, bodies, errors=errors)
    return batch


def bring_up(catalog: Catalog) -> None:
    for module, state in UP.items():
        assert run(catalog, module, state).subjects, module


def clone_of(catalog: Catalog) -> dict[str, t.Any]:
    return catalog.require("clone", "web-server-v1-1").body


def test_a_server_goes_up_and_away(catalog: Catalog) -> None:
    bring_up(catalog)
    clone = clone_of(catalog)
    assert (clone["stage"], clone["metastate"], clone["identity"]) == ("active", "operational", IDENTITY)
    assert catalog.require("machine", "web-1").body["answered"] == {"after_s": 3.0, "status": 200}
    for module, state in DOWN.items():
        run(catalog, module, state)
    assert catalog.get("machine", "web-1") is None
    assert catalog.get("clone", "web-server-v1-1") is None


def test_modules_get_whole_records(catalog: Catalog) -> None:
    (item,) = run(catalog, "clone", "present").items
    base = {"path": PATH, "fingerprint": "1:2:3", "format": "qcow2", "digest": DIGEST}
    assert (item["directory"], item["volumes"][0]["base"]) == ("/pool/clones/web-server-v1-1", base)
    (item,) = run(catalog, "assign", "assigned").items
    assert (item["nics"][0]["address"], item["nics"][0]["hostname"]) == ("10.1.1.2", "web-1")
    (item,) = run(catalog, "customize", "present").items
    assert item["items"][0]["secret_content"] == f"{SECRET} of web-1"
    assert (item["secrets_given"], item["inputs"]) == (["token"], {})
    (item,) = run(catalog, "attach", "attached").items
    assert item["disks"][0]["backing"] == [{"path": PATH, "format": "qcow2"}]
    assert len(item["disks"][0]["serial"]) == 20


def test_a_failure_stays_where_it_was_and_says_so(catalog: Catalog) -> None:
    run(catalog, "clone", "present", failed=True, msg="disk full", remedy="Free room.")
    clone = clone_of(catalog)
    assert (clone["stage"], clone["last_error"]["msg"], clone["last_error"]["verb"]) == (
        "planned",
        "disk full",
        "clone",
    )
    run(catalog, "clone", "present")
    assert (clone_of(catalog)["stage"], clone_of(catalog)["last_error"]) == ("unassigned", None)


@pytest.mark.parametrize("module", ["attach", "activate", "customize"])
def test_the_life_cycle_is_the_only_door(catalog: Catalog, module: str) -> None:
    batch = run(catalog, module, UP[module])
    (item,) = batch.report({"objects": []})["objects"]
    assert item["failed"]
    assert "clean/planned" in item["msg"]
    assert clone_of(catalog)["stage"] == "planned"


def test_what_is_done_already_is_asked_of_the_module_again(catalog: Catalog) -> None:
    bring_up(catalog)
    for module, state in (("clone", "present"), ("attach", "attached"), ("activate", "active")):
        assert run(catalog, module, state).subjects
    assert clone_of(catalog)["stage"] == "active"


def test_within_a_larger_operation_a_failed_item_is_left_out(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.put("deployment", "web", {"members": ["web-1"]})
        outer = tx.begin("deploy", [("deployment", "web"), ("clone", "web-server-v1-1")], owner=current_owner())
    batch = Batch(VERBS[("clone", "present")], "hv1", [outer.id])
    with catalog.transaction() as tx:
        batch.add(tx, {"name": "web-server-v1-1"}, Request({}, ""))
        inner = tx.begin("clone", batch.targets, owner=current_owner(), alongside=[outer.id])
    answer = {"name": "web-server-v1-1", "failed": True, "changed": True, "msg": "no", "record": {}}
    bodies, errors = batch.absorb([answer])
    catalog.commit(inner.id, bodies, errors=errors)
    report = batch.report({"objects": [answer], "changed": True})
    assert (report["failed"], report["warnings"]) == (False, ["no"])
    later = Batch(VERBS[("clone", "present")], "hv1", [outer.id])
    with catalog.transaction() as tx:
        later.add(tx, {"name": "web-server-v1-1"}, Request({}, ""))
    assert not later.subjects
    assert later.report({"objects": []})["skipped_objects"] == ["web-server-v1-1"]


def test_another_providers_clone_is_refused(catalog: Catalog) -> None:
    batch = Batch(VERBS[("clone", "present")], "hv2", [])
    with catalog.transaction() as tx:
        batch.add(tx, {"name": "web-server-v1-1"}, Request({}, ""))
    assert "it is on hv1, not on hv2" in batch.report({"objects": []})["msg"]


def test_no_secret_is_stored(catalog: Catalog) -> None:
    bring_up(catalog)
    history = [catalog.history(kind, name) for kind, name in (("clone", "web-server-v1-1"), ("machine", "web-1"))]
    assert SECRET not in repr((catalog.find("clone"), catalog.find("machine"), history, catalog.operations()))

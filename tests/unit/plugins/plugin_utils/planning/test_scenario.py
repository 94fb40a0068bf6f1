# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is asked to plan: which objects it is about."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._planning.ledger import Snapshot
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import (
    MigrationRequest,
    ReassignRequest,
    parse_deployment,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.scenario import Scenario
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import WEB

SNAPSHOT = Snapshot(
    masters={},
    clones={
        "web-clone": {"machine": "web-1", "provider": "hv1"},
        "standby": {"machine": "web-1", "provider": "hv1"},
        "free": {"machine": None, "provider": "hv1"},
    },
    machines={
        "web-1": {"deployment": "web", "provider": "hv1"},
        "db-1": {"deployment": "db", "provider": "hv2"},
        "spare": {"deployment": None, "provider": "hv1"},
    },
    deployments={"web": {}, "db": {}},
    volumes={"web-1.data": {"deployment": "web", "provider": "hv1"}},
)
WEB_KEYS = {
    ("deployment", "web"): "",
    ("machine", "web-1"): "hv1",
    ("clone", "web-clone"): "hv1",
    ("clone", "standby"): "hv1",
    ("volume", "web-1.data"): "hv1",
}
DB_KEYS = {("deployment", "db"): "", ("machine", "db-1"): "hv2"}
DECLARED = [parse_deployment(WEB, "web")]


@pytest.mark.parametrize(
    ("asked", "concerned"),
    [
        ({"deployments": DECLARED}, WEB_KEYS),
        ({"deployments": DECLARED, "update": True}, WEB_KEYS),
        ({"deployments": DECLARED, "migrate": [MigrationRequest(deployment="db")]}, DB_KEYS),
        ({"migrate": [MigrationRequest(machines=("web-1", "unknown"))]}, WEB_KEYS),
        ({"reassign": [ReassignRequest(function="night", machines=("spare", "db-1"))]}, DB_KEYS),
        ({"restore": {"web-1": "standby"}}, WEB_KEYS),
        ({"rollback": ["db"]}, DB_KEYS),
        ({"retire": ["db", "gone"]}, {**DB_KEYS, ("deployment", "gone"): ""}),
    ],
    ids=["deploy", "update", "migrate all", "migrate", "reassign", "restore", "rollback", "retire"],
)
def test_a_run_is_about_its_deployments_and_all_that_is_theirs(
    asked: dict[str, t.Any], concerned: dict[tuple[str, str], str]
) -> None:
    found = Scenario(**asked).list_concerned(SNAPSHOT)
    assert found == concerned
    kinds = [kind for kind, _name in found]
    assert kinds.index("machine") == kinds.count("deployment"), "who is told of its deployment need not hear of more"

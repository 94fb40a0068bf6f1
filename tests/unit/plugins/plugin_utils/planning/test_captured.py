# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a master that is captured: its name, what it inherits, and by what it proves itself."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._planning.captured import (
    choose_master,
    complete_master,
    draft_donation,
    draft_master,
    plan_proof,
    select_donors,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.masters import require_master
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import parse_deployment
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import make_master

PARENT = make_master(items=[{"name": "page"}], inputs=[{"name": "greeting"}])
CLONE = {"master": "web-server-v1", "pool": "default", "volumes": [{"name": "root"}]}
PLACE = {"provider": "hv1", "pool": "default"}
VOLUME = {
    "name": "root",
    "digest": "b" * 64,
    "format": "qcow2",
    "virtual_bytes": 1,
    "allocated_bytes": 1,
    "path": "/pool/x",
    "fingerprint": "1:2:3",
    "source": {"path": "clone c"},
}
SECOND = {**VOLUME, "name": "srv", "digest": "c" * 64, "path": "/pool/y"}
RECORD = {
    "volumes": [VOLUME, SECOND],
    "hardware": PARENT["hardware"],
    "software": {"distro": "debian"},
    "layout": {"mounts": []},
    "source": {"path": "clone c"},
    "captured": {"secrets": []},
}


def draft() -> dict[str, t.Any]:
    return draft_master("c", CLONE, PARENT, server="web-1", version=2, current=True)


@pytest.mark.parametrize(
    ("masters", "name"),
    [
        ({"web-server-v1": PARENT}, "web-server-v2"),
        ({"web-server-v1": PARENT, "web-server-v7": make_master(version=7, state="deprecated")}, "web-server-v8"),
        ({"web-server-v1": PARENT, "other-v9": make_master(function="other", version=9)}, "web-server-v2"),
        # Begun by a run that was killed, or done by an earlier one.
        ({"web-server-v1": PARENT, "web-server-v2": draft(), "web-server-v3": make_master(version=3)}, "web-server-v2"),
    ],
)
def test_a_clone_becomes_the_next_version_or_the_one_it_began(masters: dict[str, t.Any], name: str) -> None:
    assert choose_master("c", PARENT, masters, {}) == name


def test_it_inherits_from_its_parent() -> None:
    body = complete_master(draft(), RECORD, **PLACE)
    told = (body["state"], body["version"], body["parent"], body["captured_from"])
    assert told == ("unproven", 2, "web-server-v1", "c")
    assert (body["items"], body["inputs"], body["captured"]) == (PARENT["items"], PARENT["inputs"], {"secrets": []})
    assert [volume["digest"] for volume in body["volumes"]] == ["b" * 64, "c" * 64]
    (replica,) = body["replicas"]
    assert replica == {
        "provider": "hv1",
        "pool": "default",
        "volumes": {
            "root": {"path": "/pool/x", "fingerprint": "1:2:3"},
            "srv": {"path": "/pool/y", "fingerprint": "1:2:3"},
        },
    }
    assert complete_master(body, RECORD, **PLACE) == body
    for other in ([VOLUME], [SECOND, VOLUME], [VOLUME, {**SECOND, "digest": "d" * 64}]):
        with pytest.raises(Conflict, match="another content"):
            complete_master(body, {**RECORD, "volumes": other}, **PLACE)


def test_an_unproven_master_is_had_by_its_number_alone() -> None:
    body = complete_master(draft(), RECORD, **PLACE)
    masters = {"web-server-v1": PARENT, "web-server-v2": body}
    request = parse_deployment({"name": "web", "function": "web-server"}, "web")
    assert require_master(request, masters, {}) == "web-server-v1"
    assert require_master(dataclasses.replace(request, version=2), masters, {}) == "web-server-v2"
    with pytest.raises(InvalidRequest):
        require_master(dataclasses.replace(request, version=3), masters, {})


def test_a_proof_is_asked_for_what_the_maintenance_was_asked_for() -> None:
    declared = {"name": "m", "function": "Web_Server", "memory_mib": 96, "ready": {"port": 80}, "inputs": {"a": 1}}
    request = parse_deployment({**declared, "networks": [{"name": "n", "addresses": ["10.0.0.9"]}]}, "m")
    master = {"function": "Web_Server", "version": 2}
    proof = plan_proof(master, dataclasses.asdict(request), {"inputs": {"a": 2}, "count": 5})
    assert proof["networks"] == ["n"]
    assert (proof["name"], proof["count"], proof["version"], proof["inputs"]) == ("web-server-proof", 1, 2, {"a": 2})
    parsed = parse_deployment(proof, "proof")
    assert (parsed.memory_mib, parsed.ready and parsed.ready.port) == (96, 80)


def test_without_a_deployment_the_proof_is_asked_for_its_function_alone() -> None:
    proof = plan_proof({"function": "web", "version": 3}, {}, {})
    assert parse_deployment(proof, "proof").servers == ["web-proof-1"]


def test_a_provider_takes_its_own_donors_and_those_of_nobody() -> None:
    donors = [{"ssh": "a", "provider": "hv1"}, {"ssh": "b", "provider": "hv2"}, {"domain": "c"}]
    assert select_donors(donors, "hv1") == [{"ssh": "a"}, {"domain": "c"}]


@pytest.mark.parametrize(
    "donor",
    [{"function": "shop"}, {"ssh": "a"}, {"ssh": "a", "domain": "b", "function": "shop"}, {"ssh": "a", "version": "x"}],
)
def test_a_donor_has_one_name_and_a_function(donor: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidRequest, match="Give domain or ssh, function, version"):
        draft_donation(donor, current=True)

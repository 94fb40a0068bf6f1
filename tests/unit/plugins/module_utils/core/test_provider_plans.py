# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of attach, activate, assign, network and pool: one data file per case under data/plans."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core import errors
from ansible_collections.encompass.images.plugins.module_utils._core.activation import (
    ActivationSeen,
    Answer,
    diff_activation,
    plan_activation,
    read_activation,
    report_activation,
)
from ansible_collections.encompass.images.plugins.module_utils._core.addressing import (
    diff_assignment,
    plan_assignment,
    read_assignment,
    report_assignment,
)
from ansible_collections.encompass.images.plugins.module_utils._core.attachment import (
    AttachmentSeen,
    diff_attachment,
    find_users,
    index_disks,
    plan_attachment,
    read_attachment,
    report_attachment,
)
from ansible_collections.encompass.images.plugins.module_utils._core.domain import Domain, read_domain
from ansible_collections.encompass.images.plugins.module_utils._core.network import Network, Reservation, read_network
from ansible_collections.encompass.images.plugins.module_utils._core.networking import (
    DefineNetwork,
    NetworkRequest,
    diff_network,
    plan_network,
    report_network,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import LAYOUT
from ansible_collections.encompass.images.plugins.module_utils._core.pooling import (
    PoolPlaceSeen,
    diff_pool,
    plan_pool,
    read_pool,
    report_pool,
)
from ansible_collections.encompass.images.plugins.module_utils._core.provider import (
    DomainSeen,
    NetworkSeen,
    PoolSeen,
    Power,
    PowerSeen,
)
from ansible_collections.encompass.images.plugins.module_utils._core.steps import Step
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.golden import list_cases, read_case

Case = dict[str, t.Any]
Planned = tuple[t.Sequence[Step], dict[str, t.Any], t.Any]


def plan_attach(case: Case) -> Planned:
    """Plan for the golden machine; ``there`` and the others are that machine with changes."""
    base = read_case("domain_xml", "plain")
    item = read_attachment(case["state"], {**base, **case.get("options", {})})
    told = case["seen"]
    there = see_domain(base, told["there"]) if "there" in told else None
    others = [read_domain({**base, **changes}) for changes in told.get("others", ())]
    batch = [read_domain({**base, **changes}) for changes in told.get("wanted_too", ())]
    users: dict[str, tuple[str, ...]] = {}
    if item.domain is not None:
        links = told.get("links", {})
        everybody = [*others, *batch, *([there.domain] if there else [])]
        index = index_disks(everybody, lambda path: links.get(path, path))
        users = find_users(item.domain, index, lambda path: links.get(path, path))
    holder = next((other.name for other in others if other.uuid == item.uuid), "")
    seen = AttachmentSeen(there, users, holder)
    return plan_attachment(item, seen), report_attachment(item, seen), diff_attachment(item, seen)


def see_domain(base: Case, told: Case) -> DomainSeen:
    domain: Domain = read_domain({**base, **told.get("options", {})})
    if told.get("foreign"):
        domain = dataclasses.replace(domain, owner=None)
    return DomainSeen(domain, active=told.get("active", False), persistent=told.get("persistent", True))


def plan_activate(case: Case) -> Planned:
    item = read_activation(case["state"], case["options"])
    told = case["seen"]
    machine = None
    if "power" in told:
        machine = PowerSeen(told.get("uuid", "u1"), Power(told["power"]), told.get("reason", ""))
    answer = Answer(0.0, told["answered"]) if "answered" in told else None
    seen = ActivationSeen(machine, answer, told.get("stopped", ""))
    return plan_activation(item, seen), report_activation(item, seen), diff_activation(item, seen)


def plan_assign(case: Case) -> Planned:
    item = read_assignment(case["state"], case["options"], release=case.get("release", False))
    steps = plan_assignment(item, {name: see_network(told) for name, told in case["seen"].items()})
    return steps, report_assignment(item), diff_assignment(steps)


def see_network(told: Case) -> NetworkSeen:
    network = Network("front", "bridge") if told.get("bridged") else read_network(told["options"])
    reservations = tuple(Reservation(*entry) for entry in told.get("reservations", ()))
    return NetworkSeen(
        dataclasses.replace(network, reservations=reservations),
        partial=tuple(Reservation(*entry) for entry in told.get("partial", ())),
        active=told.get("active", True),
        autostart=told.get("autostart", True),
        used_by=tuple(told.get("used_by", ())),
        running=tuple(told.get("running", ())),
    )


def plan_networks(case: Case) -> Planned:
    present = case["state"] == "present"
    item = NetworkRequest(case["options"]["name"], read_network(case["options"]) if present else None)
    seen = see_network(case["seen"]) if case["seen"] is not None else None
    steps = plan_network(item, seen)
    for step in steps:
        if isinstance(step, DefineNetwork):
            check_definition(step.network, case.get("defined", {}))
    return steps, report_network(item, seen), diff_network(item, seen)


def check_definition(network: Network, wanted: Case) -> None:
    told = dataclasses.asdict(network)
    told["reservations"] = [list(entry.values()) for entry in told["reservations"]]
    told["dhcp_range"] = list(told["dhcp_range"])
    assert {key: told[key] for key in wanted} == wanted


def plan_pools(case: Case) -> Planned:
    item = read_pool(case["options"])
    told = case["seen"]
    modes = {item.path + below: told.get("modes", {}).get(item.path + below) for below in LAYOUT}
    seen = PoolPlaceSeen(
        PoolSeen(**told["pool"]) if "pool" in told else None,
        {path: None if mode is None else int(mode, 8) for path, mode in modes.items()},
        told.get("neighbour", ""),
    )
    return plan_pool(item, seen), report_pool(item), diff_pool(item, seen)


PLANNERS: dict[str, t.Callable[[Case], Planned]] = {
    "attach": plan_attach,
    "activate": plan_activate,
    "assign": plan_assign,
    "network": plan_networks,
    "pool": plan_pools,
}


@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb in PLANNERS for name in list_cases(f"plans/{verb}")])
def test_plan(verb: str, name: str) -> None:
    case = read_case(f"plans/{verb}", name)
    if "error" in case:
        with pytest.raises(errors.EncompassError) as caught:
            PLANNERS[verb](case)
        assert type(caught.value).__name__ == case["error"]["kind"]
        assert case["error"]["says"] in str(caught.value)
        return
    steps, record, diff = PLANNERS[verb](case)
    assert [step.describe() for step in steps] == case["steps"]
    assert {**record, **case.get("record", {})} == record
    json.dumps(diff)


@pytest.mark.parametrize("verb", PLANNERS)
def test_every_kind_of_step_is_planned_somewhere(verb: str) -> None:
    cases = [read_case(f"plans/{verb}", name) for name in list_cases(f"plans/{verb}")]
    planned = {type(step).__name__ for case in cases if "steps" in case for step in PLANNERS[verb](case)[0]}
    assert (
        planned
        == {
            "attach": {"DefineDomain", "UndefineDomain"},
            "activate": {"StartDomain", "ResumeDomain", "AwaitAnswer", "StopDomain", "PowerOffDomain"},
            "assign": {"ReserveAddress", "ReleaseAddress"},
            "network": {"DefineNetwork", "StartNetwork", "StopNetwork", "UndefineNetwork"},
            "pool": {"MakeDirectory", "DefinePool", "StartPool"},
        }[verb]
    )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans by which machines come to serve other clones: update, rollback, reassignment."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.plugin_utils._planning.plans import (
    DeploymentPlan,
    arrange_stages,
    batch_by_provider,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import parse_reassignments
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    World,
    make_master,
)

PREPARE = ("clone", "assign", "customize")
SWITCH = ("deactivate", "attach", "activate")
SWITCH_ALL = ("deactivate", *PREPARE, "attach", "activate")


@pytest.fixture
def world() -> World:
    """Return a world in which two servers run version 1, version 2 is there, and another function too."""
    world = World()
    world.deploy()
    world.rows.masters["web-server-v2"] = make_master(version=2)
    world.rows.masters["batch-v1"] = make_master(function="batch")
    return world


def actions(plan: DeploymentPlan) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {member.server: (member.action, member.verbs) for member in plan.members}


def served(world: World) -> dict[str, str]:
    return {name: machine["clone"] for name, machine in world.rows.machines.items()}


def update(world: World, *waves: t.Any, **changes: t.Any) -> DeploymentPlan:
    return world.carry_out(world.plan_update(*waves, **changes))


def reassign(world: World, **request: t.Any) -> DeploymentPlan:
    return world.plan_scenario(reassign=parse_reassignments([request]))


def test_an_update_prepares_everything_and_then_switches_wave_by_wave(world: World) -> None:
    world.deploy(count=3, version=1)
    before = served(world)
    plan = world.plan_update(1, 1.0)
    assert actions(plan) == {f"web-{n}": ("update", SWITCH_ALL) for n in (1, 2, 3)}
    assert {member.machine: member.served for member in plan.members} == before
    prepare, canary, rest = arrange_stages([plan], halting=True)
    assert {verb for work in prepare.work.values() for verb in work} == set(PREPARE)
    assert set(prepare.expected.values()) == {"assigned"}
    assert len(prepare.expected) == 3
    provider = world.rows.machines["web-1"]["provider"]
    successor = plan.members[0].clone
    assert canary.work == {
        provider: {
            "deactivate": [{"name": "web-1", "clone": before["web-1"]}],
            "attach": [{"name": "web-1", "clone": successor}],
            "activate": [{"name": "web-1", "clone": successor}],
        }
    }
    assert canary.expected == {successor: "active"}
    assert len(rest.expected) == 2


def test_machines_addresses_and_names_stay(world: World) -> None:
    machines = {name: machine["nics"] for name, machine in world.rows.machines.items()}
    update(world)
    assert {name: machine["nics"] for name, machine in world.rows.machines.items()} == machines
    assert {world.rows.clones[clone]["master"] for clone in served(world).values()} == {"web-server-v2"}


def test_a_second_update_is_settled(world: World) -> None:
    update(world)
    plan = world.plan_update()
    assert plan.settled
    assert not plan.waves


def test_rollback_takes_the_old_clones_and_copies_nothing(world: World) -> None:
    before = served(world)
    update(world)
    after = served(world)
    plan = world.plan_scenario(rollback=["web"])
    assert actions(plan) == {"web-1": ("return", SWITCH), "web-2": ("return", SWITCH)}
    world.carry_out(plan)
    assert served(world) == before
    assert world.plan_scenario(rollback=["web"]).settled
    again = world.plan_update()
    assert actions(again) == {"web-1": ("update", SWITCH), "web-2": ("update", SWITCH)}
    assert {member.machine: member.clone for member in again.members} == after


def test_a_halted_update_can_go_on_or_back(world: World) -> None:
    before = served(world)
    world.carry_out(world.plan_update(1), only=["web-1"])
    onward = world.plan_update(1)
    assert actions(onward) == {"web-1": ("keep", ()), "web-2": ("update", SWITCH)}
    back = world.plan_scenario(rollback=["web"])
    assert actions(back) == {"web-1": ("return", SWITCH), "web-2": ("keep", ())}
    world.carry_out(onward)
    world.carry_out(world.plan_scenario(rollback=["web"]))
    assert served(world) == before


def test_old_clones_go_when_they_are_no_longer_needed(world: World) -> None:
    first = served(world)
    update(world)
    second = served(world)
    world.rows.masters["web-server-v3"] = make_master(version=3)
    plan = update(world)
    assert {member.machine: member.spares for member in plan.members} == {
        machine: (clone,) for machine, clone in first.items()
    }
    assert all(clone in world.rows.clones for clone in second.values())
    assert world.plan_update(standby=2).members[0].spares == ()


def test_retiring_takes_what_is_on_standby_too(world: World) -> None:
    old = served(world)
    update(world)
    plan = world.retire()
    assert {member.machine: member.spares for member in plan.members} == {name: (old[name],) for name in old}
    assert {("clone", clone) for clone in old.values()} <= set(plan.targets)


def test_a_server_that_is_down_is_switched_without_a_stop(world: World) -> None:
    world.domain("web-1")["active"] = False
    verbs = actions(world.plan_update())["web-1"][1]
    assert "deactivate" not in verbs
    assert verbs[-2:] == ("attach", "activate")


def test_a_size_that_changed_comes_with_the_update(world: World) -> None:
    plan = world.plan_update(memory_mib=512)
    assert "memory_mib 256 -> 512" in plan.members[0].reasons
    assert plan.rows[("machine", "web-1")]["memory_mib"] == 512


def test_a_deployment_that_follows_its_pin_stays(world: World) -> None:
    assert actions(world.plan_update(version=1)) == {"web-1": ("keep", ()), "web-2": ("keep", ())}


def test_night_falls_and_day_breaks(world: World) -> None:
    day = served(world)
    plan = reassign(world, machines=["web-1"], function="batch")
    assert actions(plan) == {"web-1": ("reassign", SWITCH_ALL)}
    world.carry_out(plan)
    assert world.plan_scenario(reassign=parse_reassignments([{"machines": ["web-1"], "function": "batch"}])).settled
    kept = world.plan()
    assert actions(kept) == {"web-1": ("keep", ()), "web-2": ("keep", ())}
    assert "serves batch-v1" in kept.members[0].reasons[0]
    assert actions(world.plan_update())["web-1"] == ("keep", ())
    back = reassign(world, deployment="web", function="web-server")
    assert actions(back) == {"web-1": ("reassign", SWITCH), "web-2": ("keep", ())}
    world.carry_out(back)
    assert served(world) == day


def test_a_machine_whose_new_server_does_not_come_up_goes_back(world: World) -> None:
    day = served(world)
    plan = world.carry_out(reassign(world, deployment="web", function="batch"), only=["web-2"])
    world.rows.clones[served(world)["web-2"]]["stage"] = "attached"
    world.domain("web-2")["active"] = False
    back = world.plan_scenario(restore={member.machine: member.served for member in plan.members})
    assert actions(back) == {"web-1": ("keep", ()), "web-2": ("return", ("attach", "activate"))}
    world.carry_out(back)
    assert served(world) == day


def test_a_run_killed_while_it_switched_starts_no_clone_on_the_volumes_of_another(world: World) -> None:
    served_before = served(world)["web-1"]
    world.carry_out(world.plan_update(1), only=["nobody"])
    world.rows.clones[served_before]["stage"] = "attached"
    world.domain("web-1").update(active=False, machine_metadata={"clone": "web-server-v2-3"})
    plan = world.plan()
    assert actions(plan)["web-1"] == ("repair", ("attach", "activate"))
    assert "its domain is defined for clone web-server-v2-3" in plan.members[0].reasons


@pytest.mark.parametrize("active", [False, True])
def test_a_domain_that_a_killed_run_defined_goes_with_its_server(world: World, active: bool) -> None:
    world.rows.clones[served(world)["web-1"]]["stage"] = "assigned"
    world.domain("web-1").update(active=active, machine_metadata={"clone": "web-server-v2-3"})
    verbs = actions(world.retire())["web-1"][1]
    assert verbs[: 2 if active else 1] == (("deactivate", "detach") if active else ("detach",))


def test_deploy_leaves_a_server_in_maintenance_alone_and_replaces_a_spent_one(world: World) -> None:
    clone = served(world)["web-1"]
    world.rows.clones[clone]["metastate"] = "maintenance"
    assert actions(world.plan(inputs={}, memory_mib=512))["web-1"] == ("keep", ())
    world.rows.clones[clone].update(metastate="spent", stage="attached")
    world.domain("web-1")["active"] = False
    plan = world.plan(version=1)
    assert actions(plan)["web-1"] == ("repair", (*PREPARE, "attach", "activate"))
    member = plan.members[0]
    work = batch_by_provider([plan])[member.provider]
    assert work["attach"] == work["assign"] == [{"name": "web-1", "clone": member.clone}]
    assert member.served == clone != member.clone
    world.carry_out(plan)
    assert clone in world.plan_update().members[0].spares


REFUSED = {
    "unknown deployment": ({"rollback": ["blue"]}, "no deployment of this name (it has web)"),
    "never updated": ({"rollback": ["web"]}, "never updated"),
    "unknown machine": ([{"machines": ["web-9"], "function": "batch"}], "no deployment has a machine of this name"),
    "unknown function": ([{"machines": ["web-1"], "function": "nothing"}], "no master serves the function nothing"),
    "unknown version": ([{"machines": ["web-1"], "function": "batch", "version": 7}], "has no version 7"),
    "no machine": ([{"function": "batch"}], "either machines or a deployment"),
    "machine and deployment": (
        [{"function": "batch", "machines": ["web-1"], "deployment": "web"}],
        "either machines or a deployment",
    ),
    "twice": ([{"function": "batch", "machines": ["web-1", "web-1"]}], "reassigned twice at once"),
    "unknown input": ([{"function": "batch", "machines": ["web-1"], "inputs": {"x": 1}}], "takes no input x"),
}


@pytest.mark.parametrize(("scenario", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_is_refused_with_the_reason(world: World, scenario: t.Any, message: str) -> None:
    with pytest.raises(EncompassError) as refused:
        world.plan_scenario(**(scenario if isinstance(scenario, dict) else {"reassign": parse_reassignments(scenario)}))
    assert message in str(refused.value)


def test_a_provider_without_the_new_master_is_named(world: World) -> None:
    world.rows.masters["web-server-v2"]["volumes"][0]["digest"] = "b" * 64
    with pytest.raises(EncompassError, match=r"hv1 has no copy of web-server-v2 in pool default.*add_master"):
        world.plan_update()


def test_a_standby_clone_that_is_lost_is_named(world: World) -> None:
    update(world)
    world.seen["hv1"]["volumes"] = []
    with pytest.raises(EncompassError, match="has lost its volume"):
        world.plan_scenario(rollback=["web"])


@pytest.mark.parametrize("what", ["update", "rollback", "reassign"])
def test_servers_in_a_pool_that_cannot_be_used_are_left_alone(world: World, what: str) -> None:
    update(world)
    world.spoil_pool("hv1")
    plans = {
        "update": world.plan_update,
        "rollback": lambda: world.plan_scenario(rollback=["web"]),
        "reassign": lambda: reassign(world, machines=["web-1"], function="batch"),
    }
    (web,) = (member for member in plans[what]().members if member.server == "web-1")
    assert (web.action, web.verbs) == ("refuse", ())
    assert "its pool default of hv1 cannot be used" in web.reasons[0]


def test_a_standby_clone_in_a_pool_that_cannot_be_used_is_not_made_anew(world: World) -> None:
    update(world)
    waiting = next(name for name, body in world.rows.clones.items() if body["master"] == "web-server-v1")
    world.rows.clones[waiting]["pool"] = "slow"
    world.seen["hv1"]["volumes"] = [one for one in world.seen["hv1"]["volumes"] if waiting not in one["path"]]
    with pytest.raises(EncompassError, match=f"{waiting}, which it would go back to, cannot be seen: its pool slow"):
        world.plan_scenario(rollback=["web"])
    with pytest.raises(EncompassError, match=f"clone {waiting}: its pool slow of hv1 cannot be used"):
        world.plan_update(version=1)


def test_a_server_in_maintenance_is_left_alone(world: World) -> None:
    world.rows.clones[served(world)["web-1"]]["metastate"] = "maintenance"
    with pytest.raises(EncompassError, match="is in maintenance"):
        world.plan_update()

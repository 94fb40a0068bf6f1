# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans by which machines go to other providers, and what is made of a migration that was cut off."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.plugin_utils._planning.plans import (
    DeploymentPlan,
    MemberPlan,
    arrange_stages,
    batch_by_provider,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import (
    parse_deployment,
    parse_migrations,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.scenario import Scenario
from ansible_collections.encompass.images.plugins.plugin_utils._planning.whereabouts import move_clone, move_machine
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    WEB,
    World,
    make_master,
)

BRING_UP = ("assign", "attach", "activate")
CARRIED = ("deactivate", "detach", "send", "receive", *BRING_UP)
FOLLOWED = ("deactivate", "detach", "receive", *BRING_UP)


@pytest.fixture
def world() -> World:
    """Return a world of two providers with a network in common, and a server on the first."""
    world = World()
    for number, seen in enumerate(world.seen.values(), 1):
        others = [f"10.1.0.{other}" for other in (1, 2) if other != number]
        seen["networks"][0].update(subnet="10.1.0.0/24", gateway=f"10.1.0.{number}", spans=True, reaches=others)
        seen["provider"].update(versions={"qemu": "7.2.9"}, cpu_model="Nehalem", cpu_features=["vmx"])
    names = ("hv1", "hv2")
    world.rows.providers.update({name: {"networks": copy.deepcopy(world.seen[name]["networks"])} for name in names})
    world.deploy(count=1)
    assert world.rows.machines["web-1"]["provider"] == "hv1"
    return world


def share(world: World, *clones: str) -> None:
    """Have both providers see the volumes of all clones in one pool."""
    paths = [f"/pool/clones/{name}/root.qcow2" for name in clones or world.rows.clones]
    for seen in world.seen.values():
        seen["pools"][0]["shared"] = True
        seen["volumes"] = [{"path": path} for path in paths]


def migrate(world: World, **request: t.Any) -> DeploymentPlan:
    asked = {"machines": ["web-1"], **request}
    return world.plan_scenario(migrate=parse_migrations([asked]))


def redeploy(world: World) -> DeploymentPlan:
    return world.plan_scenario(deployments=[parse_deployment({**WEB, "count": 1}, "web")])


def only_member(plan: DeploymentPlan) -> MemberPlan:
    (member,) = plan.members
    return member


def arrive(world: World, to: str = "hv2") -> None:
    """Let the domain be at a provider, and the record say that it went there."""
    source = world.rows.machines["web-1"]["provider"]
    domain = world.domain("web-1")
    for seen in world.seen.values():
        seen["domains"] = [found for found in seen["domains"] if found["name"] != "web-1"]
    world.seen[to]["domains"].append(domain)
    world.seen[to]["volumes"] = copy.deepcopy(world.seen[source]["volumes"])


def reserve(world: World) -> None:
    for row, body in migrate(world).rows.items():
        getattr(world.rows, f"{row[0]}s")[row[1]] = body


def test_a_running_server_goes_on_running(world: World) -> None:
    plan = migrate(world)
    member = only_member(plan)
    assert (member.action, member.provider, member.to) == ("migrate", "hv1", "hv2")
    assert member.verbs == ("send", "receive", "migrate", "assign", "activate")
    assert member.vacates == ("hv1",)
    assert "it goes on running" in member.reasons
    assert plan.rows[("machine", "web-1")]["also_on"] == ["hv2"]
    assert plan.rows[("machine", "web-1")]["provider"] == "hv1"
    stages = arrange_stages([plan], halting=False)
    assert [(stage.title, {name: list(work) for name, work in stage.work.items()}) for stage in stages] == [
        ("stop and send", {"hv1": ["send"]}),
        ("receive and bring up", {"hv2": ["receive"]}),
        ("migrate", {"hv1": ["migrate"]}),
        ("prove", {"hv2": ["assign", "activate"]}),
        ("leave", {"hv1": ["vacate"]}),
    ]
    assert not any(stage.halts for stage in stages)


def test_shared_volumes_are_not_copied(world: World) -> None:
    share(world)
    member = only_member(migrate(world))
    assert member.verbs == ("migrate", "assign", "activate")
    assert member.estimated_bytes == 0
    assert only_member(migrate(world, live=False)).verbs == FOLLOWED


def test_a_server_that_is_to_be_stopped_is(world: World) -> None:
    plan = migrate(world, live=False)
    assert only_member(plan).verbs == CARRIED
    stop, bring_up, leave = arrange_stages([plan], halting=False)
    assert list(stop.work["hv1"]) == ["deactivate", "detach", "send"]
    assert list(bring_up.work["hv2"]) == ["receive", *BRING_UP]
    assert leave.work == {"hv1": {"vacate": [{"name": "web-1"}]}}


@pytest.mark.parametrize(
    ("stage", "verbs"), [("assigned", ("attach", "activate")), ("attached", ("activate",)), ("active", ())]
)
def test_a_run_after_one_that_was_killed_behind_the_move_finishes_it(
    world: World, stage: str, verbs: tuple[str, ...]
) -> None:
    reserve(world)
    arrive(world)
    world.carry_out(redeploy(world))
    world.seen["hv2"]["networks"][0]["dhcp_hosts"].clear()
    clone = world.rows.machines["web-1"]["clone"]
    world.rows.clones[clone]["stage"] = stage
    world.domain("web-1")["active"] = stage == "active"
    if stage == "assigned":
        world.seen["hv2"]["domains"] = []
    member = only_member(migrate(world, to="hv2"))
    assert (member.action, member.verbs) == ("repair", ("assign", *verbs))
    assert (member.to, member.vacates) == ("hv2", ("hv1",))
    assert "its address is not reserved on its network" in member.reasons


def test_a_server_that_was_never_brought_up_does_not_move(world: World) -> None:
    world.rows.clones[world.rows.machines["web-1"]["clone"]].update(stage="assigned", customization=None)
    world.seen["hv1"]["domains"] = []
    for to in ("hv1", "hv2"):
        with pytest.raises(EncompassError, match=r"is not customized yet.*deploy first"):
            migrate(world, to=to)


def test_a_server_that_does_not_run_moves_cold(world: World) -> None:
    world.domain("web-1")["active"] = False
    assert only_member(migrate(world)).verbs == CARRIED[1:]
    with pytest.raises(EncompassError, match="cannot migrate while it runs: it does not run"):
        migrate(world, live=True)


def test_a_server_that_is_there_stays(world: World) -> None:
    assert migrate(world, to="hv1").settled


def test_what_cannot_follow_is_said(world: World) -> None:
    world.rows.masters["web-server-v2"] = make_master(version=2)
    before = world.rows.machines["web-1"]["clone"]
    world.carry_out(world.plan_update(count=1))
    assert (
        f"{before} on standby cannot follow and is deleted once it answers there" in only_member(migrate(world)).reasons
    )
    share(world)
    assert not any("cannot follow" in reason for reason in only_member(migrate(world)).reasons)


def change(path: str, value: t.Any, provider: str = "hv2") -> t.Callable[[World], None]:
    """Return what changes one thing that is seen on a provider."""
    place, _dot, key = path.partition(".")

    def apply(world: World) -> None:
        found = world.seen[provider][place]
        (found if isinstance(found, dict) else found[0])[key] = value

    return apply


def use_kvm(world: World) -> None:
    world.rows.machines["web-1"]["virt_type"] = "kvm"
    for seen in world.seen.values():
        seen["provider"]["virt_type"] = "kvm"


def declare_shared(world: World) -> None:
    for seen in world.seen.values():
        seen["pools"][0]["shared"] = True


OBSTACLES: dict[str, tuple[t.Callable[[World], None], str]] = {
    "memory": (change("provider.memory_mib", 128), "128 of its 128 MiB are free, 256 are needed"),
    "firmware": (change("provider.firmwares", []), "it has no bios firmware"),
    "architecture": (change("provider.arch", "aarch64"), "its architecture is aarch64"),
    "no network": (change("networks.name", "other"), "network encompass is not there"),
    "no span": (change("networks.spans", False), "not declared to span providers"),
    "no span here": (change("networks.spans", False, "hv1"), "is not the same on hv1"),
    "another subnet": (change("networks.subnet", "10.9.0.0/24"), "is outside of its network encompass"),
    "larger subnet": (change("networks.subnet", "10.1.0.0/16"), "is not the same on hv1"),
    "not joined": (change("networks.reaches", []), "nobody answers on its network encompass for 10.1.0.1"),
    "address taken": (
        change("networks.dhcp_hosts", [{"address": "10.1.0.3", "mac": "x", "name": "printer"}]),
        "reserved there for printer",
    ),
    "no pool": (change("pools.name", "other"), "it does not reach pool default"),
    "half a shared pool": (change("pools.shared", True), "declared as shared, but the volumes"),
    "the other half": (change("pools.shared", True, "hv1"), "is another one there"),
    "said to be shared": (declare_shared, "declared as shared, but the volumes"),
}


@pytest.mark.parametrize(("happen", "says"), OBSTACLES.values(), ids=list(OBSTACLES))
def test_what_does_not_fit_is_refused_beforehand(world: World, happen: t.Callable[[World], None], says: str) -> None:
    happen(world)
    for to in ({}, {"to": "hv2"}):
        with pytest.raises(EncompassError) as refused:
            migrate(world, **to)
        assert says in str(refused.value)
        assert "hv2: " in str(refused.value)


def test_data_volumes_follow(world: World) -> None:
    world.deploy(count=1, data=[{"name": "db", "size_mib": 8}])
    (record,) = world.rows.volumes.values()
    world.seen["hv1"]["data"] = [{"path": record["path"], "virtual_bytes": 8 << 20, "allocated_bytes": 5}]
    plan = migrate(world)
    assert only_member(plan).verbs == ("send", "receive", "migrate", "assign", "activate")
    assert "its volumes and its data volume db are copied" in only_member(plan).reasons
    assert only_member(plan).estimated_bytes == 5
    assert plan.rows[("volume", "web-1.db")] == record


def test_data_of_somebody_else_makes_no_way(world: World) -> None:
    world.deploy(count=1, data=[{"name": "db", "size_mib": 8}])
    (record,) = world.rows.volumes.values()
    found = {"path": record["path"], "virtual_bytes": 8 << 20, "allocated_bytes": 5}
    world.seen["hv1"]["data"] = world.seen["hv2"]["data"] = [found]
    with pytest.raises(EncompassError, match=r"/pool/data/web-1/db\.qcow2 is there, and would have to make way"):
        migrate(world)
    world.rows.machines["web-1"]["also_on"] = ["hv2"]  # it is ours, from an earlier try
    assert only_member(migrate(world)).to == "hv2"
    world.rows.volumes["web-1.old"] = {**record, "volume": "old", "provider": "hv2"}
    with pytest.raises(EncompassError, match="would have to make way"):
        migrate(world)


def test_data_needs_room_there(world: World) -> None:
    world.deploy(count=1, data=[{"name": "db", "size_mib": 8, "pool": "default"}])
    (record,) = world.rows.volumes.values()
    world.seen["hv1"]["data"] = [{"path": record["path"], "virtual_bytes": 8 << 20, "allocated_bytes": 2**50}]
    with pytest.raises(EncompassError, match=r"pool default has .* bytes free, 1125899906842624 are needed"):
        migrate(world)


def test_data_in_a_shared_pool_has_to_be_seen_there(world: World) -> None:
    world.deploy(count=1, data=[{"name": "db", "size_mib": 8}])
    share(world)
    (record,) = world.rows.volumes.values()
    record["pool_shared"] = True
    with pytest.raises(EncompassError, match="hv2: it does not see data volume db in pool default"):
        migrate(world)
    for seen in world.seen.values():
        seen["data"] = [{"path": record["path"], "virtual_bytes": record["virtual_bytes"]}]
    assert only_member(migrate(world)).to == "hv2"


def test_a_full_pool_is_refused(world: World) -> None:
    world.seen["hv1"]["volumes"][0]["allocated_bytes"] = 2**34
    with pytest.raises(EncompassError, match="bytes free, 17179869184 are needed"):
        migrate(world)


def test_an_overlay_needs_its_master_there(world: World) -> None:
    clone = world.rows.clones[world.rows.machines["web-1"]["clone"]]
    clone["volumes"][0]["backing"] = {"path": "/pool/masters/a.qcow2", "format": "qcow2", "digest": "a" * 64}
    assert only_member(migrate(world)).to == "hv2"
    world.seen["hv2"]["masters"] = []
    with pytest.raises(
        EncompassError, match=r"has no copy in its pool default: run encompass\.images\.add_master there"
    ):
        migrate(world)


LIVE_OBSTACLES: dict[str, tuple[tuple[t.Callable[[World], None], ...], str]] = {
    "older": ((change("provider.versions", {"qemu": "6.2.0"}),), "QEMU is older there (6.2.0) than on hv1 (7.2.9)"),
    "model": ((use_kvm, change("provider.cpu_model", "Opteron")), "its CPU is Opteron, not Nehalem"),
    "features": ((use_kvm, change("provider.cpu_features", [])), "its CPU lacks vmx"),
}


@pytest.mark.parametrize(("happen", "says"), LIVE_OBSTACLES.values(), ids=list(LIVE_OBSTACLES))
def test_what_cannot_go_on_running_is_stopped_or_refused(
    world: World, happen: tuple[t.Callable[[World], None], ...], says: str
) -> None:
    for one in happen:
        one(world)
    member = only_member(migrate(world))
    assert member.verbs == CARRIED
    assert f"it is stopped on the way: {says}" in member.reasons
    with pytest.raises(EncompassError) as refused:
        migrate(world, live=True)
    assert says in str(refused.value)


def test_kvm_is_not_given_up(world: World) -> None:
    use_kvm(world)
    world.seen["hv2"]["provider"]["virt_type"] = "qemu"
    with pytest.raises(EncompassError, match="it has no KVM"):
        migrate(world)


REFUSED: dict[str, tuple[t.Any, str]] = {
    "unknown machine": ({"machines": ["web-9"]}, "no deployment has a machine of this name (there are web-1)"),
    "unknown deployment": ({"machines": [], "deployment": "blue"}, "no deployment of this name"),
    "unknown provider": ({"to": "hv7"}, "no provider hv7 was reached in this run (there are hv1, hv2)"),
    "neither": ({"machines": []}, "either machines or a deployment"),
    "both": ({"deployment": "web"}, "either machines or a deployment"),
    "twice": ({"machines": ["web-1", "web-1"]}, "migrated twice at once"),
    "live": ({"live": "perhaps"}, "not auto, true or false"),
    "field": ({"too": "hv2"}, "it has no field too"),
    "fenced but alive": ({"fenced": ["hv1"]}, "said to be fenced, but it answered in this run"),
    "fenced is no list": ({"fenced": {"hv1": True}}, "its fenced are not a list"),
}


@pytest.mark.parametrize(("request_", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_makes_no_sense_is_refused(world: World, request_: t.Any, says: str) -> None:
    with pytest.raises(EncompassError) as refused:
        migrate(world, **request_)
    assert says in str(refused.value)


def test_a_clone_that_was_never_made_is_named(world: World) -> None:
    world.rows.clones[world.rows.machines["web-1"]["clone"]]["stage"] = "planned"
    with pytest.raises(EncompassError, match=r"is planned.*deploy first"):
        migrate(world)


# A provider that is gone, or its pool


def test_a_server_does_not_leave_a_pool_that_cannot_be_used(world: World) -> None:
    world.spoil_pool("hv1")
    with pytest.raises(EncompassError, match=r"machine web-1: its pool default of hv1 cannot be used.*Repair that"):
        migrate(world)


def test_only_the_operators_word_brings_a_server_up_elsewhere(world: World) -> None:
    share(world)
    del world.seen["hv1"]
    with pytest.raises(EncompassError, match=r"hv1 was not reached in this run.*fenced only when"):
        migrate(world)
    plan = migrate(world, fenced=["hv1"])
    member = only_member(plan)
    assert (member.to, member.verbs, member.vacates) == ("hv2", BRING_UP, ())
    assert "hv1 is fenced, by the operator's word" in member.reasons
    machine, clone = plan.rows[("machine", "web-1")], plan.rows[("clone", member.clone)]
    assert (machine["provider"], machine["also_on"]) == ("hv2", ["hv1"])
    assert (clone["provider"], clone["stage"], clone["metastate"]) == ("hv2", "assigned", "operational")


def test_what_only_the_dead_provider_has_cannot_come_up(world: World) -> None:
    del world.seen["hv1"]
    with pytest.raises(EncompassError, match=r"does not see the volumes of clone .* in a shared pool"):
        migrate(world, fenced=["hv1"])


def test_data_of_a_dead_provider_stays_with_it(world: World) -> None:
    world.deploy(count=1, data=[{"name": "db", "size_mib": 8}])
    share(world)
    del world.seen["hv1"]
    with pytest.raises(EncompassError, match="data volume db is in pool default, which is not shared"):
        migrate(world, fenced=["hv1"])


def test_what_a_dead_provider_had_goes_when_it_is_back(world: World) -> None:
    share(world)
    old = copy.deepcopy(world.seen.pop("hv1"))
    plan = migrate(world, fenced=["hv1"])
    for row, body in plan.rows.items():
        getattr(world.rows, f"{row[0]}s")[row[1]] = body
    world._make_active("web-1", {})
    old["domains"][0]["active"] = False
    assert redeploy(world).settled
    world.seen["hv1"] = old
    member = only_member(redeploy(world))
    assert (member.action, member.verbs, member.vacates) == ("repair", (), ("hv1",))
    assert batch_by_provider([redeploy(world)]) == {"hv1": {"vacate": [{"name": "web-1"}]}}


# A migration that was cut off


def test_a_migration_that_did_not_happen_is_cleared_away(world: World) -> None:
    reserve(world)
    member = only_member(redeploy(world))
    assert (member.provider, member.verbs, member.vacates) == ("hv1", (), ("hv2",))


def test_a_migration_that_happened_unseen_is_found(world: World) -> None:
    reserve(world)
    arrive(world)
    plan = redeploy(world)
    member = only_member(plan)
    assert (member.provider, member.verbs, member.vacates) == ("hv2", ("assign",), ("hv1",))
    assert plan.rows[("machine", "web-1")]["provider"] == "hv2"
    assert plan.rows[("clone", member.clone)]["provider"] == "hv2"
    assert only_member(migrate(world, to="hv2")).vacates == ("hv1",)


def test_a_server_whose_provider_was_not_dead_is_found_there(world: World) -> None:
    share(world)
    alive = copy.deepcopy(world.seen.pop("hv1"))
    for row, body in migrate(world, fenced=["hv1"]).rows.items():
        getattr(world.rows, f"{row[0]}s")[row[1]] = body
    world.seen["hv1"] = alive
    plan = redeploy(world)
    assert (only_member(plan).provider, only_member(plan).verbs) == ("hv1", ("activate",))
    clone = plan.rows[("clone", only_member(plan).clone)]
    assert (clone["provider"], clone["stage"]) == ("hv1", "active")


def test_what_was_found_is_written_with_its_own_deployment(world: World) -> None:
    reserve(world)
    arrive(world)
    others = [
        parse_deployment({**WEB, "name": "blue", "count": 1}, "blue"),
        parse_deployment({**WEB, "count": 1}, "web"),
    ]
    blue, web = Scenario(deployments=others).plan(world.ledger())
    assert ("machine", "web-1") not in blue.rows
    assert web.rows[("machine", "web-1")]["provider"] == "hv2"


def test_nothing_is_started_while_nobody_knows_where_it_runs(world: World) -> None:
    reserve(world)
    world.seen["hv1"]["domains"] = []
    del world.seen["hv2"]
    plan = redeploy(world)
    assert (only_member(plan).action, only_member(plan).verbs) == ("wait", ())
    assert plan.rows == {}


def test_a_server_that_is_seen_nowhere_is_looked_for_twice(world: World) -> None:
    reserve(world)
    world.seen["hv1"]["domains"] = []
    plan = redeploy(world)
    assert (only_member(plan).action, only_member(plan).verbs) == ("wait", ())
    assert "between hv1 and hv2" in only_member(plan).reasons[0]
    machine = plan.rows[("machine", "web-1")]
    assert (machine["provider"], machine["moving_to"], machine["also_on"]) == ("hv1", None, ["hv2"])
    world.rows.machines["web-1"] = machine
    assert only_member(redeploy(world)).verbs == ("attach", "activate")


def test_a_server_with_leftovers_is_retired_with_them(world: World) -> None:
    reserve(world)
    work = batch_by_provider([world.retire()])
    assert work["hv2"] == {"abandon": [{"name": "web-1"}]}
    del world.seen["hv2"]
    assert list(batch_by_provider([world.retire()])) == ["hv1"]


def test_no_server_gets_another_providers_address(world: World) -> None:
    del world.seen["hv2"]
    plan = world.plan(count=2, memory_mib=64)
    assert [plan.rows[("machine", "web-2")]["nics"][0]["address"]] == ["10.1.0.4"]


def test_records_move_with_all_their_paths() -> None:
    clone = {
        "provider": "hv1",
        "directory": "/a/clones/c",
        "seed": "/a/clones/c/seed.iso",
        "volumes": [{"path": "/a/clones/c/root.qcow2", "backing": {"path": "/a/masters/x", "format": "qcow2"}}],
    }
    moved = move_clone(clone, "hv2", "/a", "/b")
    assert "/a/" not in str(moved)
    assert moved["volumes"][0]["backing"] == {"path": "/b/masters/x", "format": "qcow2"}
    machine = {"provider": "hv1", "also_on": ["hv2", "hv3"], "moving_to": "hv2"}
    assert move_machine(machine, "hv2") == {"provider": "hv2", "also_on": ["hv1", "hv3"], "moving_to": None}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for data volumes: made once, kept over everything, never made again unasked."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError, InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._planning.planner import plan_deployment, plan_retirement
from ansible_collections.encompass.images.plugins.plugin_utils._planning.plans import (
    DeploymentPlan,
    arrange_stages,
    batch_by_provider,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.present import describe_plans
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import (
    DataVolume,
    parse_deployment,
    parse_reassignments,
)
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    WEB,
    World,
    make_master,
)

MIB = 1 << 20
DB = {"name": "db", "size_mib": 64}
REMAKE = ("deactivate", "detach", "attach", "activate")
BRING_UP = ("clone", "assign", "customize", "attach", "activate")


@pytest.fixture
def world() -> World:
    """Return two servers with a data volume each."""
    world = World()
    world.deploy(data=[DB])
    return world


def actions(plan: DeploymentPlan) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {member.server: (member.action, member.verbs) for member in plan.members}


def reasons(plan: DeploymentPlan) -> dict[str, str]:
    return {member.server: "; ".join(member.reasons) for member in plan.members}


def plan_with(world: World, *data: dict[str, t.Any], count: int = 2, **wishes: t.Any) -> DeploymentPlan:
    request = parse_deployment({**WEB, "count": count, "data": list(data)}, "web")
    return plan_deployment(world.ledger(**wishes), request)


def test_new_servers_get_their_volumes_before_they_are_attached() -> None:
    plan = World().plan(data=[DB])
    assert actions(plan)["web-1"] == ("create", ("make_volumes", *BRING_UP))
    record = plan.rows[("volume", "web-1.db")]
    assert (record["path"], record["serial"]) == ("/pool/data/web-1/db.qcow2", "web-1-db")
    assert (record["stage"], record["provider"], record["virtual_bytes"]) == ("planned", "hv1", 64 * MIB)
    assert plan.rows[("machine", "web-1")]["data"] == ["db"]
    assert ("volume", "web-1.db") in plan.targets
    assert batch_by_provider([plan])["hv1"]["make_volumes"] == [{"name": "web-1.db"}]


def test_a_second_run_is_settled(world: World) -> None:
    plan = world.plan(data=[DB])
    assert (plan.settled, plan.rows) == (True, {})


def test_a_run_that_was_killed_before_the_volume_was_made_goes_on(world: World) -> None:
    world.rows.volumes["web-1.db"]["stage"] = "planned"
    world.provider_of("web-1")["data"].clear()
    world.provider_of("web-1")["domains"].clear()
    assert actions(world.plan(data=[DB]))["web-1"] == ("repair", ("make_volumes", "attach", "activate"))


def test_a_volume_that_is_added_stops_the_server(world: World) -> None:
    plan = plan_with(world, {"name": "logs", "size_gib": 1, "bus": "scsi"}, DB)
    verbs = ("deactivate", "detach", "make_volumes", "attach", "activate")
    assert actions(plan)["web-1"] == ("change", verbs)
    assert plan.rows[("machine", "web-1")]["data"] == ["db", "logs"], "what is there keeps its place"
    world.carry_out(plan)
    assert plan_with(world, {"name": "logs", "size_gib": 1, "bus": "scsi"}, DB).settled


def test_a_run_that_was_killed_before_the_machine_was_defined_anew_goes_on(world: World) -> None:
    world.domain("web-1").update(disks=[], disk_buses=[])
    assert actions(world.plan(data=[DB]))["web-1"] == ("change", REMAKE)


def test_a_volume_grows_while_its_server_is_off(world: World) -> None:
    plan = plan_with(world, {**DB, "size_mib": 128})
    assert actions(plan)["web-1"] == ("change", ("deactivate", "detach", "grow_volumes", "attach", "activate"))
    assert "grows from 64.0 MiB to 128.0 MiB, while it is off" in reasons(plan)["web-1"]
    world.carry_out(plan)
    assert plan_with(world, {**DB, "size_mib": 128}).settled


UNCHANGEABLE = {
    "size": ({"size_mib": 32}, "can grow, never shrink"),
    "format": ({"format": "raw"}, "its format is qcow2, and raw is asked for"),
    "pool": ({"pool": "fast"}, "its pool is default, and fast is asked for"),
}


@pytest.mark.parametrize(("change", "message"), UNCHANGEABLE.values(), ids=list(UNCHANGEABLE))
def test_what_cannot_change_is_refused(world: World, change: dict[str, t.Any], message: str) -> None:
    with pytest.raises(EncompassError, match=message):
        plan_with(world, {**DB, **change})


def test_another_bus_is_a_change(world: World) -> None:
    plan = plan_with(world, {**DB, "bus": "sata"})
    assert actions(plan)["web-1"] == ("change", REMAKE)
    world.carry_out(plan)
    assert plan_with(world, {**DB, "bus": "sata"}).settled


def test_what_is_no_longer_declared_is_detached_and_kept(world: World) -> None:
    plan = plan_with(world)
    assert actions(plan)["web-1"] == ("change", REMAKE)
    assert "web-1.db is kept, unused" in reasons(plan)["web-1"]
    assert plan.rows[("machine", "web-1")]["data"] == []
    world.carry_out(plan)
    again = plan_with(world)
    assert again.settled
    assert any("web-1.db is kept, unused" in line for line in describe_plans([again]))


def test_a_lost_volume_is_never_made_again_unasked_and_the_others_go_on(world: World) -> None:
    world.seen["hv1"]["data"].clear()
    plan = plan_with(world, DB, {"name": "logs", "size_mib": 8})
    assert actions(plan)["web-1"] == ("refuse", ())
    assert "db is lost: /pool/data/web-1/db.qcow2 is gone" in reasons(plan)["web-1"]
    assert actions(plan)["web-2"][0] == "change"
    assert not any("web-1" in name for _kind, name in plan.rows)
    for scenario in ({"reassign": parse_reassignments([{"machines": ["web-1"], "function": "web-server"}])}, {}):
        refused = world.plan_scenario(**scenario) if scenario else world.plan_update(data=[DB])
        assert actions(refused)["web-1"] == ("refuse", ())


def test_a_lost_volume_is_made_again_when_that_is_asked_for(world: World) -> None:
    world.seen["hv1"]["data"].clear()
    plan = plan_with(world, DB, recreate=["web-1.db"])
    assert actions(plan)["web-1"] == ("change", ("deactivate", "detach", "make_volumes", "attach", "activate"))
    world.carry_out(plan)
    assert plan_with(world, DB, recreate=["web-1.db"]).settled, "what is there is not touched"


def test_a_pool_that_is_not_there_loses_nothing(world: World) -> None:
    world.rows.volumes["web-1.db"]["pool"] = "slow"
    world.seen["hv1"]["data"].clear()
    plan = plan_with(world, DB, recreate=["web-1.db"])
    assert actions(plan)["web-1"] == ("refuse", ())
    assert "is in pool slow of hv1, which hv1 does not reach" in reasons(plan)["web-1"]


def test_servers_that_go_leave_their_volumes_to_those_that_come_back(world: World) -> None:
    plan = plan_with(world, DB, count=1)
    assert "web-2.db is kept" in reasons(plan)["web-2"]
    world.remove(next(member for member in plan.members if member.server == "web-2"))
    world.seen["hv2"]["provider"]["memory_mib"] = 300  # any other server would rather go to hv1
    back = plan_with(world, DB)
    member = back.members[-1]
    assert (member.action, member.provider, member.verbs) == ("create", "hv2", BRING_UP)
    assert "db is there from before" in reasons(back)["web-2"]
    assert member.rejected["hv1"] == "it does not reach the data volumes of the machine"
    del world.seen["hv2"]
    waiting = plan_with(world, DB)
    assert actions(waiting)["web-2"] == ("refuse", ())
    assert "is on hv2, which was not reached in this run" in reasons(waiting)["web-2"]
    assert "refuse web-2 on hv2" in "\n".join(describe_plans([waiting]))


def test_a_returning_server_whose_volume_is_lost_is_refused(world: World) -> None:
    world.remove(plan_with(world, DB, count=1).members[0])
    world.seen["hv2"]["data"].clear()
    assert actions(plan_with(world, DB))["web-2"] == ("refuse", ())
    assert actions(plan_with(world, DB, recreate=["web-2.db"]))["web-2"] == ("create", ("make_volumes", *BRING_UP))


def test_data_goes_only_when_that_is_asked_for(world: World) -> None:
    request = {"retire": True}
    down = ("deactivate", "detach", "unassign", "delete", "drop_volumes")
    assert actions(plan_with(world, DB, count=1, **request)) == {"web-2": ("retire", down), "web-1": ("keep", ())}
    plan = plan_retirement(world.ledger(**request), "web")
    assert {member.verbs for member in plan.members} == {down}
    world.remove(plan_retirement(world.ledger(), "web").members[0])
    assert "web-1.db" in world.rows.volumes
    rest = plan_retirement(world.ledger(**request), "web")
    assert {member.server: member.data for member in rest.members} == {
        "web-1": {"drop_volumes": ("web-1.db",)},
        "web-2": {"drop_volumes": ("web-2.db",)},
    }
    assert rest.members[-1].verbs == ("drop_volumes",)
    assert ("machine", "") not in rest.targets


def test_what_is_left_on_a_provider_that_is_away_waits(world: World) -> None:
    world.remove(plan_retirement(world.ledger(), "web").members[0])
    del world.seen["hv1"]
    plan = plan_retirement(world.ledger(retire=True), "web")
    assert actions(plan)["web-1"] == ("wait", ())
    assert plan.body is not None, "the deployment is not gone yet"


def test_an_update_takes_the_volumes_along_and_makes_new_ones_beforehand(world: World) -> None:
    world.rows.masters["web-server-v2"] = make_master(version=2)
    logs = {"name": "logs", "size_mib": 8}
    plan = world.plan_update(data=[{**DB, "size_mib": 128}, logs])
    prepare, wave = arrange_stages([plan], halting=True)
    assert prepare.work["hv1"]["make_volumes"] == [{"name": "web-1.logs"}]
    assert list(wave.work["hv1"]) == ["deactivate", "grow_volumes", "attach", "activate"]
    world.carry_out(plan)
    assert world.rows.machines["web-1"]["data"] == ["db", "logs"]
    back = world.plan_scenario(rollback=["web"])
    assert not any(member.data for member in back.members)
    assert world.rows.machines["web-1"]["data"] == ["db", "logs"]


def test_a_data_pool_that_a_provider_lacks_keeps_servers_away() -> None:
    world = World()
    world.seen["hv2"]["pools"].append({**world.seen["hv2"]["pools"][0], "name": "fast", "path": "/fast"})
    plan = world.plan(data=[{**DB, "pool": "fast"}])
    assert {member.provider for member in plan.members} == {"hv2"}
    assert plan.members[0].rejected == {"hv1": "it does not reach pool fast"}


def test_declared_volumes_are_understood() -> None:
    entry = {**DB, "format": "raw", "filesystem": "ext4", "label": "db-files"}
    request = parse_deployment({**WEB, "pool": "fast", "data": [entry]}, "web")
    assert request.data == (DataVolume("db", 64 * MIB, "fast", "virtio", "raw", "ext4", "db-files"),)


REFUSED: dict[str, tuple[t.Any, str]] = {
    "no list": ("db", "not a list of volumes"),
    "no name": ([{"size_gib": 1}], "name is None"),
    "bad name": ([{"name": "a.b", "size_gib": 1}], "name is 'a.b'"),
    "no size": ([{"name": "db"}], "it needs a size"),
    "two sizes": ([{**DB, "size_gib": 1}], "either size_gib or size_mib"),
    "twice": ([DB, DB], "declared twice"),
    "typing error": ([{**DB, "fielsystem": "ext4"}], "has no field fielsystem"),
    "file system": ([{**DB, "filesystem": "vfat"}], "not one of ext4, xfs"),
    "label alone": ([{**DB, "label": "x"}], "no filesystem that could bear it"),
    "long label": ([{**DB, "filesystem": "ext4", "label": "x" * 17}], "more than the 16 characters"),
    "small xfs": ([{**DB, "filesystem": "xfs"}], "xfs needs at least 300.0 MiB"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_no_volume_can_be_is_refused(data: t.Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_deployment({**WEB, "data": data}, "web")
    assert message in str(refused.value)

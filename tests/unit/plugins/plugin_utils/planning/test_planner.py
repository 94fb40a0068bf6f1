# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: what is declared, recorded and seen, against what has to happen."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    EncompassError,
    InvalidRequest,
)
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    DIGEST,
    World,
    make_master,
)

ALL = ("clone", "assign", "customize", "attach", "activate")


def actions(plan: t.Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {member.server: (member.action, member.verbs) for member in plan.members}


def test_new_servers_are_spread_and_get_all_verbs() -> None:
    plan = World().plan(count=3)
    assert actions(plan) == {f"web-{n}": ("create", ALL) for n in (1, 2, 3)}
    assert [member.provider for member in plan.members] == ["hv1", "hv2", "hv1"]
    assert all("overlay" in " ".join(member.reasons) for member in plan.members)
    assert all(member.estimated_bytes > 0 for member in plan.members)


def test_clones_are_named_until_they_are_gone_since_nothing_else_leads_to_them_without_their_server() -> None:
    world = World()
    world.deploy(count=1)
    (leaving,) = world.retire().leaving
    (machine,) = world.rows.machines
    provider = world.rows.clones[leaving]["provider"]
    world.remove_machine(machine)
    world.rows.deployments["web"]["leaving"] = [leaving, "web-server-v1-gone"]
    for plan in (world.retire(), world.plan(count=0)):
        assert actions(plan) == {leaving: ("retire", ("delete",))}
        assert (plan.settled, plan.leaving, plan.targets) == (
            False,
            [leaving],
            [("deployment", "web"), ("clone", leaving)],
        )
    del world.seen[provider]
    unseen = world.retire()
    assert (actions(unseen), unseen.leaving) == ({leaving: ("wait", ())}, [])
    assert unseen.body == world.rows.deployments["web"]


def test_packed_servers_share_a_provider() -> None:
    plan = World().plan(count=3, placement={"strategy": "pack"})
    assert {member.provider for member in plan.members} == {"hv1"}


def test_every_machine_has_addresses_of_its_own() -> None:
    plan = World(providers=1).plan(count=5)
    nics = [nic for key, body in plan.rows.items() if key[0] == "machine" for nic in body["nics"]]
    assert sorted(nic["address"] for nic in nics) == [f"10.1.1.{n}" for n in range(2, 7)]
    assert len({nic["mac"] for nic in nics}) == 5


def test_a_hundred_servers_have_nothing_in_common() -> None:
    world = World(providers=4)
    for seen in world.seen.values():
        seen["networks"][0]["subnet"] = seen["networks"][0]["subnet"].replace("/29", "/24")
    plan = world.plan(count=100, memory_mib=64)
    machines = [body for key, body in plan.rows.items() if key[0] == "machine"]
    clones = [body for key, body in plan.rows.items() if key[0] == "clone"]
    assert {len(machines), len(clones)} == {100}
    assert len({nic["mac"] for body in machines for nic in body["nics"]}) == 100
    assert len({nic["address"] for body in machines for nic in body["nics"]}) == 100
    assert len({body["uuid"] for body in machines}) == 100
    assert len({body["machine_id"] for body in clones} | {body["uuid"] for body in machines}) == 200


def test_a_second_run_is_settled() -> None:
    world = World()
    world.deploy()
    plan = world.plan()
    assert plan.settled
    assert not plan.rows
    assert {member.action for member in plan.members} == {"keep"}


def test_count_up_leaves_the_others_alone() -> None:
    world = World()
    world.deploy()
    plan = world.plan(count=3)
    assert actions(plan) == {"web-1": ("keep", ()), "web-2": ("keep", ()), "web-3": ("create", ALL)}


def test_count_down_takes_the_last_ones() -> None:
    world = World()
    world.deploy()
    gone = ("deactivate", "detach", "unassign", "delete")
    assert actions(world.plan(count=1)) == {"web-2": ("retire", gone), "web-1": ("keep", ())}
    assert actions(world.plan(count=0)) == {name: ("retire", gone) for name in ("web-1", "web-2")}


def test_an_undefined_domain_comes_back_as_the_same_machine() -> None:
    world = World()
    world.deploy()
    before = dict(world.rows.machines["web-1"])
    world.provider_of("web-1")["domains"].clear()
    plan = world.plan()
    assert actions(plan)["web-1"] == ("repair", ("attach", "activate"))
    assert "domain is gone" in plan.members[0].reasons[0]
    assert ("machine", "web-1") not in plan.rows
    assert world.rows.machines["web-1"] == before


UNSEEN = "its pool default of hv1 cannot be used: /pool/masters is not there"


def test_what_was_not_looked_for_is_not_lost() -> None:
    world = World()
    world.deploy()
    world.spoil_pool("hv1")
    for plan in (world.plan(), world.plan(count=0), world.retire()):
        (web,) = (member for member in plan.members if member.server == "web-1")
        assert (web.action, web.verbs, web.reasons) == ("refuse", (), (UNSEEN,))
        assert not {key for key in plan.rows if "web-1" in key or web.clone in key}
    assert world.retire().body == world.rows.deployments["web"]


def test_a_clone_without_a_server_stays_while_its_pool_cannot_be_used() -> None:
    world = World()
    world.deploy(count=1)
    world.rows.deployments["web"]["leaving"] = list(world.rows.clones)
    world.remove_machine("web-1")
    world.spoil_pool("hv1")
    assert [member.action for member in world.retire().members] == ["refuse"]


def test_a_stopped_domain_is_started() -> None:
    world = World()
    world.deploy()
    world.domain("web-2")["active"] = False
    assert actions(world.plan())["web-2"] == ("repair", ("activate",))


def test_a_machine_that_runs_unrecorded_has_to_answer_or_is_stopped_first() -> None:
    world = World()
    world.deploy()
    world.rows.clones[world.rows.machines["web-1"]["clone"]]["stage"] = "attached"
    assert actions(world.plan())["web-1"] == ("repair", ("activate",))
    retired = {member.server: member.verbs for member in world.retire().members}
    assert retired["web-1"] == ("deactivate", "detach", "unassign", "delete")


def test_an_address_that_is_used_again_keeps_its_mac() -> None:
    world = World(providers=1)
    first = world.plan(count=1).rows[("machine", "web-1")]["nics"]
    second = world.plan(name="green", count=1).rows[("machine", "green-1")]["nics"]
    assert first == second


def test_a_lost_volume_means_a_new_clone_of_the_same_name() -> None:
    world = World()
    world.deploy()
    seen = world.provider_of("web-1")
    seen["volumes"].clear()
    plan = world.plan()
    clone = world.rows.machines["web-1"]["clone"]
    assert actions(plan)["web-1"] == ("repair", ALL)
    assert plan.rows[("clone", clone)]["stage"] == "planned"
    assert plan.rows[("clone", clone)]["metastate"] == "clean"


def test_a_lost_reservation_is_made_again_without_a_stop() -> None:
    world = World()
    world.deploy()
    world.provider_of("web-1")["networks"][0]["dhcp_hosts"].clear()
    assert actions(world.plan())["web-1"] == ("repair", ("assign",))


@pytest.mark.parametrize(("field", "value"), [("cpus", 2), ("memory_mib", 512)])
def test_another_size_stops_and_redefines(field: str, value: int) -> None:
    world = World()
    world.deploy()
    plan = world.plan(**{field: value})
    assert actions(plan)["web-1"] == ("change", ("deactivate", "detach", "attach", "activate"))
    assert plan.rows[("machine", "web-1")][field] == value


def test_a_size_changed_behind_our_back_is_set_right() -> None:
    world = World()
    world.deploy()
    world.domain("web-1")["memory_mib"] = 999
    assert actions(world.plan())["web-1"][0] == "change"


def test_a_changed_input_customizes_again() -> None:
    master = make_master(
        inputs=[{"name": "greeting", "default": "hi"}],
        items=[{"name": "page", "type": "template", "path": "/p", "content": "{{ greeting }}"}],
    )
    world = World(**{"web-server-v1": master})
    world.deploy(inputs={"greeting": "hi"})
    assert world.plan(inputs={"greeting": "hi"}).settled
    plan = world.plan(inputs={"greeting": "moin"})
    assert actions(plan)["web-1"] == ("change", ("deactivate", "detach", "customize", "attach", "activate"))


def test_secret_inputs_are_in_no_row() -> None:
    master = make_master(
        inputs=[{"name": "token", "secret": True, "required": True}],
        items=[{"name": "key", "type": "template", "path": "/p", "content": "{{ token }}"}],
    )
    plan = World(**{"web-server-v1": master}).plan(inputs={"token": "canary-4711"})
    assert "canary-4711" not in repr(plan)
    assert plan.body is not None
    assert plan.body["spec"]["secrets_given"] == ["token"]


def test_an_unused_clone_is_taken_first() -> None:
    world = World(providers=1)
    world.deploy(count=1)
    spare = {**world.rows.clones["web-server-v1-1"], "machine": None, "stage": "unassigned", "metastate": "clean"}
    world.rows.clones["spare"] = {**spare, "customization": None}
    plan = world.plan(count=2)
    assert (plan.members[1].clone, plan.members[1].verbs) == ("spare", ALL[1:])


def test_an_interrupted_run_is_continued() -> None:
    world = World()
    world.deploy()
    clone = world.rows.clones[world.rows.machines["web-1"]["clone"]]
    clone.update(stage="unassigned", metastate="clean", customization=None)
    world.provider_of("web-1")["domains"].clear()
    assert actions(world.plan())["web-1"] == ("repair", ALL[1:])


def test_an_unseen_provider_is_left_alone() -> None:
    world = World()
    world.deploy()
    del world.seen["hv1"]
    plan = world.plan()
    assert actions(plan)["web-1"] == ("wait", ())
    assert world.retire().body is not None


def test_retiring_takes_everything_and_twice_is_once() -> None:
    world = World()
    world.deploy()
    plan = world.retire()
    assert {member.action for member in plan.members} == {"retire"}
    assert plan.body is None
    assert World().retire().settled


def test_the_version_that_is_pinned_is_used() -> None:
    masters = {f"web-server-v{n}": make_master(version=n) for n in (1, 2, 3)}
    masters["web-server-v3"]["state"] = "importing"
    world = World(**masters)
    assert world.plan().members[0].master == "web-server-v2"
    assert world.plan(version=1).members[0].master == "web-server-v1"


def test_another_version_is_left_to_update() -> None:
    world = World()
    world.deploy()
    world.rows.masters["web-server-v2"] = make_master(version=2)
    plan = world.plan()
    assert {member.action for member in plan.members} == {"keep"}
    assert "left to update" in plan.members[0].reasons[0] or "update" in plan.members[0].reasons[0]


def test_a_foreign_domain_is_never_touched() -> None:
    world = World()
    world.deploy()
    world.domain("web-1")["uuid"] = "somebody else's"
    with pytest.raises(Conflict, match="not ours"):
        world.plan()


REFUSED = {
    "unknown function": ({"function": "database"}, "no master serves the function database"),
    "unknown version": ({"version": 9}, "no version 9"),
    "too much memory": ({"memory_mib": 4096}, "hv1: 2048 of its 2048 MiB are free, 4096 are needed"),
    "too many cpus": ({"cpus": 64}, "hv2: it has 4 CPUs, 64 are needed"),
    "too little memory": ({"memory_mib": 32}, "the master needs at least 64"),
    "no such pool": ({"pool": "fast"}, "does not reach pool fast"),
    "no such network": ({"networks": ["dmz"]}, "network dmz is not there"),
    "address outside": ({"networks": [{"name": "encompass", "addresses": ["192.0.2.1"]}]}, "outside the subnet"),
    "address of the gateway": (
        {"networks": [{"name": "encompass", "addresses": ["10.1.1.1"]}]},
        "is the network's own",
    ),
    "no address": ({"networks": [{"name": "encompass", "addresses": ["nonsense"]}]}, "is not an IP address"),
    "subnet too small": ({"count": 13}, "has no free address"),
    "unknown input": ({"inputs": {"colour": "red"}}, "takes no input colour"),
    "no such provider": ({"placement": {"providers": ["hv9"]}}, "not among the providers asked for"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_is_refused_with_the_reason(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(EncompassError) as refused:
        World().plan(**changes)
    assert message in str(refused.value)


def test_a_required_input_must_be_given() -> None:
    master = make_master(inputs=[{"name": "token", "required": True, "prompt": "The token?"}])
    with pytest.raises(InvalidRequest, match="token is required: The token"):
        World(**{"web-server-v1": master}).plan()


def test_a_master_without_a_copy_there_is_no_choice() -> None:
    world = World()
    world.seen["hv1"]["masters"].clear()
    plan = world.plan()
    assert {member.provider for member in plan.members} == {"hv2"}
    assert "no copy" in plan.members[0].rejected["hv1"]
    assert DIGEST not in str(plan.members[0].rejected)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment's plan looks like. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

Body = dict[str, t.Any]
Key = tuple[str, str]

# The order in which a provider is worked on: first what frees room, then what needs it.
VERBS = (
    *("deactivate", "detach", "send", "receive", "migrate", "unassign", "delete"),
    *("drop_volumes", "make_volumes", "grow_volumes"),
    *("clone", "assign", "customize", "attach", "activate"),
)

_BRING_UP = {
    "planned": ("clone", "assign", "customize", "attach", "activate"),
    "unassigned": ("assign", "customize", "attach", "activate"),
    "assigned": ("attach", "activate"),
    "attached": ("activate",),
    "active": (),
}
_TAKE_DOWN = {
    "planned": ("delete",),
    "unassigned": ("delete",),
    "assigned": ("unassign", "delete"),
    "attached": ("detach", "unassign", "delete"),
    "active": ("deactivate", "detach", "unassign", "delete"),
}


def verbs_to_active(stage: str) -> tuple[str, ...]:
    """Return the verbs that bring a clone up from its stage."""
    return _BRING_UP[stage]


def verbs_to_gone(stage: str) -> tuple[str, ...]:
    """Return the verbs that take a clone down and away from its stage."""
    return _TAKE_DOWN[stage]


def order_verbs(*verbs: str) -> tuple[str, ...]:
    """Return the verbs, each once, in the order of work."""
    return tuple(verb for verb in VERBS if verb in verbs)


def verbs_to_remake(stage: str, *extra: str) -> tuple[str, ...]:
    """Return the verbs that stop a server, change its definition (and do ``extra``), and bring it back."""
    down = {"active": ("deactivate", "detach"), "attached": ("detach",)}.get(stage, ())
    return order_verbs(*down, *extra, *verbs_to_active("assigned" if down else stage))


@dataclasses.dataclass(frozen=True)
class MemberPlan:
    """What happens to one server, and why.

    ``action``: keep, create, repair, change, update, return, reassign, migrate, retire, wait or refuse.
    """

    server: str
    action: str
    provider: str
    machine: str
    clone: str
    master: str
    verbs: tuple[str, ...]
    reasons: tuple[str, ...]
    rejected: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    method: str = ""
    estimated_bytes: int = 0
    served: str = ""
    """The clone that the machine serves until then, when that is another one."""
    spares: tuple[str, ...] = ()
    """Clones of the machine that go for good when all is done."""
    data: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Names of data volumes by the verb that is done to them; the verb is among ``verbs`` too."""
    to: str = ""
    """The provider that the machine moves to, when it moves."""
    vacates: tuple[str, ...] = ()
    """Other providers on which something of the machine may be left, to be removed."""

    def to_record(self) -> Body:
        """Return the plan of one member as it stands in results."""
        lists = {key: list(getattr(self, key)) for key in ("verbs", "reasons", "spares", "vacates")}
        return {**dataclasses.asdict(self), **lists, "data": {verb: list(names) for verb, names in self.data.items()}}

    def items_of(self, verb: str) -> list[dict[str, str]]:
        """Return what a verb is done to, as its module wants it."""
        if verb in self.data:
            return [{"name": name} for name in self.data[verb]]
        if verb in _ON_CLONES:
            return [{"name": self.clone}]
        if not self.served:
            return [{"name": self.machine}]
        # Two clones are the machine's: the one that it serves until now, and the one that it serves next.
        return [{"name": self.machine, "clone": self.served if verb in _TAKING_DOWN else self.clone}]


@dataclasses.dataclass
class DeploymentPlan:
    """A deployment's members, and the rows that have to be written before the work begins."""

    name: str
    members: list[MemberPlan]
    rows: dict[Key, Body]
    body: Body | None
    """The deployment's own record, once the work is done; None when it is to be gone."""
    settled: bool
    """Nothing to do and nothing to write."""

    waves: tuple[tuple[str, ...], ...] = ()
    """Names of the servers that change together, wave after wave; empty when all may at once."""

    @property
    def targets(self) -> list[Key]:
        """The objects that the work needs for itself, the deployment first."""
        busy = [member for member in self.members if member.verbs or member.spares or member.vacates]
        keys = [("deployment", self.name)]
        keys += [("machine", member.machine) for member in busy if member.machine]
        clones = [name for member in busy for name in (member.clone, member.served, *member.spares) if name]
        volumes = dict.fromkeys(name for member in busy for names in member.data.values() for name in names)
        return [*keys, *(("clone", name) for name in clones), *(("volume", name) for name in volumes)]

    @property
    def leaving(self) -> list[str]:
        """The clones that go with their servers: the deployment's record names them until they are gone."""
        retired = [member for member in self.members if member.action == "retire"]
        return sorted({name for member in retired for name in (member.clone, *member.spares) if name})


# What the modules of these verbs call their items; the other modules are given machines.
_ON_CLONES = ("clone", "delete", "customize")
_TAKING_DOWN = ("deactivate", "detach")
_PREPARING = ("clone", "assign", "customize", "make_volumes")
_SWITCHING = {"deactivate", "attach", "activate"}

Work = dict[str, dict[str, list[dict[str, str]]]]
"""``{provider: {verb: [item]}}``, the items as the verbs' modules want them."""


@dataclasses.dataclass
class PlanStage:
    """Work that is done before the next begins, and in which stage its clones must be then."""

    title: str
    work: Work = dataclasses.field(default_factory=dict)
    expected: dict[str, str] = dataclasses.field(default_factory=dict)
    halts: bool = True
    """Whether nothing more may be done when not all went well."""

    def add(self, provider: str, verb: str, **item: str) -> None:
        """Have the verb done to an item."""
        self.work.setdefault(provider, {}).setdefault(verb, []).append(item)

    def to_record(self) -> Body:
        """Return the stage as it stands in results, with the tasks of role ``deploy`` that do it fastest."""
        verbs = {verb for work in self.work.values() for verb in work}
        return {**dataclasses.asdict(self), "tasks": "switch" if verbs <= _SWITCHING else "work"}


def batch_by_provider(plans: t.Iterable[DeploymentPlan]) -> Work:
    """Return the work of plans whose servers need not wait for each other."""
    stage = PlanStage("all")
    for plan in plans:
        for member in plan.members:
            for verb in member.verbs:
                for item in member.items_of(verb):
                    stage.add(member.provider, verb, **item)
            for name in member.spares:
                stage.add(member.provider, "delete", name=name)
            for provider in member.vacates:
                stage.add(provider, "abandon" if member.action == "retire" else "vacate", name=member.machine)
    return stage.work


def arrange_stages(plans: t.Sequence[DeploymentPlan], *, halting: bool) -> list[PlanStage]:
    """Return the work in stages: first everything that disturbs no server, then wave by wave, at last what is spare."""
    prepare, clean_up = PlanStage("prepare"), PlanStage("clean up")
    stages = [prepare, *arrange_moves([member for plan in plans for member in plan.members if member.to])]
    for plan in plans:
        members = {member.server: member for member in plan.members}
        for number, servers in enumerate(plan.waves, 1):
            title = f"wave {number} of {len(plan.waves)} of {plan.name}: {', '.join(servers)}"
            stage = PlanStage(title, halts=halting)
            for server in servers:
                _add_switch(prepare, stage, members[server])
            stages.append(stage)
        for member in plan.members:
            for name in member.spares:
                clean_up.add(member.provider, "delete", name=name)
    return [stage for stage in (*stages, clean_up) if stage.work]


def arrange_moves(members: t.Sequence[MemberPlan]) -> list[PlanStage]:
    """Return the work of machines that go to other providers; one that fails on the way is left out of what follows."""
    send = PlanStage("stop and send", halts=False)
    bring_up = PlanStage("receive and bring up", halts=False)
    live = PlanStage("migrate", halts=False)
    prove = PlanStage("prove", halts=False)
    vacate = PlanStage("leave", halts=False)
    for member in members:
        is_live = "migrate" in member.verbs
        for verb in member.verbs:
            if verb in ("deactivate", "detach", "send"):
                send.add(member.provider, verb, name=member.machine)
            elif verb == "migrate":
                live.add(member.provider, verb, name=member.machine)
            else:
                stage = prove if is_live and verb != "receive" else bring_up
                stage.add(member.to, verb, name=member.machine)
        for provider in member.vacates:
            vacate.add(provider, "vacate", name=member.machine)
    return [send, bring_up, live, prove, vacate]


def _add_switch(prepare: PlanStage, wave: PlanStage, member: MemberPlan) -> None:
    """Add one server's work: its next clone is made ready while it still serves."""
    for verb in member.verbs:
        # A clone that the machine serves already cannot be worked on beside it.
        stage = prepare if member.served and verb in _PREPARING else wave
        for item in member.items_of(verb):
            stage.add(member.provider, verb, **item)
        if stage is prepare:
            prepare.expected[member.clone] = "assigned"
    wave.expected[member.clone] = "active"

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
VERBS = ("deactivate", "detach", "unassign", "delete", "clone", "assign", "customize", "attach", "activate")

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
    """What happens to one server, and why. ``action``: keep, create, repair, change, retire or wait."""

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

    def to_record(self) -> Body:
        """Return the plan of one member as it stands in results."""
        return {**dataclasses.asdict(self), "verbs": list(self.verbs), "reasons": list(self.reasons)}


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

    @property
    def targets(self) -> list[Key]:
        """The objects that the work needs for itself, the deployment first."""
        busy = [member for member in self.members if member.verbs]
        keys = [("deployment", self.name)]
        keys += [("machine", member.machine) for member in busy]
        return keys + [("clone", member.clone) for member in busy]


# What the modules of these verbs call their items; the other modules are given machines.
_ON_CLONES = ("clone", "delete", "customize")


def batch_by_provider(plans: t.Iterable[DeploymentPlan]) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Return the work as ``{provider: {verb: [{name}]}}``, the items as the verbs' modules want them."""
    work: dict[str, dict[str, list[dict[str, str]]]] = {}
    for plan in plans:
        for member in plan.members:
            for verb in member.verbs:
                item = {"name": member.clone if verb in _ON_CLONES else member.machine}
                work.setdefault(member.provider, {}).setdefault(verb, []).append(item)
    return work

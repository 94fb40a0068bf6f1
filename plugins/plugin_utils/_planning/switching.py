# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan that a machine serves another clone: what it serves now goes on standby. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest
from ...module_utils._core.lifecycle import apply_event
from .ledger import Ledger
from .newcomers import Newcomers
from .plans import Body, MemberPlan, order_verbs, verbs_to_active
from .records import forget_content
from .world import find_missing_volume, find_pool_problem

SPENT = "spent"


@dataclasses.dataclass(frozen=True)
class Successor:
    """The clone that a machine shall serve next, and how it comes into being."""

    name: str
    stage: str
    reasons: tuple[str, ...] = ()
    method: str = ""
    estimated_bytes: int = 0


def choose_successor(ledger: Ledger, newcomers: Newcomers, draft: MemberPlan) -> Successor:
    """Return a clone of the newcomers' master for a machine: one that waits for it, an unused one, or a new one."""
    waiting = find_waiting(ledger, draft.machine, newcomers.master)
    if waiting is not None:
        body = _refresh(ledger, draft, waiting)
        return Successor(waiting, body["stage"], (f"clone {waiting} waits for this machine",))
    newcomers.require_replica(draft.provider, f"server {draft.server}")
    name, reasons = newcomers.reserve_clone(draft.provider)
    body = {**ledger.snapshot.clones[name], "machine": draft.machine}
    ledger.put("clone", name, body)
    if body["stage"] != "planned":
        return Successor(name, body["stage"], tuple(reasons))
    method, why, estimate = newcomers.estimate_clone(name, draft.provider)
    return Successor(name, "planned", (f"{method}: {why}",), method, estimate)


def find_waiting(ledger: Ledger, machine: str, master: str) -> str | None:
    """Return the clone of a master that waits for a machine, the last served one first; None when there is none."""
    clones = ledger.snapshot.clones
    fitting = (
        name
        for name in list_waiting(ledger, machine)
        if clones[name]["master"] == master and clones[name]["metastate"] != SPENT
    )
    return next(fitting, None)


def list_waiting(ledger: Ledger, machine: str) -> list[str]:
    """Return the clones that wait for a machine: those on standby, the last served one first, then prepared ones."""
    served = ledger.snapshot.machines[machine]["clone"]
    clones, provider = ledger.snapshot.clones, ledger.snapshot.machines[machine]["provider"]
    mine = [name for name, body in clones.items() if (body["machine"], body["provider"]) == (machine, provider)]
    waiting = [name for name in mine if name != served]
    return sorted(waiting, key=lambda name: (-(clones[name].get("turn") or 0), name))


def _refresh(ledger: Ledger, draft: MemberPlan, name: str) -> Body:
    """Return a waiting clone's record as its provider shows it."""
    body, view = ledger.snapshot.clones[name], ledger.views[draft.provider]
    problem = find_pool_problem(view, body)
    if problem:
        raise Conflict(f"clone {name}", problem, remedy="Repair that, and run the play again.")
    if find_missing_volume(view, body) is not None:
        body = forget_content(t.cast(Body, apply_event(name, body, "found_missing")))
        ledger.put("clone", name, body)
    return body


def plan_switch(draft: MemberPlan, stage: str, successor: Successor, *extra: str) -> MemberPlan:
    """Return the plan of a machine that serves a clone in ``stage`` and shall serve the successor."""
    down = ("deactivate",) if stage == "active" else ()
    return dataclasses.replace(
        draft,
        clone=successor.name,
        served=draft.clone,
        verbs=order_verbs(*down, *verbs_to_active(successor.stage), *extra),
        reasons=(*draft.reasons, *successor.reasons),
        method=successor.method,
        estimated_bytes=successor.estimated_bytes,
    )


def require_standby(ledger: Ledger, draft: MemberPlan, name: str) -> Successor:
    """Return a clone on standby as it is; raises :class:`Conflict` when nothing of it is left to go back to."""
    body = ledger.snapshot.clones.get(name)
    problem = "is not in the catalog any more" if body is None else ""
    if body is not None:
        view = ledger.views[draft.provider]
        missing, unseen = find_missing_volume(view, body), find_pool_problem(view, body)
        if body["machine"] != draft.machine:
            problem = "is no longer this machine's"
        elif body["stage"] != "assigned":
            problem = f"is {body['stage']}, so it never ran there"
        elif unseen:
            problem = f"cannot be seen: {unseen}"
        elif missing is not None:
            problem = f"has lost its volume {missing}"
    if problem:
        raise Conflict(
            f"server {draft.server}",
            f"the clone {name}, which it would go back to, {problem}",
            remedy="Update the deployment to the version that you want.",
        )
    return Successor(name, "assigned", (f"clone {name} is on standby",))


def list_spares(ledger: Ledger, machine: str, keep: int, needed: t.Collection[str]) -> tuple[str, ...]:
    """Return the clones of a machine that may go once it serves a needed one, of those on standby all but ``keep``."""
    clones = ledger.snapshot.clones
    served = ledger.snapshot.machines[machine]["clone"]
    waiting = [name for name in (served, *list_waiting(ledger, machine)) if name not in needed]
    standby = [name for name in waiting if clones[name].get("turn") and clones[name]["metastate"] != SPENT]
    return tuple(name for name in waiting if name not in standby[:keep])


def refuse_maintenance(ledger: Ledger, draft: MemberPlan) -> None:
    """Raise :class:`InvalidRequest` for a server whose clone is being changed into the next version."""
    if ledger.snapshot.clones[draft.clone]["metastate"] == "maintenance":
        raise InvalidRequest(
            f"server {draft.server}", f"its clone {draft.clone} is in maintenance", remedy="Capture or retire it first."
        )

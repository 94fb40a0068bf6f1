# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan that machines go to another provider, with their clones and addresses. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest
from ...module_utils._core.lifecycle import apply_event
from ...module_utils._core.placement import place_machine
from .destinations import Journey, find_live_obstacle, find_obstacle, to_need, to_open_candidate
from .ledger import Ledger
from .planner import accept_finding, conclude, draft_member, has_reservations, leave_unseen
from .plans import Body, DeploymentPlan, MemberPlan, order_verbs, verbs_to_active
from .request import MigrationRequest
from .updates import list_machines
from .whereabouts import list_vacated, move_clone, move_machine, move_volume
from .world import find_pool_problem, inspect_clone


def plan_migrations(ledger: Ledger, requests: t.Sequence[MigrationRequest]) -> list[DeploymentPlan]:
    """Plan where machines go; one plan for each deployment that they belong to."""
    members: dict[str, list[MemberPlan]] = {}
    asked: set[str] = set()
    for request in requests:
        refuse_unfenced(ledger, request)
        for machine in list_machines(ledger, request.deployment, request.machines):
            if machine in asked:
                raise InvalidRequest(f"machine {machine}", "it is to be migrated twice at once")
            asked.add(machine)
            deployment = str(ledger.snapshot.machines[machine]["deployment"])
            members.setdefault(deployment, []).append(plan_migration(ledger, request, machine))
    return [conclude(ledger, name, found, ledger.snapshot.deployments[name]) for name, found in members.items()]


def refuse_unfenced(ledger: Ledger, request: MigrationRequest) -> None:
    """Refuse the word of an operator that a provider is off, when it has just answered."""
    for name in request.fenced:
        if name in ledger.views:
            raise InvalidRequest(
                f"provider {name}",
                "it is said to be fenced, but it answered in this run",
                remedy="Leave fenced out; its machines can migrate as from any other provider.",
            )


def plan_migration(ledger: Ledger, request: MigrationRequest, machine: str) -> MemberPlan:
    """Plan one machine; one that is where it shall be stays."""
    draft = draft_member(ledger, machine)
    if draft.provider == request.to:
        return _plan_stay(ledger, draft)
    if draft.provider in request.fenced:
        return _plan_evacuation(ledger, request, draft)
    if draft.provider not in ledger.views:
        raise InvalidRequest(
            f"machine {machine}",
            f"its provider {draft.provider} was not reached in this run",
            remedy="Repair that. Say that it is fenced only when it is certain that no machine runs there any more.",
        )
    problem = find_pool_problem(ledger.views[draft.provider], ledger.snapshot.clones[draft.clone])
    if problem:
        raise InvalidRequest(f"machine {machine}", problem, remedy="Repair that, and run the play again.")
    reasons: list[str] = []
    stage = _require_deployed(draft, accept_finding(ledger, draft, reasons))
    journey = _choose_target(ledger, request, draft, reasons)
    is_live = _choose_live(request, journey, stage, reasons)
    return _prepare(ledger, draft, journey, reasons, verbs=_list_verbs(journey, stage, live=is_live))


def _require_deployed(draft: MemberPlan, clone: Body) -> str:
    """Return the stage of a machine's clone; refuse one that was never brought up."""
    stage = str(clone["stage"])
    early = stage if stage in ("planned", "unassigned") else "" if clone.get("customization") else "not customized yet"
    if early:
        raise InvalidRequest(
            f"machine {draft.machine}",
            f"its clone {draft.clone} is {early}",
            remedy="Run encompass.images.deploy first.",
        )
    return stage


def _plan_stay(ledger: Ledger, draft: MemberPlan) -> MemberPlan:
    """Plan a machine that is where it shall be: a run that was killed may not have brought it up, or cleared up."""
    held = leave_unseen(ledger, draft)
    if held is not None:
        return held
    reasons = [f"it is on {draft.provider} already"]
    verbs = verbs_to_active(_require_deployed(draft, accept_finding(ledger, draft, reasons)))
    if not has_reservations(ledger, draft):
        reasons.append("its address is not reserved on its network")
        verbs = order_verbs("assign", *verbs)
    left = list_vacated(ledger, draft.machine)
    return dataclasses.replace(
        draft,
        action="repair" if verbs else "keep",
        to=draft.provider if verbs or left else "",
        verbs=verbs,
        vacates=left,
        reasons=tuple(reasons),
    )


def _choose_target(ledger: Ledger, request: MigrationRequest, draft: MemberPlan, reasons: list[str]) -> Journey:
    """Return the way to the provider that was asked for, else to the best; refuse what no provider can take."""
    journeys = {
        name: Journey(ledger, draft, name, is_fenced=draft.provider in request.fenced)
        for name in ledger.views
        if name != draft.provider and request.to in ("", name)
    }
    if request.to and not journeys:
        known = ", ".join(sorted(ledger.views))
        raise InvalidRequest(
            f"machine {draft.machine}", f"no provider {request.to} was reached in this run (there are {known})"
        )
    obstacles = {name: find_obstacle(journey) for name, journey in journeys.items()}
    fitting = [name for name, obstacle in obstacles.items() if obstacle is None]
    if not fitting:
        listed = "; ".join(f"{name}: {obstacle}" for name, obstacle in sorted(obstacles.items()))
        raise InvalidRequest(
            f"machine {draft.machine}", f"it cannot migrate ({listed or 'there is no other provider'})"
        )
    need = to_need(journeys[fitting[0]])
    choice = place_machine(need, [to_open_candidate(journeys[name]) for name in fitting])
    reasons.append(f"moves from {draft.provider} to {choice.provider}: {'asked for' if request.to else choice.reason}")
    reasons += [f"not to {name}: {obstacle}" for name, obstacle in sorted(obstacles.items()) if obstacle]
    return journeys[choice.provider]


def _choose_live(request: MigrationRequest, journey: Journey, stage: str, reasons: list[str]) -> bool:
    """Tell whether the machine goes on running on its way."""
    if request.live is False:
        reasons.append("it is stopped on the way: asked for")
        return False
    obstacle = find_live_obstacle(journey) if stage == "active" else "it does not run"
    if obstacle is not None and request.live:
        raise InvalidRequest(
            f"machine {journey.draft.machine}",
            f"it cannot migrate while it runs: {obstacle}",
            remedy="Let it be stopped on the way (live: false).",
        )
    reasons.append(f"it is stopped on the way: {obstacle}" if obstacle else "it goes on running")
    return obstacle is None


def _list_verbs(journey: Journey, stage: str, *, live: bool) -> tuple[str, ...]:
    carried = () if journey.copies_nothing else ("send", "receive")
    if live:
        return order_verbs(*carried, "migrate", "assign", "activate")
    down = {"active": ("deactivate", "detach"), "attached": ("detach",)}.get(stage, ())
    return order_verbs(*down, *carried, "receive", "assign", *verbs_to_active("assigned"))


def _prepare(
    ledger: Ledger, draft: MemberPlan, journey: Journey, reasons: list[str], *, verbs: tuple[str, ...]
) -> MemberPlan:
    """Note in the machine's record where it is going, before anything is made there, and return its plan."""
    machine = ledger.snapshot.machines[draft.machine]
    also_on = sorted({*(machine.get("also_on") or ()), journey.to} - {draft.provider})
    ledger.put("machine", draft.machine, {**machine, "moving_to": journey.to, "also_on": also_on})
    for key, body in journey.data.items():
        ledger.put("volume", key, body)  # nobody else may touch it on the way
    reasons.append(_explain_copies(journey))
    left = [name for name in journey.list_standby() if not journey.is_shared_clone(name)]
    if left:
        reasons.append(f"{', '.join(left)} on standby cannot follow and is deleted once it answers there")
    others = [name for name in list_vacated(ledger, draft.machine) if name != journey.to]
    return dataclasses.replace(
        draft,
        action="migrate",
        to=journey.to,
        verbs=verbs,
        reasons=tuple(reasons),
        estimated_bytes=journey.count_bytes(),
        vacates=tuple(sorted({draft.provider, *others})),
    )


def _explain_copies(journey: Journey) -> str:
    data = ", ".join(str(body["volume"]) for body in journey.local_data.values())
    if journey.copies_nothing:
        return "its volumes are shared: nothing is copied"
    also = f"its data volume{'s' if len(journey.local_data) > 1 else ''} {data}" if data else ""
    return f"{' and '.join(filter(None, ['' if journey.is_shared else 'its volumes', also]))} are copied"


def _plan_evacuation(ledger: Ledger, request: MigrationRequest, draft: MemberPlan) -> MemberPlan:
    """Plan that a machine whose provider is off, by the operator's word, comes up from its shared volumes elsewhere."""
    reasons = [f"{draft.provider} is fenced, by the operator's word"]
    journey = _choose_target(ledger, request, draft, reasons)
    for name in (draft.clone, *journey.list_standby()):
        if journey.is_shared_clone(name):
            ledger.put("clone", name, _bring_over(journey, name))
    for key, body in journey.data.items():
        if body["pool_shared"]:
            ledger.put("volume", key, move_volume(body, journey.to, {}))
    machine = ledger.snapshot.machines[draft.machine]
    moved = move_machine(machine, journey.to)
    ledger.put("machine", draft.machine, moved)
    stage = ledger.snapshot.clones[draft.clone]["stage"]
    finding = inspect_clone(ledger.views[journey.to], ledger.snapshot.clones[draft.clone], draft.machine, moved)
    if finding is not None and finding.event != "found_running":
        raise Conflict(f"machine {draft.machine}", f"it cannot come up on {journey.to}: {finding.reason}")
    reasons.append(f"what {draft.provider} still has of it is removed when it is back")
    return dataclasses.replace(
        draft,
        action="migrate",
        to=journey.to,
        verbs=order_verbs("assign", *verbs_to_active(stage)),
        reasons=tuple(reasons),
    )


def _bring_over(journey: Journey, name: str) -> Body:
    """Return the record of a clone in a shared pool, which nobody runs, at the target."""
    clone = journey.ledger.snapshot.clones[name]
    if clone["stage"] in ("attached", "active"):
        clone = t.cast(Body, apply_event(name, clone, "found_fenced"))
    path = str(journey.target.pools[clone["pool"]]["path"])
    return move_clone(clone, journey.to, path, path)

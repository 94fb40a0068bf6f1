# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan that machines serve another function, and their own again. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import InvalidRequest
from .ledger import Ledger
from .masters import complete_inputs, require_master
from .newcomers import Newcomers
from .planner import accept_finding, conclude, draft_member, has_other_customization, hold_back, size_request
from .plans import Body, DeploymentPlan, MemberPlan, verbs_to_active
from .request import CURRENT, DeploymentRequest, ReassignRequest
from .switching import Successor, choose_successor, list_waiting, plan_switch, refuse_maintenance
from .updates import list_machines, plan_return, require_deployment


def plan_reassignments(ledger: Ledger, requests: t.Sequence[ReassignRequest]) -> list[DeploymentPlan]:
    """Plan what machines shall serve; one plan for each deployment that they belong to."""
    members: dict[str, list[MemberPlan]] = {}
    asked: dict[str, ReassignRequest] = {}
    for request in requests:
        for machine in list_machines(ledger, request.deployment, request.machines):
            if machine in asked:
                raise InvalidRequest(f"machine {machine}", "it is to be reassigned twice at once")
            asked[machine] = request
            deployment = str(ledger.snapshot.machines[machine]["deployment"])
            members.setdefault(deployment, []).append(plan_reassignment(ledger, request, machine))
    return [_conclude(ledger, name, found) for name, found in members.items()]


def plan_restoration(ledger: Ledger, clones: t.Mapping[str, str]) -> list[DeploymentPlan]:
    """Plan that machines serve again the clones given for them, because others did not come up there."""
    members: dict[str, list[MemberPlan]] = {}
    for machine, clone in clones.items():
        draft = draft_member(ledger, machine)
        member = plan_return(ledger, machine, clone, f"{draft.clone} did not come up")
        members.setdefault(str(ledger.snapshot.machines[machine]["deployment"]), []).append(member)
    return [_conclude(ledger, name, found) for name, found in members.items()]


def plan_reassignment(ledger: Ledger, request: ReassignRequest, machine: str) -> MemberPlan:
    """Plan one machine; one that serves the function already is brought up again where needed."""
    draft = draft_member(ledger, machine)
    held = hold_back(ledger, draft)
    if held is not None:
        return held
    refuse_maintenance(ledger, draft)
    reasons: list[str] = []
    clone = accept_finding(ledger, draft, reasons)
    wanted = _choose_master(ledger, request, draft)
    if wanted == draft.master:
        verbs = verbs_to_active(clone["stage"])
        return dataclasses.replace(draft, action="repair" if verbs else "keep", verbs=verbs, reasons=tuple(reasons))
    deployment = _to_deployment(ledger, request, draft, wanted)
    inputs = complete_inputs(f"machine {machine}", ledger.snapshot.masters[wanted], deployment.inputs)
    reasons.append(f"serves {request.function} with {wanted} instead of {draft.master}")
    draft = dataclasses.replace(draft, action="reassign", master=wanted, reasons=tuple(reasons))
    successor = choose_successor(ledger, Newcomers(ledger, deployment, wanted), draft)
    body = _give_role(ledger, request, successor)
    target = dataclasses.replace(draft, clone=successor.name)
    extra = ("customize",) if has_other_customization(ledger, target, body, inputs) else ()
    return plan_switch(draft, clone["stage"], successor, *extra)


def _choose_master(ledger: Ledger, request: ReassignRequest, draft: MemberPlan) -> str:
    """Return the master that a machine shall serve: the version asked for, else what it has, else the current one."""
    snapshot = ledger.snapshot
    if request.version == CURRENT:
        for name in (draft.clone, *list_waiting(ledger, draft.machine)):
            master = str(snapshot.clones[name]["master"])
            if snapshot.masters[master]["function"] == request.function:
                return master
    asked = DeploymentRequest(f"machine {draft.machine}", request.function, version=request.version)
    return require_master(asked, snapshot.masters, snapshot.functions)


def _to_deployment(ledger: Ledger, request: ReassignRequest, draft: MemberPlan, wanted: str) -> DeploymentRequest:
    """Return the reassignment as a deployment on this very machine; refuse a machine that is too small."""
    snapshot = ledger.snapshot
    machine = snapshot.machines[draft.machine]
    home = require_deployment(ledger, machine["deployment"])["spec"]
    asked = DeploymentRequest(
        name=str(machine["deployment"]),
        function=request.function,
        cpus=machine["cpus"],
        memory_mib=machine["memory_mib"],
        pool=snapshot.clones[draft.clone]["pool"],
        method=home["method"],
        inputs=request.inputs,
    )
    return size_request(asked, snapshot.masters[wanted])


def _give_role(ledger: Ledger, request: ReassignRequest, successor: Successor) -> Body:
    """Return the successor's record, which tells how its server answers where that is not as its deployment says."""
    body = ledger.snapshot.clones[successor.name]
    if request.ready is None:
        return body
    body = {**body, "ready": dataclasses.asdict(request.ready)}
    ledger.put("clone", successor.name, body)
    return body


def _conclude(ledger: Ledger, name: str, members: list[MemberPlan]) -> DeploymentPlan:
    plan = conclude(ledger, name, members, ledger.snapshot.deployments[name])
    servers = tuple(member.server for member in members if member.verbs)
    return dataclasses.replace(plan, waves=(servers,) if servers else ())

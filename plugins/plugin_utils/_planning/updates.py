# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan that deployments move to another version of their master, and back. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import InvalidRequest
from .data_volumes import plan_data
from .ledger import Ledger
from .masters import complete_inputs, require_master
from .newcomers import Newcomers
from .planner import (
    accept_finding,
    change_machine,
    conclude,
    draft_member,
    has_other_customization,
    has_reservations,
    hold_back,
    is_reassigned,
    plan_known,
    size_request,
)
from .plans import Body, DeploymentPlan, MemberPlan, verbs_to_active
from .request import DeploymentRequest
from .switching import (
    choose_successor,
    list_spares,
    plan_switch,
    refuse_maintenance,
    require_standby,
)
from .waves import Wave, split_waves


def plan_update(ledger: Ledger, request: DeploymentRequest, waves: t.Sequence[Wave]) -> DeploymentPlan:
    """Plan to bring all servers of a deployment to the version that it asks for."""
    master_name = require_master(request, ledger.snapshot.masters, ledger.snapshot.functions)
    recorded = require_deployment(ledger, request.name)
    mover = _Mover(ledger, request, master_name)
    members = [mover.plan_server(machine) for machine in ledger.machines_of(request.name).values()]
    body = {**recorded, "spec": {**recorded["spec"], "version": request.version}}
    update = _note_previous(recorded.get("update"), master_name, members)
    if update is not None:
        body["update"] = update
    plan = conclude(ledger, request.name, members, body)
    return dataclasses.replace(plan, waves=split_waves(_list_busy(members), waves))


def plan_rollback(ledger: Ledger, name: str, waves: t.Sequence[Wave]) -> DeploymentPlan:
    """Plan to bring a deployment's servers back to the clones that they served when its last update began."""
    recorded = require_deployment(ledger, name)
    update = recorded.get("update")
    if not update:
        raise InvalidRequest(f"deployment {name}", "it was never updated, so there is nothing to go back to")
    members = [
        plan_return(ledger, machine, update["previous"].get(machine), f"{update['to']} is taken back")
        for machine in ledger.machines_of(name).values()
    ]
    plan = conclude(ledger, name, members, recorded)
    return dataclasses.replace(plan, waves=split_waves(_list_busy(members), waves))


def plan_return(ledger: Ledger, machine: str, clone: str | None, reason: str) -> MemberPlan:
    """Plan that a machine serves a clone again, which is on standby unless it never went; None is as it is."""
    draft = draft_member(ledger, machine)
    if clone is None:
        return draft
    held = hold_back(ledger, draft)
    if held is not None:
        return held
    refuse_maintenance(ledger, draft)
    found: list[str] = []
    served = accept_finding(ledger, draft, found)
    if clone == draft.clone:
        verbs = verbs_to_active(served["stage"])
        return dataclasses.replace(draft, action="repair" if verbs else "keep", verbs=verbs, reasons=tuple(found))
    successor = require_standby(ledger, draft, clone)
    draft = dataclasses.replace(
        draft,
        action="return",
        master=ledger.snapshot.clones[clone]["master"],
        reasons=(reason, *found),
    )
    return plan_switch(draft, served["stage"], successor)


def require_deployment(ledger: Ledger, name: str) -> Body:
    """Return a deployment's record."""
    recorded = ledger.snapshot.deployments.get(name)
    if recorded is None:
        known = ", ".join(sorted(ledger.snapshot.deployments)) or "none"
        raise InvalidRequest(
            f"deployment {name}",
            f"the catalog has no deployment of this name (it has {known})",
            remedy="Run encompass.images.deploy first.",
        )
    return recorded


def list_machines(ledger: Ledger, deployment: str, machines: t.Sequence[str]) -> list[str]:
    """Return all machines of a deployment, or those named; raises :class:`InvalidRequest` for what is not there."""
    if deployment:
        require_deployment(ledger, deployment)
        return list(ledger.machines_of(deployment).values())
    for name in machines:
        machine = ledger.snapshot.machines.get(name)
        if machine is None or not machine.get("deployment"):
            known = ", ".join(sorted(ledger.snapshot.machines)) or "none"
            raise InvalidRequest(f"machine {name}", f"no deployment has a machine of this name (there are {known})")
    return list(machines)


class _Mover:
    """Plans the servers of one deployment that moves to one master."""

    def __init__(self, ledger: Ledger, request: DeploymentRequest, master_name: str) -> None:
        master = ledger.snapshot.masters[master_name]
        self._ledger = ledger
        self._inputs = complete_inputs(f"deployment {request.name}", master, request.inputs)
        self._request = size_request(request, master)
        self._master_name = master_name
        self._newcomers = Newcomers(ledger, self._request, master_name)

    def plan_server(self, machine: str) -> MemberPlan:
        """Plan one server; one that runs the version already is brought up again where needed."""
        ledger = self._ledger
        draft = draft_member(ledger, machine)
        if draft.master == self._master_name or is_reassigned(ledger, draft, self._request):
            return self._add_spares(plan_known(ledger, self._request, machine, self._inputs))
        held = hold_back(ledger, draft, self._request)
        if held is not None:
            return held
        refuse_maintenance(ledger, draft)
        reasons: list[str] = [f"moves from {draft.master} to {self._master_name}"]
        served = accept_finding(ledger, draft, reasons)
        reasons += change_machine(ledger, self._request, draft)
        data = plan_data(ledger, self._request, draft)
        reasons += [*data.found, *data.changes, *data.remarks]
        draft = dataclasses.replace(
            draft, action="update", master=self._master_name, reasons=tuple(reasons), data=data.work
        )
        successor = choose_successor(ledger, self._newcomers, draft)
        target = dataclasses.replace(draft, clone=successor.name)
        extra = (*data.work, *(() if has_reservations(ledger, draft) else ("assign",)))
        if has_other_customization(ledger, target, ledger.snapshot.clones[successor.name], self._inputs):
            extra += ("customize",)
        return self._add_spares(plan_switch(draft, served["stage"], successor, *extra))

    def _add_spares(self, member: MemberPlan) -> MemberPlan:
        if member.action in ("wait", "refuse"):
            return member
        update = self._ledger.snapshot.deployments[self._request.name].get("update") or {}
        # What a halted update would go back to is still needed when it is taken up again.
        began = update.get("previous", {}) if update.get("to") == self._master_name else {}
        needed = {member.clone, began.get(member.machine, member.clone)}
        return dataclasses.replace(
            member, spares=list_spares(self._ledger, member.machine, self._request.standby, needed)
        )


def _note_previous(update: Body | None, master_name: str, members: t.Sequence[MemberPlan]) -> Body | None:
    """Return what the deployment's record tells of its update: where to, and what each machine served before.

    An update that is taken up again began where it began at first.
    """
    began = update["previous"] if update and update["to"] == master_name else {}
    served = {member.machine: member.served for member in members if member.served}
    if not served and not began:
        return update
    there = {member.machine for member in members}
    return {"to": master_name, "previous": {**served, **{name: began[name] for name in began if name in there}}}


def _list_busy(members: t.Sequence[MemberPlan]) -> list[str]:
    return [member.server for member in members if member.verbs]

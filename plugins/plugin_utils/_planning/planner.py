# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan deployments: from what is declared, recorded and seen, to what each member needs. Pure; private to this
collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import InvalidRequest
from ...module_utils._core.lifecycle import apply_event
from ...module_utils._core.placement import find_obstacle
from .data_volumes import find_refusal, plan_data, plan_farewell, plan_remains
from .ledger import Ledger
from .masters import complete_inputs, digest_items, require_master
from .newcomers import Newcomers, build_need
from .plans import Body, DeploymentPlan, MemberPlan, order_verbs, verbs_to_active, verbs_to_gone, verbs_to_remake
from .records import describe_server, forget_content, new_deployment_record
from .request import DeploymentRequest
from .switching import choose_successor, plan_switch
from .whereabouts import list_vacated
from .world import find_pool_problem, inspect_clone, to_candidate


def plan_deployment(ledger: Ledger, request: DeploymentRequest) -> DeploymentPlan:
    """Plan everything that makes the world match one declared deployment."""
    snapshot = ledger.snapshot
    master_name = require_master(request, snapshot.masters, snapshot.functions)
    master = snapshot.masters[master_name]
    inputs = complete_inputs(f"deployment {request.name}", master, request.inputs)
    request = size_request(request, master)
    known = ledger.machines_of(request.name)
    members = [plan_surplus(ledger, name) for server, name in known.items() if server not in set(request.servers)]
    newcomers = Newcomers(ledger, request, master_name)
    for server in request.servers:
        if server in known:
            members.append(plan_known(ledger, request, known[server], inputs))
        else:
            members.append(newcomers.plan_member(server))
    members += plan_leavings(ledger, request.name) + plan_remains(ledger, request.name, request.servers)
    body = new_deployment_record(request, master, inputs)
    update = snapshot.deployments.get(request.name, {}).get("update")
    return conclude(ledger, request.name, members, {**body, "update": update} if update else body)


def plan_retirement(ledger: Ledger, name: str) -> DeploymentPlan:
    """Plan to take a whole deployment away; one that is gone already needs nothing."""
    members = [plan_surplus(ledger, machine) for machine in ledger.machines_of(name).values()]
    return conclude(ledger, name, [*members, *plan_leavings(ledger, name), *plan_remains(ledger, name, ())], None)


def conclude(ledger: Ledger, name: str, members: list[MemberPlan], body: Body | None) -> DeploymentPlan:
    """Return the plan of a deployment from the plans of its members."""
    rows = ledger.take_rows(name)
    busy = any(member.verbs or member.vacates for member in members)
    waiting = any(member.action in ("wait", "refuse") for member in members)
    recorded = ledger.snapshot.deployments.get(name)
    if body is None and waiting:
        body = recorded
    return DeploymentPlan(name, members, rows, body, settled=not busy and not rows and recorded == body)


def size_request(request: DeploymentRequest, master: Body) -> DeploymentRequest:
    """Return the request with a size, the master's least where none is given; refuse one that is too small."""
    hardware = master["hardware"]
    sized = dataclasses.replace(
        request,
        cpus=request.cpus or hardware.get("min_cpus") or 1,
        memory_mib=request.memory_mib or hardware.get("min_memory_mib") or 512,
    )
    for field, least in (("cpus", "min_cpus"), ("memory_mib", "min_memory_mib")):
        if getattr(sized, field) < (hardware.get(least) or 0):
            raise InvalidRequest(
                f"deployment {request.name}",
                f"its {field} is {getattr(sized, field)}, the master needs at least {hardware[least]}",
            )
    return sized


def plan_surplus(ledger: Ledger, machine_name: str) -> MemberPlan:
    """Plan to take one server and its machine away."""
    draft = draft_member(ledger, machine_name)
    held = leave_unseen(ledger, draft)
    if held is not None:
        return held
    reasons = ["no longer wanted"]
    clone = accept_finding(ledger, draft, reasons)
    # The address is reserved as soon as a machine is planned: unassign gives it back, from whatever stage.
    verbs = ("unassign", *verbs_to_gone(clone["stage"]), *_verbs_against_domain(ledger, draft))
    data = plan_farewell(ledger, draft.server)
    clones = ledger.snapshot.clones.items()
    spares = [name for name, body in clones if (body["machine"], body["provider"]) == (machine_name, draft.provider)]
    return dataclasses.replace(
        draft,
        action="retire",
        verbs=order_verbs(*verbs, *data.work),
        reasons=(*reasons, *data.found),
        data=data.work,
        spares=tuple(sorted(set(spares) - {draft.clone})),
        vacates=list_vacated(ledger, machine_name),
    )


def plan_leavings(ledger: Ledger, deployment: str) -> list[MemberPlan]:
    """Plan to delete clones whose servers an earlier run took away, which then did not get further."""
    members = []
    for name in (ledger.snapshot.deployments.get(deployment) or {}).get("leaving") or ():
        clone = ledger.snapshot.clones.get(name)
        if clone is not None and clone["machine"] is None:
            draft = MemberPlan(
                name, "retire", clone["provider"], "", name, clone["master"], (), ("its server is gone",)
            )
            members.append(leave_unseen(ledger, draft) or dataclasses.replace(draft, verbs=("delete",)))
    return members


def _verbs_against_domain(ledger: Ledger, draft: MemberPlan) -> tuple[str, ...]:
    """Return what takes a machine's domain away, whatever its record says: a killed run may have defined it."""
    domain = ledger.views[draft.provider].domains.get(draft.machine)
    if domain is None:
        return ()
    return ("deactivate", "detach") if domain["active"] else ("detach",)


def draft_member(ledger: Ledger, machine_name: str) -> MemberPlan:
    """Return the plan of a known server that changes nothing."""
    machine = ledger.snapshot.machines[machine_name]
    return MemberPlan(
        server=machine["server"],
        action="keep",
        provider=machine["provider"],
        machine=machine_name,
        clone=machine["clone"],
        master=ledger.snapshot.clones[machine["clone"]]["master"],
        verbs=(),
        reasons=(),
    )


def leave_unseen(ledger: Ledger, draft: MemberPlan) -> MemberPlan | None:
    """Return the plan of a server whose provider or pool nobody could look at; None when both were seen."""
    if draft.provider not in ledger.views:
        reason = f"provider {draft.provider} was not reached in this run; left as it is"
        return dataclasses.replace(draft, action="wait", reasons=(reason,))
    problem = find_pool_problem(ledger.views[draft.provider], ledger.snapshot.clones[draft.clone])
    return dataclasses.replace(draft, action="refuse", reasons=(problem,)) if problem else None


def hold_back(ledger: Ledger, draft: MemberPlan, request: DeploymentRequest | None = None) -> MemberPlan | None:
    """Return the plan of a server that must be left alone, unseen or with lost data; None when there is no reason."""
    held = leave_unseen(ledger, draft)
    if held is not None:
        return held
    declared = [data.name for data in request.data] if request else []
    names = [*(ledger.snapshot.machines[draft.machine].get("data") or ()), *declared]
    refusal = find_refusal(ledger, draft.server, draft.provider, names)
    return dataclasses.replace(draft, action="refuse", reasons=(refusal,)) if refusal else None


def accept_finding(ledger: Ledger, draft: MemberPlan, reasons: list[str]) -> Body:
    """Return the clone's record as its provider shows it; a difference is put into the record and gets a reason."""
    clone = ledger.snapshot.clones[draft.clone]
    finding = inspect_clone(ledger.views[draft.provider], clone, draft.machine, ledger.snapshot.machines[draft.machine])
    if finding is None:
        return clone
    reasons.append(finding.reason)
    found = t.cast(Body, apply_event(draft.clone, clone, finding.event))
    if finding.event == "found_missing":
        found = forget_content(found)
    ledger.put("clone", draft.clone, found)
    return found


def plan_known(ledger: Ledger, request: DeploymentRequest, machine_name: str, inputs: Body) -> MemberPlan:
    """Plan what a server that exists needs to be as declared."""
    draft = draft_member(ledger, machine_name)
    held = hold_back(ledger, draft, request)
    if held is not None:
        return held
    found: list[str] = []
    clone = accept_finding(ledger, draft, found)
    if clone["metastate"] == "maintenance":
        return dataclasses.replace(draft, reasons=("it is in maintenance; left as it is",))
    if clone["metastate"] == "spent":
        return replace_spent(ledger, request, draft)
    verbs = verbs_to_active(clone["stage"])
    if verbs and not found:
        found.append(f"an earlier run left it {clone['stage']}")
    if is_reassigned(ledger, draft, request):
        found.append(f"it was reassigned: it serves {draft.master}")
        return dataclasses.replace(draft, action="repair" if verbs else "keep", verbs=verbs, reasons=tuple(found))
    data = plan_data(ledger, request, draft)
    found += data.found
    changes = [*change_machine(ledger, request, draft), *data.changes]
    # A domain that was found running has yet to prove that its server answers.
    extra: tuple[str, ...] = ("activate",) if found and clone["stage"] == "active" else ()
    if not has_reservations(ledger, draft):
        found.append("its address is not reserved on its network")
        extra += ("assign",)
    if has_other_customization(ledger, draft, clone, inputs):
        (found if clone["metastate"] == "clean" else changes).append("its customization is not as declared")
        extra += ("customize",)
    extra += tuple(data.work)
    verbs = verbs_to_remake(clone["stage"], *verbs, *extra) if changes else order_verbs(*verbs, *extra)
    action = "change" if changes and not found else "repair" if verbs else "keep"
    reasons = (*found, *changes, *data.remarks, *note_newer_version(ledger, draft, request))
    draft = dataclasses.replace(draft, action=action, verbs=verbs, reasons=reasons, data=data.work)
    return add_vacated(ledger, draft)


def replace_spent(ledger: Ledger, request: DeploymentRequest, draft: MemberPlan) -> MemberPlan:
    """Plan that a server whose clone became a master serves another one; ``request`` is sized already."""
    wanted = require_master(request, ledger.snapshot.masters, ledger.snapshot.functions)
    reason = f"its clone {draft.clone} became a master"
    draft = dataclasses.replace(draft, action="repair", master=wanted, reasons=(reason,))
    stage = ledger.snapshot.clones[draft.clone]["stage"]
    return plan_switch(draft, stage, choose_successor(ledger, Newcomers(ledger, request, wanted), draft))


def add_vacated(ledger: Ledger, member: MemberPlan) -> MemberPlan:
    """Have what a server left on other providers removed, once it runs where it is."""
    left = list_vacated(ledger, member.machine)
    if not left or set(member.verbs) - {"assign"} or ledger.snapshot.clones[member.clone]["stage"] != "active":
        return member
    action = "repair" if member.action == "keep" else member.action
    reason = f"something of it may be left on {', '.join(left)}, from where or to where it migrated"
    return dataclasses.replace(member, action=action, vacates=left, reasons=(*member.reasons, reason))


def is_reassigned(ledger: Ledger, draft: MemberPlan, request: DeploymentRequest) -> bool:
    """Tell whether a server serves another function than its deployment's."""
    return bool(ledger.snapshot.masters[draft.master]["function"] != request.function)


def has_reservations(ledger: Ledger, draft: MemberPlan) -> bool:
    """Tell whether the networks hand the machine all its addresses."""
    view = ledger.views[draft.provider]
    return all(view.reservation_exists(nic) for nic in ledger.snapshot.machines[draft.machine]["nics"])


def has_other_customization(ledger: Ledger, draft: MemberPlan, clone: Body, inputs: Body) -> bool:
    """Tell whether a customized clone would be customized otherwise today."""
    if not clone.get("customization"):
        return clone["stage"] in ("assigned", "attached")
    master = ledger.snapshot.masters[draft.master]
    server = describe_server(draft.machine, ledger.snapshot.machines[draft.machine], master)
    wanted = digest_items(master, inputs, server)
    applied = [{key: item[key] for key in ("name", "digest")} for item in clone["customization"]["applied"]]
    return applied != wanted


def note_newer_version(ledger: Ledger, draft: MemberPlan, request: DeploymentRequest) -> list[str]:
    """Return a remark when the server runs another version than the deployment asks for."""
    wanted = require_master(request, ledger.snapshot.masters, ledger.snapshot.functions)
    return [] if wanted == draft.master else [f"runs {draft.master}, {wanted} is wanted: deploy leaves that to update"]


def change_machine(ledger: Ledger, request: DeploymentRequest, draft: MemberPlan) -> list[str]:
    """Put the declared size and networks into the machine's record; return what differs from record or domain."""
    machine = ledger.snapshot.machines[draft.machine]
    view = ledger.views[draft.provider]
    domain = view.domains.get(draft.machine, machine)
    changes = [
        f"{field} {domain[field]} -> {getattr(request, field)}"
        for field in ("cpus", "memory_mib")
        if domain[field] != getattr(request, field)
    ]
    nics = ledger.plan_nics(request, draft.machine, view, machine["nics"])
    if nics != machine["nics"]:
        changes.append("its networks are not as declared")
    wanted = {
        **machine,
        "cpus": request.cpus,
        "memory_mib": request.memory_mib,
        "nics": nics,
        "ready": dataclasses.asdict(request.ready) if request.ready else None,
        "stop_timeout_s": request.stop_timeout_s,
    }
    if wanted != machine:
        check_growth(ledger, request, draft)
        ledger.put("machine", draft.machine, wanted)
    return changes


def check_growth(ledger: Ledger, request: DeploymentRequest, draft: MemberPlan) -> None:
    """Refuse a size that the server's provider cannot give."""
    snapshot, view = ledger.snapshot, ledger.views[draft.provider]
    others = {name: machine for name, machine in snapshot.machines.items() if name != draft.machine}
    candidate = to_candidate(view, snapshot.masters, others, request.name)
    need = build_need(request, draft.server, draft.master, snapshot.masters[draft.master])
    obstacle = find_obstacle(dataclasses.replace(need, providers=(), volume_bytes=0), candidate)
    if obstacle is not None:
        raise InvalidRequest(need.subject, f"its provider {draft.provider} cannot give it that: {obstacle}")

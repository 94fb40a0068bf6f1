# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the data volumes of servers: made once, kept, and never made again unasked. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.data_volumes import join_name, path_of, serial_of
from ...module_utils._core.errors import InvalidRequest
from ...module_utils._core.pool_layout import format_bytes
from .ledger import Ledger
from .plans import Body, MemberPlan
from .request import DataVolume, DeploymentRequest
from .world import ProviderView

_FIXED = ("pool", "format")


@dataclasses.dataclass
class DataPlan:
    """What happens to one server's data volumes."""

    work: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Names of volumes by verb."""
    found: list[str] = dataclasses.field(default_factory=list)
    """Reasons for work that disturbs nobody."""
    changes: list[str] = dataclasses.field(default_factory=list)
    """Reasons for which the server has to be stopped."""
    remarks: list[str] = dataclasses.field(default_factory=list)

    def add(self, verb: str, name: str) -> None:
        """Have a verb done to a volume."""
        self.work[verb] = (*self.work.get(verb, ()), name)


def new_volume_record(
    server: str, data: DataVolume, *, deployment: str | None, provider: str, pool: t.Mapping[str, t.Any]
) -> Body:
    """Return the record of a data volume that is planned and does not exist yet; ``pool`` as discover tells it."""
    name = join_name(server, data.name)
    return {
        "server": server,
        "volume": data.name,
        "deployment": deployment,
        "provider": provider,
        "pool": data.pool,
        "pool_shared": bool(pool["shared"]),
        "path": path_of(pool["path"], name, data.format),
        "format": data.format,
        "virtual_bytes": data.virtual_bytes,
        "bus": data.bus,
        "serial": serial_of(server, data.name),
        "filesystem": data.filesystem or None,
        "label": data.label or None,
        "stage": "planned",
        "last_error": None,
    }


def resize_record(name: str, record: Body, data: DataVolume) -> Body:
    """Return a volume's record with the declared size and bus; refuse what cannot change."""
    for field in _FIXED:
        if record[field] != getattr(data, field):
            raise InvalidRequest(
                f"volume {name}",
                f"its {field} is {record[field]}, and {getattr(data, field)} is asked for",
                remedy="Declare it as it is, or declare another volume and copy in the guest.",
            )
    if data.virtual_bytes < record["virtual_bytes"]:
        raise InvalidRequest(
            f"volume {name}",
            f"it has {format_bytes(record['virtual_bytes'])}, and {format_bytes(data.virtual_bytes)} are asked for",
            remedy="A data volume can grow, never shrink.",
        )
    return {**record, "virtual_bytes": data.virtual_bytes, "bus": data.bus}


def find_refusal(ledger: Ledger, server: str, provider: str, names: t.Iterable[str]) -> str:
    """Return why a server must be left alone: a data volume of it is lost or out of reach; "" when all is well."""
    view = ledger.views[provider]
    for name in dict.fromkeys(names):
        key = join_name(server, name)
        record = ledger.snapshot.volumes.get(key)
        if record is None or record["stage"] != "available":
            continue
        problem = ""
        if not _is_reached(record, view):
            problem = f"is in pool {record['pool']} of {record['provider']}, which {provider} does not reach"
        elif record["path"] not in view.data and key not in ledger.wishes.recreate:
            problem = (
                f"is lost: {record['path']} is gone. It is never made anew by itself. Bring the file back, or have "
                f"deploy make it again, empty, by encompass_recreate_data: [{key}]"
            )
        if problem:
            return f"its data volume {name} {problem}"
    return ""


def _is_reached(record: Body, view: ProviderView) -> bool:
    return record["pool"] in view.pools and (record["provider"] == view.name or record["pool_shared"])


def plan_data(ledger: Ledger, request: DeploymentRequest, draft: MemberPlan) -> DataPlan:
    """Plan the declared data volumes of a server that is there, and write them into its machine's record.

    Nothing of them may be lost (:func:`find_refusal`).
    """
    machine = ledger.snapshot.machines[draft.machine]
    plan = DataPlan()
    declared = {data.name: data for data in request.data}
    for data in request.data:
        _plan_volume(ledger, plan, draft, data)
    have = machine.get("data") or []
    # Whoever is there already keeps its place among the disks.
    wanted = [name for name in have if name in declared] + [name for name in declared if name not in have]
    if wanted != have:
        ledger.put("machine", draft.machine, {**machine, "data": wanted})
    _compare_domain(ledger, plan, draft, wanted)
    for key, record in volumes_of(ledger, draft.server).items():
        if record["volume"] not in declared:
            plan.remarks.append(f"its data volume {record['volume']} is not declared any more: {key} is kept, unused")
    return plan


def reserve_data(ledger: Ledger, request: DeploymentRequest, draft: MemberPlan) -> DataPlan:
    """Plan the declared data volumes of a new server; those of its former life are used again."""
    plan = DataPlan()
    for data in request.data:
        known = join_name(draft.server, data.name) in ledger.snapshot.volumes
        _plan_volume(ledger, plan, draft, data)
        if known:
            plan.found.append(f"its data volume {data.name} is there from before")
    if request.data:
        machine = ledger.snapshot.machines[draft.machine]
        ledger.put("machine", draft.machine, {**machine, "data": [data.name for data in request.data]})
    return plan


def _plan_volume(ledger: Ledger, plan: DataPlan, draft: MemberPlan, data: DataVolume) -> None:
    key, view = join_name(draft.server, data.name), ledger.views[draft.provider]
    record = ledger.snapshot.volumes.get(key)
    if record is None or not _is_reached(record, view):
        if data.pool not in view.pools:
            raise InvalidRequest(f"server {draft.server}", f"its provider {view.name} does not reach pool {data.pool}")
        body = new_volume_record(
            draft.server,
            data,
            deployment=ledger.snapshot.machines[draft.machine]["deployment"],
            provider=view.name,
            pool=view.pools[data.pool],
        )
    else:
        body = {**resize_record(key, record, data), "provider": view.name}
        if record["stage"] == "available" and record["path"] not in view.data:
            plan.found.append(f"its data volume {data.name} is lost, and made anew as encompass_recreate_data says")
            body["stage"] = "planned"
    # Also when nothing changes: it must not be deleted by another run meanwhile.
    is_new_here = data.name not in (ledger.snapshot.machines[draft.machine].get("data") or ())
    if body != record or is_new_here:
        ledger.put("volume", key, body)
    if body["stage"] == "planned":
        plan.add("make_volumes", key)
        plan.found.append(f"its data volume {data.name} ({format_bytes(data.virtual_bytes)}) is to be made")
    elif view.data[body["path"]] < data.virtual_bytes:
        plan.add("grow_volumes", key)
        before = format_bytes(view.data[body["path"]])
        plan.changes.append(
            f"its data volume {data.name} grows from {before} to {format_bytes(data.virtual_bytes)}, while it is off"
        )


def _compare_domain(ledger: Ledger, plan: DataPlan, draft: MemberPlan, wanted: t.Sequence[str]) -> None:
    """Note for which volumes the machine, if it is defined, has to be defined anew."""
    domain = ledger.views[draft.provider].domains.get(draft.machine)
    if domain is None:
        return
    disks = dict(zip(domain.get("disks", ()), domain.get("disk_buses", ())))
    for key, record in volumes_of(ledger, draft.server).items():
        name, path = record["volume"], record["path"]
        if name not in wanted:
            if path in disks:
                plan.changes.append(f"its data volume {name} is to be detached")
        elif path not in disks or key in plan.work.get("make_volumes", ()):
            plan.changes.append(f"its data volume {name} is to be attached")
        elif disks[path] != record["bus"]:
            plan.changes.append(f"its data volume {name} is on {disks[path]} instead of {record['bus']}")
    if plan.changes:
        plan.changes, plan.found = plan.found + plan.changes, []


def volumes_of(ledger: Ledger, server: str) -> dict[str, Body]:
    """Return the records of all data volumes of a server, declared or not."""
    return {key: body for key, body in sorted(ledger.snapshot.volumes.items()) if body["server"] == server}


def plan_farewell(ledger: Ledger, server: str) -> DataPlan:
    """Plan what becomes of the data volumes of a server that is no longer wanted: kept, unless they are to go."""
    plan = DataPlan()
    for key in volumes_of(ledger, server):
        if ledger.wishes.retire:
            plan.add("drop_volumes", key)
            plan.found.append(f"its data volume {key} is deleted, as encompass_retire_data says")
        else:
            plan.found.append(f"its data volume {key} is kept")
    return plan


def plan_remains(ledger: Ledger, deployment: str, wanted: t.Collection[str]) -> list[MemberPlan]:
    """Plan to delete what servers of a deployment left behind that went earlier, if that is asked for."""
    there = {machine["server"] for machine in ledger.snapshot.machines.values()}
    owners = {
        (body["server"], body["provider"])
        for body in ledger.snapshot.volumes.values()
        if body["deployment"] == deployment and body["server"] not in there and body["server"] not in wanted
    }
    members = []
    for server, provider in sorted(owners) if ledger.wishes.retire else ():
        draft = MemberPlan(server, "wait", provider, "", "", "", (), (f"provider {provider} was not reached",))
        if provider in ledger.views:
            plan = plan_farewell(ledger, server)
            draft = dataclasses.replace(
                draft, action="retire", verbs=("drop_volumes",), reasons=tuple(plan.found), data=plan.work
            )
        members.append(draft)
    return members


def list_homes(ledger: Ledger, request: DeploymentRequest, server: str) -> tuple[list[str] | None, str]:
    """Return (the providers that reach what a new server has already, why none does); None when it has nothing."""
    keys = {join_name(server, data.name) for data in request.data}
    views = ledger.views.values()
    records = [
        body
        for key, body in volumes_of(ledger, server).items()
        if key in keys and (key not in ledger.wishes.recreate or any(_is_reached(body, view) for view in views))
    ]
    if not records:
        return None, ""
    homes = [view.name for view in views if all(_is_reached(record, view) for record in records)]
    volume, provider = records[0]["volume"], records[0]["provider"]
    return homes, "" if homes else f"its data volume {volume} is on {provider}, which was not reached in this run"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the members of a deployment that do not exist yet. Pure; private to this collection."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

from ...module_utils._core.errors import NotFound
from ...module_utils._core.placement import Candidate, Choice, Need, place_machine, take_room
from .data_volumes import find_refusal, list_homes, reserve_data
from .ledger import Ledger
from .plans import Body, MemberPlan, order_verbs, verbs_to_active
from .records import estimate_clone, new_clone_record, new_machine_record
from .request import DeploymentRequest
from .world import to_candidate


class Newcomers:
    """Finds providers, clones and names for new members of one deployment, each knowing what the last one took."""

    def __init__(self, ledger: Ledger, request: DeploymentRequest, master: str) -> None:
        self._ledger = ledger
        self._request = request
        self.master = master
        self._master = ledger.snapshot.masters[master]
        snapshot = ledger.snapshot
        self._candidates: dict[str, Candidate] = {
            view.name: to_candidate(view, snapshot.masters, snapshot.machines, request.name)
            for view in ledger.views.values()
        }
        self._unused = find_unused_clones(snapshot.clones, master, request.pool)

    def plan_member(self, server: str) -> MemberPlan:
        """Reserve a provider, a clone, a machine and its addresses for one new server."""
        need = build_need(self._request, server, self.master, self._master)
        homes, refusal = list_homes(self._ledger, self._request, server)
        for home in homes or ():
            refusal = find_refusal(self._ledger, server, home, [data.name for data in self._request.data])
        if refusal:
            return self._refuse(server, refusal)
        need = dataclasses.replace(need, homes=tuple(homes or ()))
        choice = place_machine(need, list(self._candidates.values()))
        self._candidates[choice.provider] = take_room(self._candidates[choice.provider], need)
        clone_name, reason = self.reserve_clone(choice.provider)
        stage = self._bind(server, clone_name, choice.provider)
        plan = self._describe(server, choice, clone_name, stage)
        data = reserve_data(self._ledger, self._request, plan)
        plan = dataclasses.replace(
            plan,
            verbs=order_verbs(*plan.verbs, *data.work),
            reasons=(choice.reason, *reason, *data.found),
            data=data.work,
        )
        if stage != "planned":
            return plan
        method, why, estimate = self.estimate_clone(clone_name, choice.provider)
        return dataclasses.replace(
            plan, reasons=(*plan.reasons, f"{method}: {why}"), method=method, estimated_bytes=estimate
        )

    def estimate_clone(self, clone_name: str, provider: str) -> tuple[str, str, int]:
        """Return (method, why, bytes it takes when new) for a clone on a provider."""
        pool = self._ledger.views[provider].pools[self._request.pool]
        return estimate_clone(clone_name, self._master, self._request.method, pool)

    def require_replica(self, provider: str, subject: str) -> None:
        """Raise :class:`NotFound` when a provider has no copy of the master in the pool."""
        if (self.master, self._request.pool) not in self._candidates[provider].masters:
            raise NotFound(
                subject,
                f"its provider {provider} has no copy of {self.master} in pool {self._request.pool}",
                remedy="Run encompass.images.add_master there.",
            )

    def reserve_clone(self, provider: str) -> tuple[str, list[str]]:
        """Return an unused clone's name, or that of a new one; and why."""
        unused = self._unused[provider]
        if unused:
            name = unused.pop(0)
            return name, [f"unused clone {name} is there"]
        fresh = self._ledger.fresh
        name = f"{self.master}-{fresh.next_number(f'clone/{self.master}')}"
        body = new_clone_record(
            master=self.master,
            provider=provider,
            pool=self._request.pool,
            method=self._request.method,
            machine_id=fresh.new_uuid(),
        )
        self._ledger.put("clone", name, body)
        return name, []

    def _bind(self, server: str, clone_name: str, provider: str) -> str:
        """Write that the clone is for this server's machine; return the clone's stage."""
        ledger, view = self._ledger, self._ledger.views[provider]
        clone = {**ledger.snapshot.clones[clone_name], "machine": server}
        ledger.put("clone", clone_name, clone)
        machine = new_machine_record(
            self._request,
            server,
            clone_name,
            self._master,
            provider=provider,
            uuid=ledger.fresh.new_uuid(),
            virt_type=view.facts["virt_type"],
            nics=ledger.plan_nics(self._request, server, view, ()),
        )
        ledger.put("machine", server, machine)
        return str(clone["stage"])

    def _refuse(self, server: str, refusal: str) -> MemberPlan:
        provider = next(body["provider"] for body in self._ledger.snapshot.volumes.values() if body["server"] == server)
        return MemberPlan(server, "refuse", provider, "", "", self.master, (), (refusal,))

    def _describe(self, server: str, choice: Choice, clone_name: str, stage: str) -> MemberPlan:
        return MemberPlan(
            server=server,
            action="create",
            provider=choice.provider,
            machine=server,
            clone=clone_name,
            master=self.master,
            verbs=verbs_to_active(stage),
            reasons=(),
            rejected=choice.rejected,
        )


def build_need(request: DeploymentRequest, server: str, master_name: str, master: Body) -> Need:
    """Return what a server needs of its provider; ``request`` is sized already."""
    hardware = master["hardware"]
    copied = sum(volume["allocated_bytes"] for volume in master["volumes"]) if request.method == "copy" else 0
    return Need(
        subject=f"server {server}",
        master=master_name,
        arch=hardware["arch"],
        firmware=hardware["firmware"],
        cpus=request.cpus or 1,
        memory_mib=request.memory_mib or 0,
        networks=tuple(network.name for network in request.networks),
        pool=request.pool,
        volume_bytes=copied,
        strategy=request.strategy,
        providers=request.providers,
        data_pools=tuple(data.pool for data in request.data),
    )


def find_unused_clones(clones: Mapping[str, Body], master: str, pool: str) -> collections.defaultdict[str, list[str]]:
    """Return, by provider, the clones of a master that nobody uses and that never ran."""
    unused: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
    for name, clone in sorted(clones.items()):
        untouched = clone["metastate"] == "clean" and not clone.get("customization")
        waiting = clone["stage"] in ("planned", "unassigned") and clone["machine"] is None
        if clone["master"] == master and clone["pool"] == pool and untouched and waiting:
            unused[clone["provider"]].append(name)
    return unused

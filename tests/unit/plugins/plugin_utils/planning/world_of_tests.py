# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world for the planning tests: providers as discover sees them, a catalog's rows, and time passing."""

from __future__ import annotations

import copy
import itertools
import typing as t

from ansible_collections.encompass.images.plugins.plugin_utils._planning.ledger import (
    DataWishes,
    FreshNames,
    Ledger,
    Snapshot,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.masters import digest_items
from ansible_collections.encompass.images.plugins.plugin_utils._planning.planner import plan_deployment, plan_retirement
from ansible_collections.encompass.images.plugins.plugin_utils._planning.plans import DeploymentPlan, MemberPlan
from ansible_collections.encompass.images.plugins.plugin_utils._planning.records import describe_server
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import parse_deployment
from ansible_collections.encompass.images.plugins.plugin_utils._planning.scenario import Scenario
from ansible_collections.encompass.images.plugins.plugin_utils._planning.world import ProviderView

DIGEST = "a" * 64
WEB = {"name": "web", "function": "web-server", "count": 2, "cpus": 1, "memory_mib": 256}


def make_master(**changes: t.Any) -> dict[str, t.Any]:
    """Return the record of an available master."""
    return {
        "function": "web-server",
        "version": 1,
        "state": "available",
        "volumes": [
            {
                "name": "root",
                "digest": DIGEST,
                "format": "qcow2",
                "virtual_bytes": 100 * 2**20,
                "allocated_bytes": 20 * 2**20,
            }
        ],
        "hardware": {
            "arch": "x86_64",
            "firmware": "bios",
            "disk_bus": "virtio",
            "min_cpus": 1,
            "min_memory_mib": 64,
        },
        "items": [],
        "inputs": [],
        "replicas": [],
        **changes,
    }


def make_seen(number: int = 1, **provider: t.Any) -> dict[str, t.Any]:
    """Return what discover sees on an empty provider."""
    facts = {
        "arch": "x86_64",
        "cpus": 4,
        "memory_mib": 2048,
        "virt_type": "qemu",
        "firmwares": ["bios"],
    }
    pool = {
        "name": "default",
        "path": "/pool",
        "type": "dir",
        "shared": False,
        "filesystem": "ext4",
        "reflink": False,
        "capacity_bytes": 2**34,
        "available_bytes": 2**33,
        "usable": True,
        "problem": "",
    }
    network = {
        "name": "encompass",
        "active": True,
        "mode": "nat",
        "subnet": f"10.1.{number}.0/29",
        "gateway": f"10.1.{number}.1",
        "dhcp_range": None,
        "dhcp_hosts": [],
    }
    return {
        "provider": {**facts, **provider},
        "pools": [pool],
        "networks": [network],
        "domains": [],
        "volumes": [],
        "data": [],
        "masters": [{"digest": DIGEST, "path": f"/pool/masters/{DIGEST}.qcow2", "pool": "default"}],
    }


class World:
    """The catalog and the providers; ``carry_out`` does to both what a plan's verbs would do."""

    def __init__(self, providers: int = 2, **masters: dict[str, t.Any]) -> None:
        self.rows = Snapshot(masters or {"web-server-v1": make_master()}, {}, {}, {})
        self.seen = {f"hv{number}": make_seen(number) for number in range(1, providers + 1)}
        self._numbers = itertools.count(1)
        self._uuids = itertools.count(1)

    def ledger(self, **wishes: t.Any) -> Ledger:
        """Return what planning reads, as it is now, and what is wished for data volumes."""
        fresh = FreshNames(
            "catalog-1", lambda _sequence: next(self._numbers), lambda: f"{next(self._uuids):08d}-0000-4000-8000-0"
        )
        views = {name: ProviderView.parse(name, seen) for name, seen in self.seen.items()}
        return Ledger(copy.deepcopy(self.rows), views, fresh, DataWishes(**wishes))

    def plan(self, **changes: t.Any) -> DeploymentPlan:
        """Return the plan of the deployment ``web``, with some fields changed."""
        return plan_deployment(self.ledger(), parse_deployment({**WEB, **changes}, "web"))

    def retire(self, name: str = "web") -> DeploymentPlan:
        """Return the plan to take a deployment away."""
        return plan_retirement(self.ledger(), name)

    def plan_scenario(self, **scenario: t.Any) -> DeploymentPlan:
        """Return the only plan of a scenario."""
        (plan,) = Scenario(**scenario).plan(self.ledger())
        return plan

    def plan_update(self, *waves: t.Any, **changes: t.Any) -> DeploymentPlan:
        """Return the plan to update the deployment ``web``, with some fields changed."""
        declared = [parse_deployment({**WEB, **changes}, "web")]
        return self.plan_scenario(deployments=declared, update=True, waves=waves or (1.0,))

    def deploy(self, **changes: t.Any) -> DeploymentPlan:
        """Plan, and let the plan come true."""
        return self.carry_out(self.plan(**changes), changes.get("inputs"))

    def carry_out(
        self, plan: DeploymentPlan, inputs: dict[str, t.Any] | None = None, *, only: t.Collection[str] = ()
    ) -> DeploymentPlan:
        """Let a plan come true, or of its switches those of some servers ``only``."""
        for (kind, name), body in plan.rows.items():
            getattr(self.rows, f"{kind}s")[name] = copy.deepcopy(body)
        assert plan.body is not None
        self.rows.deployments[plan.name] = plan.body
        for member in plan.members:
            self._store(member)
            if member.served:
                self._switch(member, attach=not only or member.server in only)
            if member.action != "retire" and not (only and member.server not in only):
                self._make_active(member.machine, inputs or {})
            if not only:
                for spare in member.spares:
                    del self.rows.clones[spare]
        return plan

    def _store(self, member: MemberPlan) -> None:
        """Do to a server's data volumes what is planned."""
        data = self.seen[member.provider]["data"] if member.data else []
        for name in (name for names in member.data.values() for name in names):
            record = self.rows.volumes[name]
            data[:] = [volume for volume in data if volume["path"] != record["path"]]
            if name in member.data.get("drop_volumes", ()):
                del self.rows.volumes[name]
            else:
                record["stage"] = "available"
                data.append({"path": record["path"], "virtual_bytes": record["virtual_bytes"]})

    def remove(self, member: MemberPlan) -> None:
        """Let a server go as planned."""
        self._store(member)
        seen = self.seen[member.provider]
        seen["domains"] = [domain for domain in seen["domains"] if domain["name"] != member.machine]
        del self.rows.machines[member.machine]
        del self.rows.clones[member.clone]

    def remove_machine(self, name: str) -> None:
        """Let a machine go, and its clone be nobody's."""
        machine = self.rows.machines.pop(name)
        seen = self.seen[machine["provider"]]
        seen["domains"] = [domain for domain in seen["domains"] if domain["name"] != name]
        self.rows.clones[machine["clone"]].update(machine=None, stage="unassigned")

    def _switch(self, member: MemberPlan, *, attach: bool) -> None:
        """Prepare a server's next clone, and have its machine serve that."""
        clone, served = self.rows.clones[member.clone], self.rows.clones[member.served]
        self._fill(member.machine, member.clone, {})
        clone["stage"] = "assigned"
        if attach:
            served["stage"] = "assigned"
            clone["turn"] = (served["turn"] or 0) + 1
            self.rows.machines[member.machine]["clone"] = member.clone

    def spoil_pool(self, provider: str) -> None:
        """Have a pool lose its mount: its guests are down, and nothing of it is to be seen."""
        seen = self.seen[provider]
        seen["pools"][0].update(usable=False, problem="/pool/masters is not there")
        seen.update(volumes=[], data=[], masters=[])
        for domain in seen["domains"]:
            domain["active"] = False

    def domain(self, machine: str) -> dict[str, t.Any]:
        """Return a domain as its provider shows it."""
        for seen in self.seen.values():
            for domain in seen["domains"]:
                if domain["name"] == machine:
                    return t.cast("dict[str, t.Any]", domain)
        raise KeyError(machine)

    def provider_of(self, machine: str) -> dict[str, t.Any]:
        """Return what discover sees on a machine's provider."""
        return self.seen[self.rows.machines[machine]["provider"]]

    def _fill(self, name: str, clone_name: str, inputs: dict[str, t.Any]) -> None:
        """Give a clone the volumes and the customization that it has on a machine."""
        machine, clone = self.rows.machines[name], self.rows.clones[clone_name]
        seen = self.seen[machine["provider"]]
        path = f"/pool/clones/{clone_name}/root.qcow2"
        master = self.rows.masters[clone["master"]]
        applied = digest_items(master, inputs, describe_server(name, machine, master))
        clone.update(
            volumes=[{"name": "root", "path": path, "format": "qcow2", "virtual_bytes": 1, "backing": None}],
            customization={"pointer": len(applied), "applied": applied},
        )
        seen["volumes"] = [volume for volume in seen["volumes"] if volume["path"] != path] + [{"path": path}]

    def _make_active(self, name: str, inputs: dict[str, t.Any]) -> None:
        machine = self.rows.machines[name]
        clone = self.rows.clones[machine["clone"]]
        seen = self.seen[machine["provider"]]
        self._fill(name, machine["clone"], inputs)
        clone.update(stage="active", metastate="operational", turn=clone["turn"] or 1)
        seen["domains"] = [domain for domain in seen["domains"] if domain["name"] != name]
        data = [self.rows.volumes[f"{machine['server']}.{volume}"] for volume in machine.get("data", ())]
        seen["domains"].append(
            {
                "name": name,
                "uuid": machine["uuid"],
                "active": True,
                "cpus": machine["cpus"],
                "memory_mib": machine["memory_mib"],
                "machine_metadata": {"clone": machine["clone"]},
                "disks": [volume["path"] for volume in data],
                "disk_buses": [volume["bus"] for volume in data],
            }
        )
        for network in seen["networks"]:
            known = [host for host in network["dhcp_hosts"] if host["name"] != name]
            mine = [{**nic, "name": name} for nic in machine["nics"] if nic["network"] == network["name"]]
            network["dhcp_hosts"] = known + mine

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What discover saw on the providers, held against what the catalog says. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import Conflict
from ...module_utils._core.lifecycle import Stage
from ...module_utils._core.placement import Candidate

Body = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class ProviderView:
    """One provider as discover has just seen it."""

    name: str
    facts: Body
    pools: t.Mapping[str, Body]
    networks: t.Mapping[str, Body]
    domains: t.Mapping[str, Body]
    volumes: frozenset[str]
    """Paths of the volumes under the pools' clone directories."""
    masters: t.Mapping[str, frozenset[str]]
    """Digests of the published masters, by pool."""
    data: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Sizes of the data volumes in the pools, by path."""
    allocated: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many bytes each of the volumes takes."""
    problems: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Why pools cannot be used, by pool."""

    @classmethod
    def parse(cls, name: str, seen: Body) -> ProviderView:
        """Return the view that a result of discover tells."""
        masters: dict[str, set[str]] = {}
        for master in seen["masters"]:
            masters.setdefault(master["pool"], set()).add(master["digest"])
        return cls(
            name=name,
            facts=seen["provider"],
            pools={pool["name"]: pool for pool in seen["pools"] if pool["usable"]},
            networks={network["name"]: network for network in seen["networks"] if network["active"]},
            domains={domain["name"]: domain for domain in seen["domains"]},
            volumes=frozenset(volume["path"] for volume in seen["volumes"]),
            masters={pool: frozenset(digests) for pool, digests in masters.items()},
            data={volume["path"]: volume["virtual_bytes"] for volume in seen.get("data", ())},
            allocated={
                volume["path"]: volume.get("allocated_bytes") or 0
                for volume in (*seen["volumes"], *seen.get("data", ()))
            },
            problems={pool["name"]: pool["problem"] for pool in seen["pools"] if not pool["usable"]},
        )

    def reservation_exists(self, nic: Body) -> bool:
        """Tell whether the network hands this NIC its address."""
        hosts = self.networks.get(nic["network"], {}).get("dhcp_hosts", ())
        return any(host["mac"] == nic["mac"] and host["address"] == nic["address"] for host in hosts)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is true of a clone whose record says something else: the life cycle's event, and a sentence."""

    event: str
    reason: str


def find_pool_problem(view: ProviderView, clone: Body) -> str:
    """Return why a clone's volumes were not looked for, so that nothing tells whether they are there; "" if they were.

    A pool whose file system is not mounted shows none of them.
    """
    pool = clone["pool"]
    if pool in view.pools:
        return ""
    why = view.problems.get(pool, "encompass_pools does not name it")
    return f"its pool {pool} of {view.name} cannot be used: {why}"


def find_missing_volume(view: ProviderView, clone: Body) -> str | None:
    """Return the path of a volume that the clone should have and has not; None when all are there."""
    return next((volume["path"] for volume in clone["volumes"] if volume["path"] not in view.volumes), None)


def inspect_clone(view: ProviderView, clone: Body, machine_name: str, machine: Body) -> Finding | None:
    """Return how the clone on its provider differs from its record; None when they agree.

    Raises :class:`Conflict` when a domain of that name is not ours.
    """
    stage = Stage(clone["stage"])
    domain = view.domains.get(machine_name)
    if domain is not None and domain["uuid"] != machine["uuid"]:
        raise Conflict(
            f"machine {machine_name}",
            f"a domain of that name that is not ours runs on {view.name} (uuid {domain['uuid']})",
            remedy="Rename or remove that domain.",
        )
    if stage is Stage.PLANNED:
        return None
    missing = find_missing_volume(view, clone)
    if missing is not None:
        return Finding("found_missing", f"its volume {missing} is gone")
    attached = stage in (Stage.ATTACHED, Stage.ACTIVE)
    if domain is None:
        return Finding("found_undefined", f"its domain is gone from {view.name}") if attached else None
    other = _find_other_clone(domain, machine["clone"])
    if other:
        return Finding("found_undefined", f"its domain is defined for clone {other}") if attached else None
    return _compare_power(stage, active=domain["active"])


def _find_other_clone(domain: Body, clone: str) -> str:
    """Return whose volumes a domain has when they are not the clone's: a run was killed while it switched the two."""
    defined = (domain.get("machine_metadata") or {}).get("clone")
    return str(defined) if defined not in (None, clone) else ""


def _compare_power(stage: Stage, *, active: bool) -> Finding | None:
    if active and stage in (Stage.ASSIGNED, Stage.ATTACHED):
        return Finding("found_running", "its domain runs already")
    if not active and stage is Stage.ACTIVE:
        return Finding("found_stopped", "its domain does not run")
    return None


def to_candidate(
    view: ProviderView, masters: t.Mapping[str, Body], machines: t.Mapping[str, Body], deployment: str
) -> Candidate:
    """Return the provider as placement sees it, given all masters and all machines of the catalog."""
    here = [machine for machine in machines.values() if machine["provider"] == view.name]
    promised = sum(machine["memory_mib"] for machine in here)
    facts = view.facts
    return Candidate(
        name=view.name,
        arch=facts["arch"],
        cpus=facts["cpus"],
        memory_mib=facts["memory_mib"],
        free_memory_mib=facts["memory_mib"] - promised,
        firmwares=frozenset(facts["firmwares"]),
        networks=frozenset(view.networks),
        pools={name: pool["available_bytes"] for name, pool in view.pools.items()},
        masters=frozenset(
            (name, pool)
            for name, master in masters.items()
            for pool, digests in view.masters.items()
            if master["volumes"] and all(volume["digest"] in digests for volume in master["volumes"])
        ),
        members=sum(machine.get("deployment") == deployment for machine in here),
    )

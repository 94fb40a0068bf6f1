# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand against a machine's migration. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ...module_utils._core import placement
from ...module_utils._core.placement import Candidate, Need
from .data_volumes import volumes_of
from .ledger import Ledger
from .plans import Body, MemberPlan
from .world import ProviderView, to_candidate


@dataclasses.dataclass(frozen=True)
class Journey:
    """A machine, and a provider that it might go to. ``is_fenced``: its own provider cannot be looked at."""

    ledger: Ledger
    draft: MemberPlan
    to: str
    is_fenced: bool = False

    @property
    def machine(self) -> Body:
        """The machine's record."""
        return self.ledger.snapshot.machines[self.draft.machine]

    @property
    def clone(self) -> Body:
        """The record of the clone that it serves."""
        return self.ledger.snapshot.clones[self.draft.clone]

    @property
    def source(self) -> ProviderView:
        """Its provider as it was seen."""
        return self.ledger.views[self.draft.provider]

    @property
    def target(self) -> ProviderView:
        """The other provider as it was seen."""
        return self.ledger.views[self.to]

    @property
    def is_shared(self) -> bool:
        """Whether the target sees the machine's volumes in a pool that is declared as shared."""
        return self.is_shared_clone(self.draft.clone)

    def is_shared_clone(self, name: str) -> bool:
        """Tell whether the target sees a clone's volumes in a pool that is declared as shared."""
        clone = self.ledger.snapshot.clones[name]
        pool = self.target.pools.get(clone["pool"])
        return bool(pool and pool["shared"]) and all(path in self.target.volumes for path in list_volume_paths(clone))

    def list_standby(self) -> list[str]:
        """Return the machine's other clones on its provider."""
        clones = self.ledger.snapshot.clones.items()
        mine = (self.draft.machine, self.draft.provider)
        return [
            name for name, body in clones if (body["machine"], body["provider"]) == mine and name != self.draft.clone
        ]

    @property
    def data(self) -> dict[str, Body]:
        """The records of all data volumes of its server, used and unused."""
        return volumes_of(self.ledger, self.machine["server"])

    @property
    def local_data(self) -> dict[str, Body]:
        """Those that its provider alone reaches, which have to be copied."""
        here = self.draft.provider
        return {key: body for key, body in self.data.items() if body["provider"] == here and not body["pool_shared"]}

    @property
    def copies_nothing(self) -> bool:
        """Whether the target reaches all of it."""
        return self.is_shared and not self.local_data

    def count_bytes(self, pool: str = "") -> int:
        """Return how much has to be copied, into one pool or into all."""
        clone = [] if self.is_shared else [(self.clone["pool"], path) for path in list_volume_paths(self.clone)]
        data = [(str(body["pool"]), str(body["path"])) for body in self.local_data.values()]
        return sum(self.source.allocated.get(path, 0) for name, path in (*clone, *data) if pool in ("", name))


def list_volume_paths(clone: Body) -> list[str]:
    """Return the paths of all volumes that go with a clone."""
    return [volume["path"] for volume in clone["volumes"]]


def to_need(journey: Journey) -> Need:
    """Return what the machine needs of its next provider."""
    machine, clone = journey.machine, journey.clone
    return Need(
        subject=f"machine {journey.draft.machine}",
        master=clone["master"],
        arch=machine["arch"],
        firmware=machine["firmware"],
        cpus=machine["cpus"],
        memory_mib=machine["memory_mib"],
        networks=tuple(nic["network"] for nic in machine["nics"]),
        pool=clone["pool"],
        volume_bytes=0 if journey.is_fenced else journey.count_bytes(clone["pool"]),
    )


def to_open_candidate(journey: Journey) -> Candidate:
    """Return the target as placement sees it; whether it has the master is looked at apart."""
    snapshot = journey.ledger.snapshot
    others = {name: body for name, body in snapshot.machines.items() if name != journey.draft.machine}
    candidate = to_candidate(journey.target, snapshot.masters, others, str(journey.machine["deployment"]))
    return dataclasses.replace(candidate, masters=frozenset({(journey.clone["master"], journey.clone["pool"])}))


def find_obstacle(journey: Journey) -> str | None:
    """Return why the machine cannot live at the target; None when it can."""
    obstacle = placement.find_obstacle(to_need(journey), to_open_candidate(journey))
    checks: tuple[t.Callable[[Journey], str | None], ...]
    checks = (_check_acceleration, _check_networks, _check_volumes, _check_data)
    return obstacle or next((found for check in checks if (found := check(journey))), None)


def _check_acceleration(journey: Journey) -> str | None:
    if journey.machine["virt_type"] == "kvm" and journey.target.facts["virt_type"] != "kvm":
        return "it has no KVM, which the machine uses"
    return None


def _check_networks(journey: Journey) -> str | None:
    found = (_check_network(journey, nic) for nic in journey.machine["nics"])
    return next((obstacle for obstacle in found if obstacle), None)


def _check_network(journey: Journey, nic: Body) -> str | None:
    name, there = nic["network"], journey.target.networks[nic["network"]]
    subnet = ipaddress.ip_network(there.get("subnet") or "0.0.0.0/32")
    holders = {held.get("address"): held for held in there.get("dhcp_hosts") or ()}
    holder = holders.get(nic["address"], nic)
    checks: tuple[tuple[bool, str], ...] = (
        (not there.get("spans"), f"its network {name} is not declared to span providers (spans)"),
        (
            ipaddress.ip_address(nic["address"]) not in subnet,
            f"the address {nic['address']} is outside of its network {name} ({subnet})",
        ),
        (
            holder.get("mac") != nic["mac"],
            f"the address {nic['address']} is reserved there for {holder.get('name') or holder.get('mac')}",
        ),
    )
    found = next((reason for failed, reason in checks if failed), None)
    return found if found or journey.is_fenced else _check_span(journey, name, there)


def _check_span(journey: Journey, name: str, there: t.Mapping[str, t.Any]) -> str | None:
    """Return why a network of that name is not one and the same on both providers."""
    here = journey.source.networks.get(name)
    if here is None or not here.get("spans") or here["subnet"] != there["subnet"]:
        return f"network {name} is not the same on {journey.draft.provider}"
    if here["gateway"] not in (there.get("reaches") or ()):
        return f"nobody answers on its network {name} for {here['gateway']}, which is {journey.draft.provider}'s there"
    return None


def _check_volumes(journey: Journey) -> str | None:
    clone, pool = journey.clone, journey.target.pools[journey.clone["pool"]]
    if journey.is_shared:
        return None
    if journey.is_fenced:
        return f"it does not see the volumes of clone {journey.draft.clone} in a shared pool"
    if pool["shared"]:
        return (
            f"pool {clone['pool']} is declared as shared, but the volumes of {journey.draft.clone} are not seen there"
        )
    if journey.source.pools.get(clone["pool"], pool)["shared"]:
        return f"pool {clone['pool']} is shared on {journey.draft.provider} and is another one there"
    digests = {volume["backing"]["digest"] for volume in clone["volumes"] if volume.get("backing")}
    if not digests <= journey.target.masters.get(clone["pool"], frozenset()):
        return (
            f"master {clone['master']} has no copy in its pool {clone['pool']}: run encompass.images.add_master there"
        )
    return None


def _check_data(journey: Journey) -> str | None:
    """Return which data volume cannot follow."""
    used = journey.machine.get("data") or ()
    for record in journey.data.values():
        if record["pool_shared"] and record["volume"] in used and record["path"] not in journey.target.data:
            return f"it does not see data volume {record['volume']} in pool {record['pool']}"
    found = (_check_copied_data(journey, record) for record in journey.local_data.values())
    return next((obstacle for obstacle in found if obstacle), None)


def _check_copied_data(journey: Journey, record: Body) -> str | None:
    """Return why a data volume cannot be copied. What is in its place there is never touched, unless it is ours."""
    name, pool = f"data volume {record['volume']}", journey.target.pools.get(record["pool"])
    if journey.is_fenced:
        return f"{name} is in pool {record['pool']}, which is not shared"
    if pool is None or pool["shared"]:
        return f"{name} is in pool {record['pool']}, which it {'has not' if pool is None else 'shares with others'}"
    if pool["available_bytes"] < journey.count_bytes(record["pool"]):
        return f"pool {record['pool']} has no room for {name}"
    folder = f"{pool['path']}/data/{record['server']}/"
    there = [path for path in journey.target.data if path.startswith(folder)]
    mine = {body["path"] for body in journey.data.values() if body["provider"] == journey.to}
    left = journey.to in (journey.machine.get("also_on") or ())
    if there and (not left or mine & set(there)):
        return f"{there[0]} is there, and would have to make way for {name}"
    return None


def find_live_obstacle(journey: Journey) -> str | None:
    """Return why the machine cannot go on running on its way; None when it can."""
    here, there = journey.source.facts, journey.target.facts
    if _version_of(there) < _version_of(here):
        return f"QEMU is older there ({_read_qemu(there)}) than on {journey.draft.provider} ({_read_qemu(here)})"
    if journey.machine["virt_type"] != "kvm":
        return None  # every host emulates the same CPU
    if here.get("cpu_model") != there.get("cpu_model"):
        return f"its CPU is {there.get('cpu_model')}, not {here.get('cpu_model')}"
    missing = sorted(set(here.get("cpu_features") or ()) - set(there.get("cpu_features") or ()))
    return f"its CPU lacks {', '.join(missing)}" if missing else None


def _read_qemu(facts: t.Mapping[str, t.Any]) -> str:
    return str((facts.get("versions") or {}).get("qemu") or "0")


def _version_of(facts: t.Mapping[str, t.Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in _read_qemu(facts).split("."))

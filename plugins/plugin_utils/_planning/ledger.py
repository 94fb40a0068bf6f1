# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What planning reads and what it wants written: the catalog's rows, the providers' views, fresh names. Pure but
for the fresh names, which the caller lends. Private to this collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .addresses import AddressBook
from .plans import Body, Key
from .request import DeploymentRequest
from .world import ProviderView


@dataclasses.dataclass
class Snapshot:
    """The catalog's rows by kind and name; planning adds to it what it reserves."""

    masters: dict[str, Body]
    clones: dict[str, Body]
    machines: dict[str, Body]
    deployments: dict[str, Body]
    functions: dict[str, Body] = dataclasses.field(default_factory=dict)
    volumes: dict[str, Body] = dataclasses.field(default_factory=dict)
    providers: dict[str, Body] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FreshNames:
    """Where names come from that no plan can make up: a counter of the catalog, and random UUIDs."""

    catalog_uuid: str
    next_number: t.Callable[[str], int]
    new_uuid: t.Callable[[], str]


@dataclasses.dataclass(frozen=True)
class DataWishes:
    """What is to become of data volumes beyond what is declared; by itself nothing is lost or made twice."""

    retire: bool = False
    """Whether the data volumes of servers that are no longer wanted are deleted."""
    recreate: t.Collection[str] = ()
    """Names of volumes that are made anew, empty, when they are lost."""


class Ledger:
    """The rows as they are and as this plan will have them."""

    def __init__(
        self,
        snapshot: Snapshot,
        views: t.Mapping[str, ProviderView],
        fresh: FreshNames,
        wishes: DataWishes | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.views = views
        self.fresh = fresh
        self.wishes = wishes or DataWishes()
        self._rows: dict[Key, Body] = {}
        self._noted: dict[str, dict[Key, Body]] = {}
        taken = {
            value.lower(): name
            for name, machine in snapshot.machines.items()
            for nic in machine["nics"]
            for value in (nic["mac"], nic["address"])
        }
        # On a network that spans providers, each of them has an address.
        for name, provider in snapshot.providers.items():
            networks = provider.get("networks") or ()
            taken.update({network["gateway"]: name for network in networks if network.get("spans")})
        self._addresses = AddressBook(taken)

    def put(self, kind: str, name: str, body: Body) -> None:
        """Have a row written; what is planned next sees it."""
        getattr(self.snapshot, f"{kind}s")[name] = body
        self._rows[(kind, name)] = body

    def note(self, deployment: str, kind: str, name: str, body: Body) -> None:
        """Have a row written with the plan of this deployment, if there is one; all planning sees it."""
        getattr(self.snapshot, f"{kind}s")[name] = body
        self._noted.setdefault(deployment, {})[(kind, name)] = body

    def take_rows(self, deployment: str) -> dict[Key, Body]:
        """Return the rows put since the last call, and those noted for the deployment."""
        rows, self._rows = self._rows, {}
        return {**self._noted.pop(deployment, {}), **rows}

    def machines_of(self, deployment: str) -> dict[str, str]:
        """Return the names of a deployment's machines by their server."""
        machines = sorted(self.snapshot.machines.items())
        return {body["server"]: name for name, body in machines if body.get("deployment") == deployment}

    def plan_nics(
        self, request: DeploymentRequest, machine: str, view: ProviderView, have: t.Sequence[Body]
    ) -> list[Body]:
        """Return the machine's NICs: those it has on the networks asked for, and new ones for the others."""
        number = _member_number(machine)
        nics = []
        for network in request.networks:
            wanted = network.addresses[number - 1] if number <= len(network.addresses) else None
            nic = next((nic for nic in have if nic["network"] == network.name), None)
            if nic is None or wanted not in (None, nic["address"]):
                address = self._addresses.allocate_address(view.networks[network.name], machine, wanted)
                mac = nic["mac"] if nic else self._addresses.allocate_mac(self.fresh.catalog_uuid, machine, address)
                nic = {"network": network.name, "mac": mac, "address": address}
            nics.append(dict(nic))
        return nics


def _member_number(machine: str) -> int:
    """Return which member of its deployment a machine is; 1 for a machine that was named by itself."""
    number = machine.rpartition("-")[2]
    return int(number) if number.isdigit() else 1

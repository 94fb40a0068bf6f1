# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a network of a provider, and what removes it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from .errors import Conflict
from .network import Network, complete_network, list_network_differences, render_network_xml
from .provider import DomainSeen, NetworkSeen
from .steps import Step

PRESENT = "present"


@dataclasses.dataclass(frozen=True)
class NetworkRequest:
    """What is asked for one network; ``network`` is None when it shall be absent."""

    name: str
    network: Network | None

    @property
    def subject(self) -> str:
        """Return the network as errors name it."""
        return f"network {self.name}"


@dataclasses.dataclass(frozen=True)
class StopNetwork:
    """Take the network down."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"stop network {self.name}"


@dataclasses.dataclass(frozen=True)
class DefineNetwork:
    """Make the network's definition so."""

    network: Network
    changed: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the step in words."""
        what = f"redefine ({', '.join(self.changed)})" if self.changed else "define"
        return f"{what} network {self.network.name}: {self.network.mode}, {self.network.subnet}"


@dataclasses.dataclass(frozen=True)
class StartNetwork:
    """Bring the network up, now and whenever the provider starts."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"start network {self.name}, now and with the host"


@dataclasses.dataclass(frozen=True)
class UndefineNetwork:
    """Forget the network."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"undefine network {self.name}"


def name_users(networks: t.Mapping[str, NetworkSeen], domains: t.Mapping[str, DomainSeen]) -> dict[str, NetworkSeen]:
    """Return the networks with the names of the machines that have a card on them."""
    named = {}
    for name, seen in networks.items():
        users = [there for there in domains.values() if name in {nic.network for nic in there.domain.nics}]
        running = tuple(sorted(there.domain.name for there in users if there.active))
        used_by = tuple(sorted(there.domain.name for there in users))
        named[name] = dataclasses.replace(seen, used_by=used_by, running=running)
    return named


def plan_network(item: NetworkRequest, seen: NetworkSeen | None) -> list[Step]:
    """Return the steps that make or remove a network.

    Raises :class:`Conflict` when machines would lose their network by it.
    """
    if item.network is None:
        return _plan_removal(item, seen)
    if seen is None:
        return [DefineNetwork(item.network), StartNetwork(item.name)]
    changed = list_network_differences(item.network, seen.network)
    if not changed:
        return [] if seen.active and seen.autostart else [StartNetwork(item.name)]
    _require_unused(item, seen.running, f"it would have to be restarted ({', '.join(changed)})")
    wanted = complete_definition(item.network, seen)
    stop: list[Step] = [StopNetwork(item.name)] if seen.active else []
    return [*stop, DefineNetwork(wanted, changed), StartNetwork(item.name)]


def _plan_removal(item: NetworkRequest, seen: NetworkSeen | None) -> list[Step]:
    if seen is None:
        return []
    _require_unused(item, seen.used_by, "it cannot be removed")
    stop: list[Step] = [StopNetwork(item.name)] if seen.active else []
    return [*stop, UndefineNetwork(item.name)]


def _require_unused(item: NetworkRequest, users: t.Sequence[str], problem: str) -> None:
    if users:
        named = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        raise Conflict(item.subject, f"{problem}, but it is used by {named}", remedy="Stop or move these first.")


def complete_definition(wanted: Network, seen: NetworkSeen | None) -> Network:
    """Return the whole definition: what is asked for, and for the rest what is there.

    Raises :class:`Conflict` when a reserved address would be outside of a new subnet: machines keep theirs for life.
    """
    if seen is None:
        return wanted
    there = seen.network
    if wanted.subnet == there.subnet:
        return complete_network(wanted, there)
    subnet = ipaddress.IPv4Network(wanted.subnet)
    for held in there.reservations:
        if held.address and ipaddress.IPv4Address(held.address) not in subnet:
            raise Conflict(
                wanted.subject,
                f"{held.address} is reserved for {held.name or held.mac} and would be outside of {wanted.subnet}",
                remedy="Release it first (assign: state unassigned, release true).",
            )
    return complete_network(wanted, dataclasses.replace(there, dhcp_range=()))


def report_network(item: NetworkRequest, seen: NetworkSeen | None) -> dict[str, t.Any]:
    """Return the network as it is once the plan is done."""
    if item.network is None:
        return {"name": item.name, "present": False}
    network = complete_definition(item.network, seen)
    keys = ("name", "mode", "subnet", "gateway", "domain")
    return {"present": True, **{key: getattr(network, key) for key in keys}, "dhcp_range": list(network.dhcp_range)}


def diff_network(item: NetworkRequest, seen: NetworkSeen | None) -> tuple[str, str]:
    """Return the definition before and after, in what we say about it."""
    before = "" if seen is None or not seen.network.subnet else render_network_xml(seen.network)
    return before, "" if item.network is None else render_network_xml(complete_definition(item.network, seen))

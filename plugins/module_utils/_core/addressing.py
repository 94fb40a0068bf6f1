# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a machine's addresses for it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from .errors import Conflict, InvalidRequest, NotFound, Unsupported
from .network import Reservation, require_host_address
from .provider import NetworkSeen
from .steps import Step

ASSIGNED = "assigned"
UNASSIGNED = "unassigned"


@dataclasses.dataclass(frozen=True)
class Card:
    """A machine's card: which address and name its MAC shall have on which network. Both may be empty."""

    network: str
    mac: str
    address: str = ""
    hostname: str = ""

    @property
    def reservation(self) -> Reservation:
        """Return the DHCP host entry that the card needs."""
        return Reservation(self.mac, self.address, self.hostname)


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What is asked for one machine. Addresses outlive clones: only with ``release`` are they given up."""

    state: str
    name: str
    cards: tuple[Card, ...]
    release: bool = False

    @property
    def subject(self) -> str:
        """Return the machine as errors name it."""
        return f"machine {self.name}"


@dataclasses.dataclass(frozen=True)
class ReserveAddress:
    """Have DHCP give the address to this MAC only."""

    network: str
    reservation: Reservation

    def describe(self) -> str:
        """Return the step in words."""
        held = self.reservation
        return f"reserve {held.address} on network {self.network} for {held.mac} ({held.name or 'no name'})"


@dataclasses.dataclass(frozen=True)
class ReleaseAddress:
    """Take a reservation back."""

    network: str
    reservation: Reservation

    def describe(self) -> str:
        """Return the step in words."""
        return f"release {self.reservation.address} on network {self.network} from {self.reservation.mac}"


def read_assignment(state: str, options: t.Mapping[str, t.Any], *, release: bool) -> Assignment:
    """Return what the options of one machine ask for."""
    cards: list[Card] = []
    for nic in options.get("nics") or ():
        # A name can stand for one address of a network only.
        is_first = nic["network"] not in {card.network for card in cards}
        hostname = (nic.get("hostname") or "") if is_first else ""
        cards.append(Card(nic["network"], str(nic["mac"]).lower(), nic.get("address") or "", hostname))
    return Assignment(state, options["name"], tuple(cards), release)


def plan_assignment(item: Assignment, seen: t.Mapping[str, NetworkSeen]) -> list[Step]:
    """Return the steps that reserve a machine's addresses or release them; ``seen`` is every network by name.

    Raises :class:`NotFound`, :class:`InvalidRequest`, :class:`Unsupported` (a network whose addresses somebody else
    gives out) and :class:`Conflict` when an address, a MAC or a name is reserved for another host.
    """
    steps: list[Step] = []
    for card in item.cards:
        if not card.address:
            continue
        if item.state == ASSIGNED:
            steps += _plan_reservation(item, card, seen.get(card.network))
        elif item.release:
            steps += _plan_release(card, seen.get(card.network))
    return steps


def _plan_reservation(item: Assignment, card: Card, seen: NetworkSeen | None) -> list[Step]:
    seen = _require_network(item, card, seen)
    wanted = card.reservation
    stale: list[Step] = []
    if wanted in seen.network.reservations:
        return []
    for held in (*seen.network.reservations, *seen.partial):
        if _is_ours(held, wanted):
            stale.append(ReleaseAddress(card.network, held))
        else:
            _require_unlike(item, card, held)
    return [*stale, ReserveAddress(card.network, wanted)]


def _require_network(item: Assignment, card: Card, seen: NetworkSeen | None) -> NetworkSeen:
    if seen is None:
        raise NotFound(
            item.subject,
            f"the provider has no network {card.network}",
            remedy="Name one that it has, or make it with the role encompass.images.hypervisor.",
        )
    if not seen.network.subnet:
        raise Unsupported(
            item.subject,
            f"network {card.network} gives out no addresses, so {card.address} cannot be reserved there",
            remedy="Reserve it where that network's DHCP server is, and leave the address out here.",
        )
    subnet = ipaddress.IPv4Network(seen.network.subnet)
    require_host_address(f"{item.subject} on network {card.network}", subnet, card.address)
    if card.address == seen.network.gateway:
        raise InvalidRequest(item.subject, f"{card.address} is the gateway of network {card.network}")
    return seen


def _is_ours(held: Reservation, wanted: Reservation) -> bool:
    """Tell whether an entry is an older one of the same card: its MAC with the same address or the same name."""
    return held.mac == wanted.mac and (held.address == wanted.address or (held.name == wanted.name != ""))


def _require_unlike(item: Assignment, card: Card, held: Reservation) -> None:
    # libvirt itself refuses a second entry with the same MAC, address or name.
    same = {
        f"address {card.address}": held.address == card.address,
        f"MAC {card.mac}": held.mac == card.mac,
        f"name {card.hostname}": bool(card.hostname) and held.name == card.hostname,
    }
    for what, is_same in same.items():
        if is_same:
            holder = (
                f"{held.name or 'a host without a name'} (MAC {held.mac or 'none'}, address {held.address or 'none'})"
            )
            raise Conflict(
                item.subject,
                f"the {what} is reserved on network {card.network} for {holder}",
                remedy="Release it there, or choose another one.",
            )


def _plan_release(card: Card, seen: NetworkSeen | None) -> list[Step]:
    reservations = () if seen is None else (*seen.network.reservations, *seen.partial)
    return [
        ReleaseAddress(card.network, held)
        for held in reservations
        if (held.mac, held.address) == (card.mac, card.address)
    ]


def report_assignment(item: Assignment) -> dict[str, t.Any]:
    """Return the record's fields once the plan is done."""
    cards = [dataclasses.asdict(card) for card in item.cards]
    reserved = item.state == ASSIGNED or not item.release
    return {"nics": cards, "reserved": reserved and any(card.address for card in item.cards)}


def diff_assignment(steps: t.Sequence[Step]) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the reservations that go and those that come."""
    gone = [dataclasses.asdict(step) for step in steps if isinstance(step, ReleaseAddress)]
    come = [dataclasses.asdict(step) for step in steps if isinstance(step, ReserveAddress)]
    return {"reservations": gone}, {"reservations": come}

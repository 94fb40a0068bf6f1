# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider may be able to do, one capability per Protocol. Private to this collection.

A libvirt host offers all of them. A BMC has power but neither volumes nor networks, a vCenter keeps its volumes in
datastores: each offers those that it has, and the plans, which know only what is observed, stay as they are.
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from .domain import Domain
from .errors import EncompassError
from .network import Network, Reservation


@dataclasses.dataclass(frozen=True)
class DomainSeen:
    """A machine as the provider has it. ``persistent`` is False when it ends for ever with its next shutdown."""

    domain: Domain
    active: bool = False
    persistent: bool = True


class Power(enum.Enum):
    """What a machine's processors do."""

    OFF = "off"
    RUNNING = "running"
    PAUSED = "paused"
    """Stopped by its host, most often because its disk met an error or a full pool."""


@dataclasses.dataclass(frozen=True)
class PowerSeen:
    """A machine's power, and which machine it is."""

    uuid: str
    power: Power
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class NetworkSeen:
    """A network as the provider has it; ``used_by`` and ``running`` name the machines that have a card on it.

    ``partial`` are reservations that hold only now or only from the network's next start on.
    """

    network: Network
    partial: tuple[Reservation, ...] = ()
    active: bool = True
    autostart: bool = True
    used_by: tuple[str, ...] = ()
    running: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PoolSeen:
    """A pool as the provider has it."""

    name: str
    type: str
    path: str
    active: bool = True
    autostart: bool = True


class MachineHost(t.Protocol):
    """A provider on which machines are defined."""

    def observe_domains(self) -> t.Mapping[str, DomainSeen]:
        """Return every machine of the provider, ours or not."""
        raise NotImplementedError

    def define_domain(self, domain: Domain) -> None:
        """Make the machine so, without starting it."""
        raise NotImplementedError

    def undefine_domain(self, name: str) -> None:
        """Forget the machine, its firmware's variables and saved states; its volumes stay."""
        raise NotImplementedError


class PowerControl(t.Protocol):
    """A provider that can switch machines on and off."""

    def observe_power(self, names: t.Collection[str]) -> t.Mapping[str, PowerSeen | EncompassError | None]:
        """Return the power of each machine; None for one that is not there."""
        raise NotImplementedError

    def start(self, name: str) -> None:
        """Switch it on. Raises :class:`Conflict` when somebody else uses one of its volumes."""
        raise NotImplementedError

    def resume(self, name: str) -> None:
        """Let a paused machine go on."""
        raise NotImplementedError

    def request_shutdown(self, name: str) -> None:
        """Press its power button; returns at once."""
        raise NotImplementedError

    def power_off(self, name: str) -> None:
        """Pull its plug."""
        raise NotImplementedError


class NetworkHost(t.Protocol):
    """A provider that has networks of its own."""

    def observe_networks(self) -> t.Mapping[str, NetworkSeen]:
        """Return every network of the provider."""
        raise NotImplementedError

    def define_network(self, network: Network) -> None:
        """Make the definition so, without starting it."""
        raise NotImplementedError

    def start_network(self, name: str) -> None:
        """Bring it up, now and whenever the provider starts."""
        raise NotImplementedError

    def stop_network(self, name: str) -> None:
        """Take it down; whoever is on it is cut off."""
        raise NotImplementedError

    def undefine_network(self, name: str) -> None:
        """Forget its definition."""
        raise NotImplementedError

    def reserve_address(self, network: str, reservation: Reservation) -> None:
        """Give the address to this MAC only, from now on."""
        raise NotImplementedError

    def release_address(self, network: str, reservation: Reservation) -> None:
        """Take the reservation back."""
        raise NotImplementedError


class PoolHost(t.Protocol):
    """A provider that knows pools by name."""

    def observe_pools(self) -> t.Mapping[str, PoolSeen]:
        """Return every pool of the provider."""
        raise NotImplementedError

    def define_pool(self, name: str, path: str) -> None:
        """Define a directory pool."""
        raise NotImplementedError

    def start_pool(self, name: str) -> None:
        """Bring it up, now and whenever the provider starts."""
        raise NotImplementedError

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider with a memory, for the verbs that work on one."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.encompass.images.plugins.module_utils._core.domain import Domain
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    EncompassError,
    NotFound,
    ToolFailed,
)
from ansible_collections.encompass.images.plugins.module_utils._core.network import Network, Reservation
from ansible_collections.encompass.images.plugins.module_utils._core.provider import (
    DomainSeen,
    NetworkSeen,
    PoolSeen,
    Power,
    PowerSeen,
)


class FakeHost:
    """Keeps what it is told. ``locked`` machines cannot start, ``deaf`` ones do not hear their power button."""

    def __init__(self) -> None:
        self.domains: dict[str, Domain] = {}
        self.powers: dict[str, Power] = {}
        self.networks: dict[str, NetworkSeen] = {}
        self.pools: dict[str, PoolSeen] = {}
        self.locked: set[str] = set()
        self.deaf: set[str] = set()
        self.broken: set[str] = set()
        self.calls: list[tuple[str, ...]] = []

    def note(self, *call: str) -> None:
        self.calls.append(call)
        if call[1] in self.broken:
            raise ToolFailed(call[1], "it is broken")

    def observe_domains(self) -> dict[str, DomainSeen]:
        return {name: DomainSeen(domain, active=self.is_on(name)) for name, domain in self.domains.items()}

    def is_on(self, name: str) -> bool:
        return self.powers.get(name, Power.OFF) is not Power.OFF

    def define_domain(self, domain: Domain) -> None:
        self.note("define", domain.name)
        self.domains[domain.name] = domain

    def undefine_domain(self, name: str) -> None:
        self.note("undefine", name)
        del self.domains[name]

    def observe_power(self, names: t.Collection[str]) -> dict[str, PowerSeen | EncompassError | None]:
        known = {name: self.powers.get(name, Power.OFF) for name in self.domains}
        return {name: PowerSeen(self.domains[name].uuid, known[name]) if name in known else None for name in names}

    def start(self, name: str) -> None:
        self.note("start", name)
        if name not in self.domains:
            raise NotFound(f"machine {name}", "the provider has no such domain")
        if name in self.locked:
            raise Conflict(f"machine {name}", "volume /x is in use")
        self.powers[name] = Power.RUNNING

    def resume(self, name: str) -> None:
        self.note("resume", name)
        self.powers[name] = Power.RUNNING

    def request_shutdown(self, name: str) -> None:
        self.note("shutdown", name)
        if name not in self.deaf:
            self.powers[name] = Power.OFF

    def power_off(self, name: str) -> None:
        self.note("destroy", name)
        self.powers[name] = Power.OFF

    def observe_networks(self) -> dict[str, NetworkSeen]:
        return dict(self.networks)

    def define_network(self, network: Network) -> None:
        self.note("define", network.name)
        before = self.networks.get(network.name, NetworkSeen(network, active=False, autostart=False))
        self.networks[network.name] = dataclasses.replace(before, network=network)

    def start_network(self, name: str) -> None:
        self.note("start", name)
        self.networks[name] = dataclasses.replace(self.networks[name], active=True, autostart=True)

    def stop_network(self, name: str) -> None:
        self.note("stop", name)
        self.networks[name] = dataclasses.replace(self.networks[name], active=False)

    def undefine_network(self, name: str) -> None:
        self.note("undefine", name)
        del self.networks[name]

    def reserve_address(self, network: str, reservation: Reservation) -> None:
        self.note("reserve", network)
        self._hold(network, (*self.networks[network].network.reservations, reservation))

    def release_address(self, network: str, reservation: Reservation) -> None:
        self.note("release", network)
        self._hold(network, tuple(x for x in self.networks[network].network.reservations if x != reservation))

    def _hold(self, name: str, reservations: tuple[Reservation, ...]) -> None:
        seen = self.networks[name]
        self.networks[name] = dataclasses.replace(
            seen, network=dataclasses.replace(seen.network, reservations=reservations)
        )

    def observe_pools(self) -> dict[str, PoolSeen]:
        return dict(self.pools)

    def define_pool(self, name: str, path: str) -> None:
        self.note("define", name)
        self.pools[name] = PoolSeen(name, "dir", path, active=False, autostart=False)

    def start_pool(self, name: str) -> None:
        self.note("start", name)
        self.pools[name] = dataclasses.replace(self.pools[name], active=True, autostart=True)

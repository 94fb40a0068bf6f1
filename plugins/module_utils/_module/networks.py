# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``network``: networks of a provider. Private to this collection."""

from __future__ import annotations

import contextlib
import typing as t

from .._core.errors import EncompassError
from .._core.network import read_network
from .._core.networking import (
    PRESENT,
    DefineNetwork,
    NetworkRequest,
    StartNetwork,
    StopNetwork,
    UndefineNetwork,
    diff_network,
    name_users,
    plan_network,
    report_network,
)
from .._core.provider import NetworkSeen
from .._core.steps import Step
from .._drivers.libvirt import LibvirtHost, open_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class NetworkVerb:
    """Make and remove networks."""

    lock_kind = "network"

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host

    def observe(self, items: t.Mapping[str, NetworkRequest]) -> dict[str, NetworkSeen | None]:
        """Return each network with the machines that are on it."""
        networks = name_users(self._host.observe_networks(), self._host.observe_domains())
        return {name: networks.get(name) for name in items}

    def plan(self, item: NetworkRequest, seen: NetworkSeen | None) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_network(item, seen)

    def report(self, item: NetworkRequest, seen: NetworkSeen | None, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the network as it then is."""
        return report_network(item, seen)

    def diff(self, item: NetworkRequest, seen: NetworkSeen | None, _steps: t.Sequence[Step]) -> tuple[str, str]:
        """Return the network's definition before and after."""
        return diff_network(item, seen)

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, one network after the other: each of them changes the firewall."""
        return perform_each(plans, self._perform_step, workers=1)

    def _perform_step(self, name: str, step: Step) -> None:
        if isinstance(step, DefineNetwork):
            self._host.define_network(step.network)
        elif isinstance(step, StartNetwork):
            self._host.start_network(name)
        elif isinstance(step, StopNetwork):
            self._host.stop_network(name)
        elif isinstance(step, UndefineNetwork):
            self._host.undefine_network(name)


@contextlib.contextmanager
def open_networks(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    present = params["state"] == PRESENT
    requests = [NetworkRequest(entry["name"], read_network(entry) if present else None) for entry in params["networks"]]
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(NetworkVerb(host), collect_by_name("network", requests))

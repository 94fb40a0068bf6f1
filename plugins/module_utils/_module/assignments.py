# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``assign``: addresses that are kept for machines. Private to this collection."""

from __future__ import annotations

import contextlib
import typing as t

from .._core.addressing import (
    Assignment,
    ReleaseAddress,
    ReserveAddress,
    diff_assignment,
    plan_assignment,
    read_assignment,
    report_assignment,
)
from .._core.errors import EncompassError
from .._core.provider import NetworkHost, NetworkSeen
from .._core.steps import Step
from .._drivers.libvirt import open_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job

NetworksSeen = t.Mapping[str, NetworkSeen]


class AssignVerb:
    """Reserve and release addresses."""

    lock_kind = "machine"

    def __init__(self, host: NetworkHost, *, workers: int) -> None:
        self._host = host
        self._workers = workers

    def observe(self, items: t.Mapping[str, Assignment]) -> dict[str, NetworksSeen]:
        """Return for each machine all networks, since another network may hold its MAC as well."""
        networks = self._host.observe_networks()
        return dict.fromkeys(items, networks)

    def plan(self, item: Assignment, seen: NetworksSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_assignment(item, seen)

    def report(self, item: Assignment, _seen: NetworksSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the machine's cards, and whether their addresses are reserved."""
        return report_assignment(item)

    def diff(self, _item: Assignment, _seen: NetworksSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the reservations that go and those that come."""
        return diff_assignment(steps)

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Reserve and release, several machines at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, _name: str, step: Step) -> None:
        if isinstance(step, ReserveAddress):
            self._host.reserve_address(step.network, step.reservation)
        elif isinstance(step, ReleaseAddress):
            self._host.release_address(step.network, step.reservation)


@contextlib.contextmanager
def open_assignments(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    state, release = params["state"], params["release"]
    requests = [read_assignment(state, entry, release=release) for entry in params["machines"]]
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(AssignVerb(host, workers=params["workers"]), collect_by_name("machine", requests))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``pool``: directories as pools of a provider. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._core.errors import EncompassError
from .._core.pool_layout import LAYOUT
from .._core.pooling import (
    DefinePool,
    MakeDirectory,
    PoolPlaceSeen,
    PoolRequest,
    StartPool,
    diff_pool,
    plan_pool,
    read_pool,
    report_pool,
)
from .._core.provider import PoolHost
from .._core.steps import Step
from .._drivers import directories
from .._drivers.libvirt import open_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class PoolVerb:
    """Make pools."""

    lock_kind = "pool"

    def __init__(self, host: PoolHost) -> None:
        self._host = host

    def observe(self, items: t.Mapping[str, PoolRequest]) -> dict[str, PoolPlaceSeen | EncompassError]:
        """Return each pool, its directories, and who else is at its place."""
        pools = self._host.observe_pools()
        by_path = {os.path.realpath(pool.path): name for name, pool in pools.items() if pool.path}
        observed: dict[str, PoolPlaceSeen | EncompassError] = {}
        for name, item in items.items():
            try:
                modes = {item.path + below: directories.see_mode(item.path + below, item.subject) for below in LAYOUT}
            except EncompassError as exc:
                observed[name] = exc
                continue
            neighbour = by_path.get(os.path.realpath(item.path), name)
            observed[name] = PoolPlaceSeen(pools.get(name), modes, "" if neighbour == name else neighbour)
        return observed

    def plan(self, item: PoolRequest, seen: PoolPlaceSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_pool(item, seen)

    def report(self, item: PoolRequest, _seen: PoolPlaceSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the pool's record."""
        return report_pool(item)

    def diff(self, item: PoolRequest, seen: PoolPlaceSeen, _steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return directories and pool before and after."""
        return diff_pool(item, seen)

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, one pool after the other."""
        return perform_each(plans, self._perform_step, workers=1)

    def _perform_step(self, name: str, step: Step) -> None:
        if isinstance(step, MakeDirectory):
            directories.make_directory(step.path, step.mode, f"pool {name}")
        elif isinstance(step, DefinePool):
            self._host.define_pool(step.name, step.path)
        elif isinstance(step, StartPool):
            self._host.start_pool(step.name)


@contextlib.contextmanager
def open_pools(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    requests = [read_pool(entry) for entry in params["pools"]]
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(PoolVerb(host), collect_by_name("pool", requests))

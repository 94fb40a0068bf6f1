# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``sweep``: what belongs to nobody goes. Private to this collection."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from .._core.addressing import ReleaseAddress
from .._core.attachment import UndefineDomain
from .._core.errors import EncompassError
from .._core.migration import RemoveDirectory
from .._core.provider import DomainSeen, NetworkSeen
from .._core.steps import Step
from .._core.sweeping import Remains, RemainsSeen, plan_sweep, read_remains, report_sweep
from .._drivers import image_files, volumes
from .._drivers.libvirt import LibvirtHost, open_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class SweepVerb:
    """Remove what is named, if it still is nobody's as far as the provider can tell."""

    lock_kind = "sweep"

    def __init__(self, host: LibvirtHost, items: t.Mapping[str, Remains]) -> None:
        self._host = host
        self._items = items

    def observe(self, items: t.Mapping[str, Remains]) -> dict[str, RemainsSeen | EncompassError]:
        """Return what there is of each item."""
        domains, networks = self._host.observe_domains(), self._host.observe_networks()
        observed: dict[str, RemainsSeen | EncompassError] = {}
        for name, item in items.items():
            try:
                observed[name] = _see(item, domains, networks)
            except EncompassError as exc:
                observed[name] = exc
        return observed

    def plan(self, item: Remains, seen: RemainsSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_sweep(item, seen)

    def report(self, item: Remains, _seen: RemainsSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return what is gone then."""
        return report_sweep(item)

    def diff(self, _item: Remains, _seen: RemainsSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what goes."""
        return {"remains": [step.describe() for step in steps]}, {"remains": []}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, one after the other."""
        return perform_each(plans, self._perform_step, workers=1)

    def _perform_step(self, name: str, step: Step) -> None:
        item = self._items[name]
        if isinstance(step, UndefineDomain):
            self._host.undefine_domain(item.domain)
        elif isinstance(step, ReleaseAddress):
            self._host.release_address(step.network, step.reservation)
        elif isinstance(step, RemoveDirectory):
            volumes.discard_directory(step.path, item.subject)


def _see(item: Remains, domains: t.Mapping[str, DomainSeen], networks: t.Mapping[str, NetworkSeen]) -> RemainsSeen:
    if not item.path:
        return RemainsSeen(domain=domains.get(item.domain), network=networks.get(item.network))
    folder = f"{item.path}/"
    disks = [(name, disk.path) for name, seen in domains.items() for disk in seen.domain.disks]
    files = (volumes.list_volumes(item.path, item.subject) or {}).values() if pathlib.Path(item.path).is_dir() else ()
    states = {entry["path"]: entry["state"] for entry in volumes.list_staging(item.pool_path)}
    return RemainsSeen(
        exists=pathlib.Path(item.path).exists(),
        users=tuple(sorted({name for name, path in disks if path.startswith(folder)})),
        open=next((path for path in files if image_files.is_open_in_qemu(path, item.subject)), ""),
        at_work=states.get(item.path) == "working",
    )


@contextlib.contextmanager
def open_sweep(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    items = collect_by_name("remains", [read_remains(entry) for entry in params["remains"]])
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(SweepVerb(host, items), items)

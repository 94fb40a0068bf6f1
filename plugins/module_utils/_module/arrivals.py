# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of module ``migrate`` on one provider: take in what arrived, clear what was left. Private to this
collection.
"""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from .._core.addressing import ReleaseAddress
from .._core.attachment import UndefineDomain
from .._core.errors import EncompassError, ToolFailed
from .._core.migration import (
    Move,
    Parcel,
    RemoveDirectory,
    Vacancy,
    VacancySeen,
    plan_vacancy,
    presume_vacancy,
    read_move,
    read_vacancy,
    report_move,
)
from .._core.pool_layout import RemoveLeftovers
from .._core.steps import Step
from .._core.transfer import (
    MANIFEST,
    ArrivalSeen,
    Manifest,
    PublishArrival,
    RemoveStale,
    plan_arrival,
    presume_arrival,
)
from .._drivers import image_files, parcels, qemu_img, volumes
from .._drivers.libvirt_migration import MigratingHost, open_migrating_host
from .migrations import name_arrival
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class ReceiveVerb:
    """Prove what arrived for machines, and publish it."""

    lock_kind = "machine"

    def __init__(self, host: MigratingHost, *, workers: int) -> None:
        self._host = host
        self._workers = workers

    def observe(self, items: t.Mapping[str, Move]) -> dict[str, t.Any]:
        """Return what arrived for each machine, and what is there of its clones."""
        observed: dict[str, t.Any] = {}
        for name, item in items.items():
            try:
                observed[name] = _see_arrival(item)
            except EncompassError as exc:
                observed[name] = exc
        return observed

    def plan(self, item: Move, seen: ArrivalSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_arrival(item, seen)

    def report(self, item: Move, _seen: ArrivalSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return where the machine and its clones are then."""
        return report_move(item)

    def diff(self, _item: Move, seen: ArrivalSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the directories that are published, before and after."""
        published = [step.parcel.target_directory for step in steps if isinstance(step, PublishArrival)]
        return {"directories": []}, {"directories": published}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, several machines at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, name: str, step: Step) -> None:
        subject = f"machine {name}"
        if isinstance(step, RemoveLeftovers):
            for path in step.paths:
                volumes.remove_tree(path, subject)
        elif isinstance(step, RemoveStale):
            volumes.discard_directory(step.path, subject)
        elif isinstance(step, PublishArrival):
            self._publish(step, subject)

    def _publish(self, step: PublishArrival, subject: str) -> None:
        parcel = step.parcel
        for entry in step.manifest.files:
            arrived = f"{parcel.arrival}/{entry.flat_name}"
            if image_files.hash_file(arrived, subject) != entry.digest:
                raise ToolFailed(
                    subject, f"{arrived} is not what was sent", remedy="Run encompass.images.migrate again."
                )
        # From here on it is not whole any more: a run that is killed now has it sent again.
        volumes.remove_tree(f"{parcel.arrival}/{MANIFEST}", subject)
        staged = volumes.stage_path(parcel.target_pool_path, parcel.kind, parcel.name)
        folder = str(pathlib.PurePath(parcel.target_directory).parent)
        try:
            parcels.unpack(parcel.arrival, staged, step.manifest.files, subject)
            for volume in parcel.volumes:
                _finish_volume(parcel, volume, staged, subject, make=step.makes_volumes)
            volumes.ensure_folder(folder, subject)
            volumes.publish_directory(staged, parcel.target_directory, subject)
        except EncompassError:
            volumes.remove_tree(staged, subject)
            raise
        volumes.flush(folder, subject)
        self._host.close_arrival(name_arrival(parcel))
        volumes.remove_tree(parcel.arrival, subject)


def _see_arrival(item: Move) -> ArrivalSeen:
    manifests: dict[str, Manifest | None] = {}
    listed: dict[str, t.Collection[str] | None] = {}
    is_open: dict[str, bool] = {}
    leftovers: list[str] = []
    for parcel in item.parcels:
        leftovers += volumes.find_leftovers(parcel.target_pool_path, parcel.kind).get(parcel.name, [])
        record = volumes.read_json(f"{parcel.arrival}/{MANIFEST}", item.subject)
        manifests[parcel.id] = Manifest.parse(record, item.subject) if record else None
        found = volumes.list_volumes(parcel.target_directory, item.subject)
        paths = None if found is None else list(found.values())
        listed[parcel.id] = None if paths is None else {pathlib.PurePath(path).name for path in paths}
        is_open[parcel.id] = any(image_files.is_open_in_qemu(path, item.subject) for path in paths or ())
    return ArrivalSeen(manifests, listed, is_open, tuple(leftovers))


def _finish_volume(
    parcel: Parcel, volume: t.Mapping[str, t.Any], staged: pathlib.Path, subject: str, *, make: bool
) -> None:
    """Make a volume that libvirt is going to fill, or have one that arrived find its base."""
    path, backing = staged / pathlib.PurePath(volume["path"]).name, volume.get("backing")
    base = parcel.relocate(backing["path"]) if backing else ""
    if make and backing:
        qemu_img.create_overlay(
            str(path), base, base_format=backing["format"], virtual_bytes=volume["virtual_bytes"], subject=subject
        )
    elif make:
        qemu_img.create_volume(str(path), volume["format"], volume["virtual_bytes"], subject=subject)
    elif backing and base != backing["path"]:
        qemu_img.rebase(str(path), base, base_format=backing["format"], subject=subject)
    volumes.seal_file(path, 0o600, subject)


class VacateVerb:
    """Remove what machines that live elsewhere left here."""

    lock_kind = "machine"

    def __init__(self, host: MigratingHost, items: t.Mapping[str, Vacancy], *, workers: int) -> None:
        self._host = host
        self._items = items
        self._workers = workers

    def observe(self, items: t.Mapping[str, Vacancy]) -> dict[str, t.Any]:
        """Return what there is of each machine."""
        domains, networks = self._host.observe_domains(), self._host.observe_networks()
        observed: dict[str, t.Any] = {}
        for name, item in items.items():
            try:
                directories = {path: _is_open(path) for path in _list_remains(item)}
                observed[name] = VacancySeen(domains.get(name), networks, directories)
            except EncompassError as exc:
                observed[name] = exc
        return observed

    def plan(self, item: Vacancy, seen: VacancySeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_vacancy(item, seen)

    def report(self, _item: Vacancy, _seen: VacancySeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return nothing: nothing is left."""
        return {}

    def diff(self, _item: Vacancy, _seen: VacancySeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what goes."""
        return {"left": [step.describe() for step in steps]}, {"left": []}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, several machines at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, name: str, step: Step) -> None:
        if isinstance(step, UndefineDomain):
            self._host.undefine_domain(name)
        elif isinstance(step, ReleaseAddress):
            self._host.release_address(step.network, step.reservation)
        elif isinstance(step, RemoveDirectory):
            for parcel in self._items[name].parcels:
                if parcel.arrival == step.path:
                    self._host.close_arrival(name_arrival(parcel))
            volumes.discard_directory(step.path, f"machine {name}")


def _list_remains(item: Vacancy) -> list[str]:
    """Return the directories that hold something of a machine, what a killed run was deleting included."""
    there = [path for path in item.paths if pathlib.Path(path).exists()]
    for parcel in item.parcels:
        there += volumes.find_leftovers(parcel.target_pool_path, parcel.kind).get(parcel.name, [])
    return there


def _is_open(path: str) -> bool:
    found = volumes.list_volumes(path, f"directory {path}") or {}
    return any(image_files.is_open_in_qemu(volume, f"directory {path}") for volume in found.values())


@contextlib.contextmanager
def open_arrivals(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job of taking in what arrived."""
    items = collect_by_name("machine", [read_move(entry) for entry in params["machines"]])
    with open_migrating_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(ReceiveVerb(host, workers=params["workers"]), items, presume_arrival)


@contextlib.contextmanager
def open_vacancies(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job of clearing what was left."""
    items = collect_by_name("machine", [read_vacancy(entry) for entry in params["machines"]])
    with open_migrating_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(VacateVerb(host, items, workers=params["workers"]), items, presume_vacancy)

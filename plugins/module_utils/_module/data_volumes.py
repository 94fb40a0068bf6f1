# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``volume``: data volumes of servers. Private to this collection."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from .._core.data_volumes import (
    DataRequest,
    DataSeen,
    GrowData,
    MakeData,
    RemoveData,
    check_file_system,
    check_size,
    path_of,
    plan_data_removal,
    plan_data_volume,
    presume_data_volume,
    report_data_volume,
    split_name,
)
from .._core.errors import Conflict, EncompassError, InvalidRequest
from .._core.pool_layout import RemoveLeftovers, check_pool_path
from .._core.steps import Step
from .._drivers import guestfs, image_files, qemu_img, volumes
from .._drivers.watched import Work, run_batches
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job

KIND = "volume"
MOST_DISKS = 24
"""Disks in one appliance: each adds about 0.3 s to its start."""


class _Image(t.NamedTuple):
    path: str
    format: str


class DataVerb:
    """Make, grow and delete data volumes."""

    lock_kind = KIND

    def __init__(
        self,
        requests: t.Mapping[str, DataRequest],
        *,
        present: bool,
        workers: int,
        timeout_s: float,
        virt_type: str | None,
    ) -> None:
        self._requests = requests
        self._present = present
        self._workers = workers
        self._timeout_s = timeout_s
        self._virt_type = virt_type

    def observe(self, items: t.Mapping[str, DataRequest]) -> dict[str, DataSeen | EncompassError]:
        """Return what is there of each volume."""
        seen: dict[str, DataSeen | EncompassError] = {}
        for name, request in items.items():
            try:
                seen[name] = _see_volume(request)
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def plan(self, item: DataRequest, seen: DataSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_data_volume(item, seen) if self._present else plan_data_removal(item, seen)

    def report(self, item: DataRequest, seen: DataSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the volume's record; that of a deleted volume is empty."""
        return report_data_volume(item, seen) if self._present else {}

    def diff(self, item: DataRequest, seen: DataSeen, _steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the volume's size before and after."""
        before = {item.path: seen.virtual_bytes} if seen.exists else {}
        return before, {item.path: item.virtual_bytes} if self._present else {}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do what each volume needs; file systems are made in one appliance for all, before any volume has its name."""
        try:
            failures = perform_each(plans, self._perform_step, workers=self._workers)
            made = {
                name: step
                for name, steps in plans.items()
                for step in steps
                if isinstance(step, MakeData) and failures[name] is None
            }
            failures.update(self._make_file_systems({name: step for name, step in made.items() if step.filesystem}))
            ready = {name: (made[name],) for name in made if failures[name] is None}
            if ready:
                failures.update(perform_each(ready, self._publish, workers=self._workers))
        finally:
            for name in plans:
                with contextlib.suppress(EncompassError):
                    volumes.remove_tree(self._staged(name), f"{KIND} {name}")
        return failures

    def _staged(self, name: str) -> pathlib.Path:
        return volumes.stage_path(self._requests[name].pool_path, KIND, name)

    def _perform_step(self, name: str, step: Step) -> None:
        subject = f"{KIND} {name}"
        if isinstance(step, RemoveLeftovers):
            for path in step.paths:
                volumes.remove_tree(path, subject)
        elif isinstance(step, GrowData):
            qemu_img.resize(step.path, step.virtual_bytes, image_format=step.format, subject=subject)
            volumes.flush(step.path, subject)
        elif isinstance(step, RemoveData):
            volumes.withdraw_data(step.path, subject)
        elif isinstance(step, MakeData):
            qemu_img.create_volume(str(self._staged(name)), step.format, step.virtual_bytes, subject=subject)

    def _make_file_systems(self, steps: t.Mapping[str, MakeData]) -> dict[str, EncompassError | None]:
        """Make the file systems inside an appliance, where nothing else of the host is within reach."""

        # Here and not in the child, whose staged names would be its own.
        disks = {name: [_Image(str(self._staged(name)), step.format)] for name, step in steps.items()}

        def serve(batch: t.Sequence[str], run: t.Callable[[str, Work], bool]) -> None:
            subject = "the appliance of " + ", ".join(batch)
            volumes_of = {name: disks[name] for name in batch}
            with guestfs.open_appliance(volumes_of, virt_type=self._virt_type, subject=subject) as appliance:
                for name in batch:
                    run(name, lambda name: self._make_file_system(appliance, name, steps[name]))

        names = list(steps)
        pools = {self._requests[name].pool_path for name in names}
        results = run_batches(
            [names[first : first + MOST_DISKS] for first in range(0, len(names), MOST_DISKS)],
            serve,
            describe=lambda name: f"{KIND} {name}",
            timeout_s=self._timeout_s,
            find_full=lambda: volumes.find_full(pools),
        )
        return {name: result if isinstance(result, EncompassError) else None for name, result in results.items()}

    @staticmethod
    def _make_file_system(appliance: guestfs.Appliance, name: str, step: MakeData) -> None:
        appliance.make_file_system(name, step.filesystem, step.label, subject=f"{KIND} {name}")

    def _publish(self, name: str, step: Step) -> None:
        """Give a finished volume its name; what has that name already is never replaced."""
        request = self._requests[name]
        volumes.seal_file(self._staged(name), 0o600, request.subject)
        volumes.ensure_data_directory(request.pool_path, request.path, request.subject)
        if not volumes.publish_file(self._staged(name), request.path, request.subject):
            raise Conflict(request.subject, f"{request.path} came to be meanwhile", remedy="Run again.")


def _see_volume(request: DataRequest) -> DataSeen:
    subject = request.subject
    volumes.require_layout(request.pool_path, subject)
    free_bytes = volumes.count_free_bytes(request.pool_path, subject)
    leftovers = tuple(volumes.find_leftovers(request.pool_path, KIND).get(request.name, ()))
    seen = image_files.see_file(request.path, subject)
    if seen is None:
        return DataSeen(exists=False, free_bytes=free_bytes, leftovers=leftovers)
    virtual_bytes, depends_on = read_size(request.path, request.format, seen.size_bytes, subject)
    return DataSeen(
        exists=True,
        free_bytes=free_bytes,
        virtual_bytes=virtual_bytes,
        allocated_bytes=seen.allocated_bytes,
        in_use=image_files.is_open_in_qemu(request.path, subject),
        depends_on=depends_on,
        leftovers=leftovers,
    )


def read_size(path: str, image_format: str, size_bytes: int, subject: str) -> tuple[int, str]:
    """Return (virtual size, file that it depends on). A raw volume's first bytes are its guest's, and not looked at."""
    if image_format == "raw":
        return size_bytes, ""
    header = image_files.read_header(path, f"{subject} ({path})")
    if header.format != image_format:
        raise Conflict(subject, f"{path} is {header.format} instead of {image_format}")
    return header.virtual_bytes, header.backing_file or header.data_file


@contextlib.contextmanager
def open_data_volumes(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    present = params["state"] == "present"
    requests = collect_by_name(KIND, [_parse_volume(entry, present=present) for entry in params["volumes"]])
    verb = DataVerb(
        requests,
        present=present,
        workers=params["workers"],
        timeout_s=params["timeout_s"],
        virt_type=params["virt_type"] if params["virt_type"] != "auto" else None,
    )
    yield Job(verb, requests, presume_data_volume)


def _parse_volume(entry: t.Mapping[str, t.Any], *, present: bool) -> DataRequest:
    subject = f"{KIND} {entry['name']}"
    split_name(entry["name"])
    check_pool_path(subject, entry["pool_path"] or "")
    pool_path = entry["pool_path"].rstrip("/")
    request = DataRequest(
        name=entry["name"],
        pool_path=pool_path,
        path=path_of(pool_path, entry["name"], entry["format"]),
        format=entry["format"],
        virtual_bytes=measure_size(entry),
        filesystem=entry["filesystem"] or "",
        label=entry["label"] or "",
        idle=entry["idle"],
    )
    if entry["path"] not in (None, request.path):
        raise InvalidRequest(subject, f"its path is {request.path}, not {entry['path']}")
    if present:
        check_size(subject, request.virtual_bytes)
        check_file_system(subject, request.filesystem, request.label, request.virtual_bytes)
    return request


def measure_size(entry: t.Mapping[str, t.Any]) -> int:
    """Return the bytes that are asked for, in whatever unit; 0 when nothing is said."""
    return int(entry["virtual_bytes"] or 0) or (entry["size_gib"] or 0) << 30 or (entry["size_mib"] or 0) << 20

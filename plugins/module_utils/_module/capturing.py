# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``capture``: clones that became something of their own, made masters. Private; may change."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing as t

from .._core.capturing import (
    CAPTURED,
    CaptureRequest,
    CaptureSeen,
    FlattenVolume,
    PublishCopy,
    limit_copying_s,
    plan_capture,
    presume_capture,
    report_capture,
)
from .._core.customization import CloneRequest, Mount, Volume, check_place
from .._core.errors import Conflict, EncompassError, InvalidRequest, NoSpace, ToolFailed, Unsupported
from .._core.library import list_strays
from .._core.library_types import HardwareWishes, MasterRequest, MasterVolume, Origin, VolumeOrigin
from .._core.pool_layout import Pool, RemoveLeftovers, check_object_name, check_pool_path, explain_full_pool
from .._core.secret_search import describe_secrets
from .._core.steps import Step
from .._drivers import guestfs, image_files, qemu_img, volumes
from .._drivers.guest_cleaning import GuestCleaning
from .._drivers.guest_files import GuestFiles
from .._drivers.private_files import private_directory
from .._drivers.system_inspection import inspect_system
from .._drivers.undo import UndoStore
from .._drivers.watched import Work, run_batches
from .customizing import choose_batches, parse_clone
from .inspecting import inspect_image
from .parallel import perform_each
from .publishing import find_shared, publish_volumes, read_origin, remove_leftovers, see_published
from .requests import collect_by_name
from .runner import Job
from .sealing import seal_guest

KIND = "clone"
STAGED_KIND = "capture"
_MODE_PUBLISHED = 0o444
_REPORT = "report"

Failures = dict[str, t.Optional[EncompassError]]


@dataclasses.dataclass(frozen=True)
class Copies:
    """Where the copies of one guest's volumes are made; ``names`` are the volumes' in the master, in their order."""

    directory: pathlib.Path
    names: tuple[str, ...]

    def path_of(self, name: str) -> pathlib.Path:
        """Return where the copy of a volume is."""
        return self.directory / f"{name}.qcow2"

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The copies as a guest's volumes."""
        return tuple(Volume(name, str(self.path_of(name)), "qcow2") for name in self.names)


@dataclasses.dataclass(frozen=True)
class CaptureOptions:
    """What holds for all clones of a batch."""

    on_secret: str = _REPORT
    force: bool = False
    workers: int = 2
    timeout_s: float = 900.0
    virt_type: str | None = None


class CaptureVerb:
    """Flatten, seal and publish clones; nothing is written to the clones themselves.

    Who captures something else gives plans that end as :func:`plan_publication` has it, and says how to ``_copy``.
    """

    lock_kind = KIND

    def __init__(self, requests: t.Mapping[str, CaptureRequest], options: CaptureOptions) -> None:
        self._requests = requests
        self._options = options

    def plan(self, item: CaptureRequest, seen: CaptureSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_capture(item, seen)

    def report(self, item: CaptureRequest, seen: CaptureSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the master's record."""
        return report_capture(item, seen)

    def diff(self, item: CaptureRequest, seen: CaptureSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what is published of the master before, its record after."""
        return {"published": [dataclasses.asdict(file) for file in seen.published]}, self.report(item, seen, steps)

    # Observation

    def observe(self, items: t.Mapping[str, CaptureRequest]) -> dict[str, CaptureSeen | EncompassError]:
        """Return what is there of each clone and of the master that it is to become."""
        seen: dict[str, CaptureSeen | EncompassError] = {}
        for name, request in items.items():
            try:
                seen[name] = _see_capture(request)
            except EncompassError as exc:
                seen[name] = exc
        return seen

    # Work

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> Failures:
        """Copy all clones, seal the copies in one appliance, and publish them; what is staged goes in any case."""
        failures: Failures = perform_each(plans, self._clear, workers=1)
        plans = {name: steps for name, steps in plans.items() if failures[name] is None}
        due = {name: step.volumes for name, steps in plans.items() for step in steps if isinstance(step, PublishCopy)}
        with contextlib.ExitStack() as stack:
            copies: dict[str, Copies] = {}
            for name, volume_names in due.items():
                try:
                    copies[name] = Copies(self._stage(name, stack), volume_names)
                except EncompassError as exc:
                    failures[name] = exc
            copying = {name: plans[name] for name in copies}
            failures.update(
                perform_each(
                    copying, lambda name, step: self._copy(name, step, copies[name]), workers=self._options.workers
                )
            )
            sealed = self._seal({name: one for name, one in copies.items() if failures[name] is None})
            for name, told in sealed.items():
                failures[name] = told if isinstance(told, EncompassError) else self._publish(name, copies[name], told)
        return failures

    def _clear(self, name: str, step: Step) -> None:
        """Do what has to be done before anything is made."""
        if isinstance(step, RemoveLeftovers):
            request = self._requests[name]
            remove_leftovers(request.master, step.paths, request.subject)

    def _stage(self, name: str, stack: contextlib.ExitStack) -> pathlib.Path:
        """Return the directory that the clone's copies go to; it lasts as long as the stack."""
        request = self._requests[name]
        pool = request.master.pool.path
        volumes.require_layout(pool, request.subject)
        return stack.enter_context(volumes.staged_directory(pool, STAGED_KIND, name, request.subject))

    def _copy(self, name: str, step: Step, copies: Copies) -> None:
        """Do one step of copying; steps of other kinds have their time before or after."""
        if not isinstance(step, FlattenVolume):
            return
        copy = copies.path_of(step.volume)
        subject, pool = self._requests[name].subject, self._requests[name].master.pool.path
        try:
            limit_s = limit_copying_s(step.needed_bytes)
            qemu_img.convert(step.path, step.format, str(copy), subject=subject, timeout_s=limit_s)
        except NoSpace as exc:
            volumes.remove_tree(copy, subject)
            free_bytes = volumes.count_free_bytes(pool, subject)
            raise explain_full_pool(subject, pool, needed_bytes=step.needed_bytes, free_bytes=free_bytes) from exc

    def _seal(self, copies: t.Mapping[str, Copies]) -> dict[str, t.Any]:
        """Return, by clone, what sealing and inspecting its copies told, or the error."""
        guests = {
            name: dataclasses.replace(self._requests[name].clone, volumes=one.volumes) for name, one in copies.items()
        }

        def serve(batch: t.Sequence[str], run: t.Callable[[str, Work], bool]) -> None:
            disks = {name: guests[name].volumes for name in batch}
            subject = "the appliance of " + ", ".join(batch)
            with guestfs.open_appliance(disks, virt_type=self._options.virt_type, subject=subject) as appliance:
                for name in batch:
                    run(name, lambda name: self._seal_copy(appliance, guests[name], inspect=len(batch) == 1))
                    if not appliance.is_alive:
                        return  # the parent starts another one for the rest

        pools = {self._requests[name].master.pool.path for name in copies}
        results = run_batches(
            choose_batches(list(guests.values()), lanes=1),
            serve,
            describe=lambda name: self._requests[name].subject,
            timeout_s=self._options.timeout_s,
            find_full=lambda: volumes.find_full(pools),
        )
        return {name: self._complete(guests[name], told) for name, told in results.items()}

    def _seal_copy(self, appliance: guestfs.Appliance, guest: CloneRequest, *, inspect: bool) -> dict[str, t.Any]:
        """Seal one copy; inspect it too when no other system is in the appliance to be mistaken for it."""
        name, subject = guest.name, self._requests[guest.name].subject
        guest, unclean = self._look_inside(appliance, guest, subject)
        mounts = guest.mounts
        if not self._options.force:
            _require_clean(unclean, subject)
        with private_directory() as scratch, appliance.mounted(name, mounts, subject=subject) as handle:
            told = seal_guest(
                GuestFiles(handle, subject),
                GuestCleaning(handle, subject, scratch),
                UndoStore(guest.directory, subject) if guest.directory else None,
                [mount.mountpoint for mount in mounts],
                hostname=guest.hostname,
            )
        if told["secrets"] and self._options.on_secret != _REPORT:
            raise InvalidRequest(
                subject,
                f"it holds secrets: {describe_secrets(told['secrets'])}",
                remedy="Remove them in the guest, or capture with on_secret: report. Nothing was made of the clone.",
            )
        return {
            **(inspect_system(appliance.handle, subject) if inspect else {}),
            CAPTURED: {**told, "replayed": unclean},
        }

    def _look_inside(
        self, appliance: guestfs.Appliance, guest: CloneRequest, subject: str
    ) -> tuple[CloneRequest, list[str]]:
        """Return (the guest with its file systems, where those are mounted that were in use to the last).

        Whoever knows nothing of a guest's file systems has it in an appliance of its own.
        """
        if guest.mounts:
            return guest, appliance.list_unclean(guest.name, guest.mounts, subject=subject)
        unclean = appliance.list_unclean_devices(subject)  # before inspecting mounts them, which replays their journals
        inspected = inspect_system(appliance.handle, subject)
        kind = inspected["software"]["type"]
        if kind != "linux":
            raise Unsupported(subject, f"its system is {kind}, and only Linux becomes a master")
        mounts = tuple(Mount(**mount) for mount in inspected["layout"]["mounts"])
        return dataclasses.replace(guest, mounts=mounts), [one.mountpoint for one in mounts if one.device in unclean]

    def _complete(self, guest: CloneRequest, told: t.Any) -> t.Any:
        """Return all that is written down of a copy, or the error; one that is still somebody, read back, is one."""
        if isinstance(told, EncompassError):
            return told
        subject, inspected = self._requests[guest.name].subject, {}
        if "sealed" not in told:
            first, *others = (guestfs.Image(volume.path, volume.format) for volume in guest.volumes)
            limit_s, virt_type = self._options.timeout_s, self._options.virt_type
            try:
                inspected = inspect_image(*first, limit_s, others=others, virt_type=virt_type)
            except EncompassError as exc:
                return exc
        told = {**inspected, **told}
        left = sorted(trait for trait, is_sealed in told["sealed"].items() if not is_sealed)
        return ToolFailed(subject, f"sealed, its copy still has {', '.join(left)} of its own") if left else told

    def _publish(self, name: str, copies: Copies, told: t.Mapping[str, t.Any]) -> EncompassError | None:
        """Publish the copies of one guest's volumes, all together."""
        request, subject = self._requests[name], self._requests[name].subject
        files = {volume: copies.path_of(volume) for volume in copies.names}
        made = []
        try:
            for volume, path in files.items():
                volumes.seal_file(path, _MODE_PUBLISHED, subject)
                digest = image_files.hash_file(str(path), subject)
                made.append(VolumeOrigin(digest, "", subject, "qcow2", digest, "", volume))
            publish_volumes(request.master, Origin(tuple(made), told), files, copies.directory, subject=subject)
        except EncompassError as exc:
            return exc
        return None


def _require_clean(unclean: t.Sequence[str], subject: str) -> None:
    if unclean:
        raise Conflict(
            subject,
            f"it was not shut down cleanly: its file system {unclean[0]} was in use to the last",
            remedy="Start it and shut it down, or capture with force: true what a crash would have left.",
        )


def see_master(request: CaptureRequest) -> CaptureSeen:
    """Return what is there of the master alone."""
    subject, master = request.subject, request.master
    origin = read_origin(master, subject)
    if origin is not None and CAPTURED not in (origin.inspection or {}):
        raise Conflict(
            subject,
            f"the pool has another master {master.name}, of {origin.volumes[0].path}",
            remedy="Delete that master, or add it to the catalog.",
        )
    leftovers = volumes.find_leftovers(master.pool.path, STAGED_KIND).get(request.name, ())
    files = [see_published(master.pool, digest, subject) for digest in (origin.digests if origin else ())]
    published = tuple(file for file in files if file is not None)
    strays: tuple[str, ...] = ()
    if len(published) < len(files):  # killed while it was publishing, or lost since
        strays = list_strays(origin, files, find_shared(master)) if origin and not origin.complete else ()
        published = ()
    return CaptureSeen(
        volumes=(),
        in_use="",
        needed_bytes=(),
        free_bytes=volumes.count_free_bytes(master.pool.path, subject),
        origin=origin,
        published=published,
        leftovers=(*leftovers, *strays),
    )


def _see_capture(request: CaptureRequest) -> CaptureSeen:
    seen, subject = see_master(request), request.subject
    if seen.published:
        return seen
    disks = request.clone.volumes
    files = tuple(image_files.see_file(disk.path, subject) for disk in disks)
    if None in files:
        return dataclasses.replace(seen, volumes=files)
    in_use = next((disk.path for disk in disks if image_files.is_open_in_qemu(disk.path, subject)), "")
    sizes = [0 if in_use else qemu_img.measure(disk.path, disk.format, subject=subject) for disk in disks]
    return dataclasses.replace(seen, volumes=files, in_use=in_use, needed_bytes=tuple(sizes))


def parse_options(params: t.Mapping[str, t.Any]) -> CaptureOptions:
    """Return what the module's parameters ask for beside the objects."""
    return CaptureOptions(
        on_secret=params["on_secret"],
        force=params["force"],
        workers=params["workers"],
        timeout_s=params["timeout_s"],
        virt_type=params["virt_type"] if params["virt_type"] != "auto" else None,
    )


def make_capture_job(params: t.Mapping[str, t.Any]) -> Job:
    """Return the job that captures clones."""
    requests = collect_by_name(KIND, [_parse_capture(entry) for entry in params["clones"] or ()])
    return Job(CaptureVerb(requests, parse_options(params)), requests, presume_capture)


def _parse_capture(entry: t.Mapping[str, t.Any]) -> CaptureRequest:
    subject = f"{KIND} {entry['name']}"
    check_object_name(subject, entry["master"] or "")
    check_pool_path(subject, entry["pool_path"] or "")
    nothing = dict.fromkeys(("seed", "items", "hostname", "machine_id", "inputs", "secrets_given"))
    clone = parse_clone({**nothing, **entry}, present=False)
    check_place(clone)
    hardware = entry["hardware"] or {}
    master = MasterRequest(
        entry["master"],
        Pool(entry["pool_path"].rstrip("/")),
        tuple(MasterVolume(volume.name) for volume in clone.volumes),
        hardware=HardwareWishes(**{key: value for key, value in hardware.items() if value}),
    )
    return CaptureRequest(clone.name, clone, master, entry["stage"] or "")

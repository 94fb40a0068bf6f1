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
from .._core.customization import CloneRequest, Volume, check_place
from .._core.errors import Conflict, EncompassError, InvalidRequest, NoSpace, ToolFailed
from .._core.library_types import HardwareWishes, MasterRequest, Origin, PublishedSeen
from .._core.pool_layout import Pool, RemoveLeftovers, check_object_name, check_pool_path, explain_full_pool
from .._core.secret_search import describe_secrets
from .._core.steps import Step
from .._drivers import guestfs, image_files, qemu_img, volumes
from .._drivers.guest_cleaning import GuestCleaning
from .._drivers.guest_files import GuestFiles
from .._drivers.private_files import private_directory
from .._drivers.undo import UndoStore
from .._drivers.watched import Work, run_batches
from .customizing import choose_batches, parse_clone
from .masters import publish_volume, read_origin
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job
from .sealing import seal_guest

KIND = "clone"
STAGED_KIND = "capture"
_MODE_PUBLISHED = 0o444
_REPORT = "report"

Failures = dict[str, t.Optional[EncompassError]]


@dataclasses.dataclass(frozen=True)
class CaptureOptions:
    """What holds for all clones of a batch."""

    on_secret: str = _REPORT
    force: bool = False
    workers: int = 2
    timeout_s: float = 900.0
    virt_type: str | None = None


class CaptureVerb:
    """Flatten, seal and publish clones; nothing is written to the clones themselves."""

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
        published = dataclasses.asdict(seen.published) if seen.published else None
        return {"published": published}, self.report(item, seen, steps)

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
        due = [name for name, steps in plans.items() if any(isinstance(step, PublishCopy) for step in steps)]
        with contextlib.ExitStack() as stack:
            copies: dict[str, pathlib.Path] = {}
            for name in due:
                try:
                    copies[name] = self._stage(name, stack)
                except EncompassError as exc:
                    failures[name] = exc
            copying = {name: plans[name] for name in copies}
            failures.update(
                perform_each(
                    copying, lambda name, step: self._copy(name, step, copies[name]), workers=self._options.workers
                )
            )
            sealed = self._seal({name: path for name, path in copies.items() if failures[name] is None})
            for name, told in sealed.items():
                failures[name] = told if isinstance(told, EncompassError) else self._publish(name, copies[name], told)
        return failures

    def _clear(self, name: str, step: Step) -> None:
        """Do what has to be done before anything is made."""
        if isinstance(step, RemoveLeftovers):
            for path in step.paths:
                volumes.remove_tree(path, self._requests[name].subject)

    def _stage(self, name: str, stack: contextlib.ExitStack) -> pathlib.Path:
        """Return where the clone's copy goes; its directory lasts as long as the stack."""
        request = self._requests[name]
        pool = request.master.pool.path
        volumes.ensure_layout(pool, request.subject)
        staged = stack.enter_context(volumes.staged_directory(pool, STAGED_KIND, name, request.subject))
        return staged / f"{request.master.volume}.qcow2"

    def _copy(self, name: str, step: Step, copy: pathlib.Path) -> None:
        if not isinstance(step, FlattenVolume):
            return
        subject, pool = self._requests[name].subject, self._requests[name].master.pool.path
        try:
            limit_s = limit_copying_s(step.needed_bytes)
            qemu_img.convert(step.path, step.format, str(copy), subject=subject, timeout_s=limit_s)
        except NoSpace as exc:
            volumes.remove_tree(copy, subject)
            free_bytes = volumes.count_free_bytes(pool, subject)
            raise explain_full_pool(subject, pool, needed_bytes=step.needed_bytes, free_bytes=free_bytes) from exc

    def _seal(self, copies: t.Mapping[str, pathlib.Path]) -> dict[str, t.Any]:
        """Return, by clone, what sealing and inspecting its copy told, or the error."""
        guests = {
            name: dataclasses.replace(guest, volumes=(Volume(guest.volumes[0].name, str(path), "qcow2"),))
            for name, path in copies.items()
            for guest in [self._requests[name].clone]
        }

        def serve(batch: t.Sequence[str], run: t.Callable[[str, Work], bool]) -> None:
            disks = {name: guests[name].volumes for name in batch}
            subject = "the appliance of " + ", ".join(batch)
            with guestfs.open_appliance(disks, virt_type=self._options.virt_type, subject=subject) as appliance:
                for name in batch:
                    run(name, lambda name: self._seal_copy(appliance, guests[name], inspect=len(batch) == 1))
                    if not appliance.is_alive:
                        return  # the parent starts another one for the rest

        results = run_batches(
            choose_batches(list(guests.values()), lanes=1),
            serve,
            diagnose=lambda _names, _reason: None,
            describe=lambda name: self._requests[name].subject,
            lanes=1,
            timeout_s=self._options.timeout_s,
        )
        return {name: self._complete(guests[name], told) for name, told in results.items()}

    def _seal_copy(self, appliance: guestfs.Appliance, guest: CloneRequest, *, inspect: bool) -> dict[str, t.Any]:
        """Seal one copy; inspect it too when no other system is in the appliance to be mistaken for it."""
        name, subject = guest.name, self._requests[guest.name].subject
        guest = self._prepare_guest(appliance, guest, subject)
        mounts = guest.mounts
        if not self._options.force:
            _require_clean(appliance.list_unclean(name, mounts, subject=subject), subject)
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
        return {**(appliance.inspect(subject) if inspect else {}), CAPTURED: told}

    def _prepare_guest(self, _appliance: guestfs.Appliance, guest: CloneRequest, _subject: str) -> CloneRequest:
        """Return the guest with all that is known of it."""
        return guest

    def _complete(self, guest: CloneRequest, told: t.Any) -> t.Any:
        """Return all that is written down of a copy, or the error; one that is still somebody, read back, is one."""
        if isinstance(told, EncompassError):
            return told
        subject, inspected = self._requests[guest.name].subject, {}
        if "sealed" not in told:
            path, limit_s = guest.volumes[0].path, self._options.timeout_s
            try:
                inspected = guestfs.inspect_image(path, "qcow2", limit_s, virt_type=self._options.virt_type)
            except EncompassError as exc:
                return exc
        told = {**inspected, **told}
        left = sorted(trait for trait, is_sealed in told["sealed"].items() if not is_sealed)
        return ToolFailed(subject, f"sealed, its copy still has {', '.join(left)} of its own") if left else told

    def _publish(self, name: str, path: pathlib.Path, told: t.Mapping[str, t.Any]) -> EncompassError | None:
        request, subject = self._requests[name], self._requests[name].subject
        try:
            volumes.seal_file(path, _MODE_PUBLISHED, subject)
            digest = image_files.hash_file(str(path), subject)
            origin = Origin(digest, "", f"clone {name}", "qcow2", digest, "", told)
            publish_volume(request.master, path, origin, subject)
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
            f"the pool has another master {master.name}, of {origin.path}",
            remedy="Delete that master, or add it to the catalog.",
        )
    return CaptureSeen(
        volume=None,
        in_use=False,
        needed_bytes=0,
        free_bytes=volumes.count_free_bytes(master.pool.path, subject),
        origin=origin,
        published=_see_published(master, origin, subject) if origin else None,
        leftovers=tuple(volumes.find_leftovers(master.pool.path, STAGED_KIND).get(request.name, ())),
    )


def _see_capture(request: CaptureRequest) -> CaptureSeen:
    seen, disk = see_master(request), request.clone.volumes[0]
    volume = image_files.see_file(disk.path, request.subject) if seen.published is None else None
    if volume is None:
        return seen
    in_use = image_files.is_open_in_qemu(volume.path, request.subject)
    needed_bytes = 0 if in_use else qemu_img.measure(disk.path, disk.format, subject=request.subject)
    return dataclasses.replace(seen, volume=volume, in_use=in_use, needed_bytes=needed_bytes)


def _see_published(master: MasterRequest, origin: Origin, subject: str) -> PublishedSeen | None:
    """Return the published file; one that a killed run was about to publish is not there."""
    seen = image_files.see_file(master.pool.master_file(origin.digest), subject)
    if seen is None:
        return None
    return PublishedSeen(seen, image_files.read_header(seen.path, f"{subject} ({seen.path})").virtual_bytes)


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
    if len(clone.volumes) != 1:
        raise InvalidRequest(subject, f"it has {len(clone.volumes)} volumes", remedy="Only one can be captured.")
    hardware = entry["hardware"] or {}
    master = MasterRequest(
        entry["master"],
        Pool(entry["pool_path"].rstrip("/")),
        volume=clone.volumes[0].name,
        hardware=HardwareWishes(**{key: value for key, value in hardware.items() if value}),
    )
    return CaptureRequest(clone.name, clone, master, entry["stage"] or "")

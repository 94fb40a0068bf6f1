# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``capture`` for donors: domains that are not ours, made masters. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import time
import typing as t

from .._core.capturing import CAPTURED, limit_copying_s, report_capture
from .._core.customization import CloneRequest
from .._core.donation import (
    CRASH,
    FROZEN,
    NEVER,
    OFF,
    REQUIRED,
    AbortBackup,
    BackUpDisks,
    DonationSeen,
    DonorRequest,
    DonorSeen,
    ProveOff,
    ThawDomain,
    choose_disks,
    plan_donation,
    render_backup,
)
from .._core.errors import Conflict, EncompassError, InvalidRequest, NotFound, ToolFailed
from .._core.library_types import HardwareWishes, MasterRequest
from .._core.pool_layout import Pool, check_object_name, check_pool_path
from .._core.steps import Step
from .._drivers import domain_backup, image_files, qemu_img, volumes
from .._drivers.libvirt import LibvirtHost, open_host
from .capturing import CaptureOptions, CaptureVerb, Copies, make_capture_job, parse_options, see_master
from .requests import collect_by_name
from .runner import Job

KIND = "master"
_POLL_S = 0.2
_FREEZE_S = 30.0
_THAW_S = 120.0


class DonorVerb(CaptureVerb):
    """Copy, seal and publish donors; they go on running, and nothing of them changes."""

    lock_kind = KIND

    def __init__(self, requests: t.Mapping[str, DonorRequest], options: CaptureOptions, host: LibvirtHost) -> None:
        # What is copied while it runs is as after a crash, which its journal is for.
        super().__init__(requests, dataclasses.replace(options, force=True))
        self._donors = requests
        self._host = host
        self._consistency: dict[str, tuple[str, str | None]] = {}

    def plan(self, item: t.Any, seen: t.Any) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_donation(item, seen)

    def report(self, item: t.Any, seen: t.Any, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the master's record."""
        return report_capture(item, seen.capture)

    def diff(self, item: t.Any, seen: t.Any, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what is published of the master before, its record after."""
        before = [dataclasses.asdict(file) for file in seen.capture.published]
        return {"published": before}, self.report(item, seen, steps)

    def observe(self, items: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return what is there of each donor and of its master."""
        seen: dict[str, t.Any] = {}
        for name, request in items.items():
            try:
                seen[name] = self._see_donation(request)
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def _see_donation(self, request: DonorRequest) -> DonationSeen:
        capture = see_master(request)
        donor = self._see_donor(request)
        if donor is not None and not capture.published:
            disks = choose_disks(request, donor)
            files = tuple(image_files.see_file(disk.path, request.subject) for disk in disks)
            capture = dataclasses.replace(capture, volumes=files, needed_bytes=self._measure(request, donor))
        return DonationSeen(capture, donor)

    def _see_donor(self, request: DonorRequest) -> DonorSeen | None:
        look = functools.partial(domain_backup.see_donor, subject=request.subject)
        try:
            return self._host.ask_domain(request.domain, look)
        except NotFound:
            return None

    def _measure(self, request: DonorRequest, donor: DonorSeen) -> tuple[int, ...]:
        """Return how much room each copy takes: exactly of what is off, at most of what runs."""
        disks = choose_disks(request, donor)
        if not donor.active:
            return tuple(qemu_img.measure(disk.path, disk.format, subject=request.subject) for disk in disks)
        targets = [disk.target for disk in disks]
        sizes = self._host.ask_domain(
            request.domain, lambda handle: [domain_backup.measure_disk(handle, target) for target in targets]
        )
        return tuple(sizes)

    def _clear(self, name: str, step: Step) -> None:
        super()._clear(name, step)
        if isinstance(step, ThawDomain):
            self._thaw(self._donors[name])
        elif isinstance(step, AbortBackup):
            self._abort(self._donors[name])

    def _copy(self, name: str, step: Step, copies: Copies) -> None:
        super()._copy(name, step, copies)
        if isinstance(step, BackUpDisks):
            self._back_up(self._donors[name], step, copies)
        elif isinstance(step, ProveOff):
            self._prove_off(self._donors[name], step)

    def _prove_off(self, request: DonorRequest, step: ProveOff) -> None:
        """Refuse copies of a domain that was started meanwhile, for they need not be of one moment."""
        donor = self._see_donor(request)
        now = [image_files.see_file(file.path, request.subject) for file in step.files]
        is_same = [file.fingerprint for file in step.files] == [file.fingerprint if file else "" for file in now]
        if donor is None or donor.active or not is_same:
            raise Conflict(
                request.subject,
                "it was started while it was copied" if donor and donor.active else "it changed while it was copied",
                remedy="Run again, while it runs or while it is off.",
            )
        self._consistency[request.name] = (OFF, None)

    def _back_up(self, request: DonorRequest, step: BackUpDisks, copies: Copies) -> None:
        """Have libvirt copy the disks; its qemu, which is not root, opens the files by their names."""
        subject = request.subject
        with volumes.explained(subject, "let qemu write the copy"):
            for place in (copies.directory, copies.directory.parent):
                place.chmod(0o711)
        paths = {disk.target: copies.path_of(volume) for disk, volume in zip(step.disks, step.volumes)}
        order = render_backup({target: str(path) for target, path in paths.items()}, step.others, subject=subject)
        deadline = time.monotonic() + limit_copying_s(step.needed_bytes)
        try:
            self._consistency[request.name] = self._begin_backup(request, order, freeze=step.freeze)
            while self._host.ask_domain(step.domain, lambda handle: domain_backup.is_backing_up(handle, subject)):
                if time.monotonic() >= deadline:
                    raise ToolFailed(subject, "its backup did not end in time and was ended", remedy="Run again.")
                time.sleep(_POLL_S)
            self._host.ask_domain(step.domain, lambda handle: domain_backup.require_completed(handle, subject))
        except EncompassError:
            with contextlib.suppress(EncompassError):
                self._abort(request)
            raise
        with volumes.explained(subject, "take the copy over from qemu"):
            for path in paths.values():
                os.chown(path, 0, 0)

    def _begin_backup(self, request: DonorRequest, order: str, *, freeze: bool) -> tuple[str, str | None]:
        """Begin the backup, which is of this moment; return how consistent it is, and why not better."""

        def begin() -> None:
            self._host.ask_domain(
                request.domain, lambda handle: domain_backup.begin_backup(handle, order), limit_s=_FREEZE_S
            )

        if not freeze:
            begin()
            return CRASH, "it was not to be frozen" if request.freeze == NEVER else "no guest agent is connected"
        with self._frozen(request) as problem:
            begin()
        return (CRASH, problem) if problem else (FROZEN, None)

    @contextlib.contextmanager
    def _frozen(self, request: DonorRequest) -> t.Iterator[str]:
        """Freeze the donor's file systems for the block; yield why that failed, empty when they are frozen."""
        may_be_frozen = True
        try:
            try:
                problem = self._host.ask_domain(request.domain, domain_backup.freeze_domain, limit_s=_FREEZE_S)
                may_be_frozen = not problem
            except EncompassError as exc:  # it may come to that yet
                problem = exc.problem
            if problem and request.freeze == REQUIRED:
                raise ToolFailed(
                    request.subject,
                    f"its file systems could not be frozen: {problem}",
                    remedy="Look at the guest agent in it, or do without (freeze: auto).",
                )
            yield problem
        finally:
            if may_be_frozen:
                self._thaw(request)
            else:
                self._try_thaw(request)

    def _thaw(self, request: DonorRequest) -> None:
        """Thaw the donor's file systems, trying again while its agent is still at work on freezing them."""
        deadline = time.monotonic() + _THAW_S
        while problem := self._try_thaw(request):
            donor = self._see_donor(request)
            if donor is None or not donor.active:
                return
            if time.monotonic() >= deadline:
                raise ToolFailed(
                    request.subject,
                    f"its file systems may still be frozen, for they could not be thawed: {problem}",
                    remedy=f"Run virsh domfsthaw {request.domain} on the provider.",
                )
            time.sleep(_POLL_S)

    def _try_thaw(self, request: DonorRequest) -> str:
        """Thaw the donor's file systems; return why that failed, empty when they are thawed."""
        try:
            self._host.ask_domain(request.domain, domain_backup.thaw_domain)
        except EncompassError as exc:
            return exc.problem
        return ""

    def _abort(self, request: DonorRequest) -> None:
        self._host.ask_domain(request.domain, lambda handle: domain_backup.abort_backup(handle, request.subject))

    def _complete(self, guest: CloneRequest, told: t.Any) -> t.Any:
        """Return all that is written down of a copy, with how consistent it is."""
        told = super()._complete(guest, told)
        if isinstance(told, EncompassError):
            return told
        consistency, reason = self._consistency[guest.name]
        return {**told, CAPTURED: {**told[CAPTURED], "consistency": consistency, "consistency_reason": reason}}


def parse_donor(entry: t.Mapping[str, t.Any]) -> DonorRequest:
    """Return one donor's request from the module's parameters."""
    name = f"{entry['function']}-v{entry['version']}"
    subject = f"donor {entry['domain']}"
    check_object_name(subject, name)
    check_pool_path(subject, entry["pool_path"] or "")
    if not entry["domain"]:
        raise InvalidRequest(subject, "it has no name")
    wishes = {field.name: entry[field.name] for field in dataclasses.fields(HardwareWishes) if entry[field.name]}
    pool = Pool(entry["pool_path"].rstrip("/"))
    # Each has an appliance of its own, for nobody knows yet what is in it; its customization is not ours.
    hostname = re.sub("[^A-Za-z0-9-]", "-", entry["function"]).strip("-")
    guest = CloneRequest(name, False, "", (), (), batchable=False, hostname=hostname)
    master = MasterRequest(name, pool, hardware=HardwareWishes(**wishes))
    disks = tuple(entry["disks"])
    if len(set(disks)) < len(disks):
        raise InvalidRequest(subject, "one of its disks is named twice", remedy="Name each once.")
    return DonorRequest(name, guest, master, domain=entry["domain"], disks=disks, freeze=entry["freeze"])


@contextlib.contextmanager
def open_captures(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for: clones, or donors."""
    if not params["donors"]:
        yield make_capture_job(params)
        return
    requests = collect_by_name(KIND, [parse_donor(entry) for entry in params["donors"]])
    with open_host(params["uri"]) as host:
        yield Job(DonorVerb(requests, parse_options(params), host), requests)

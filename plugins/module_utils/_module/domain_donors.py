# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Donors that are libvirt's domains: frozen by their guest agents, copied by libvirt's backup jobs. Private to this
collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
import typing as t

from .._core.capturing import CaptureSeen, limit_copying_s
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
from .._core.errors import Conflict, EncompassError, NotFound, ToolFailed
from .._core.steps import Step
from .._drivers import domain_backup, image_files, qemu_img, volumes
from .._drivers.libvirt import LibvirtHost
from .capturing import Copies

_POLL_S = 0.2
_FREEZE_S = 30.0
_THAW_S = 120.0

Told = dict[str, t.Optional[str]]


class DomainDonors:
    """Domains of one libvirt."""

    def __init__(self, host: LibvirtHost) -> None:
        self._host = host

    def see(self, request: DonorRequest, capture: CaptureSeen) -> DonationSeen:
        """Return what is there of a donation."""
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

    def plan(self, request: DonorRequest, seen: DonationSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_donation(request, seen)

    def clear(self, request: DonorRequest, step: Step) -> None:
        """Take back what a killed run left."""
        if isinstance(step, ThawDomain):
            self._thaw(request)
        elif isinstance(step, AbortBackup):
            self._abort(request)

    def copy(self, request: DonorRequest, step: Step, copies: Copies) -> Told:
        """Do a step of the copying; return what people have to know of it."""
        if isinstance(step, BackUpDisks):
            return self._back_up(request, step, copies)
        return self._prove_off(request, step) if isinstance(step, ProveOff) else {}

    def _prove_off(self, request: DonorRequest, step: ProveOff) -> Told:
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
        return _tell(OFF, None)

    def _back_up(self, request: DonorRequest, step: BackUpDisks, copies: Copies) -> Told:
        """Have libvirt copy the disks; its qemu, which is not root, opens the files by their names."""
        subject = request.subject
        with volumes.explained(subject, "let qemu write the copy"):
            for place in (copies.directory, copies.directory.parent):
                place.chmod(0o711)
        paths = {disk.target: copies.path_of(volume) for disk, volume in zip(step.disks, step.volumes)}
        order = render_backup({target: str(path) for target, path in paths.items()}, step.others, subject=subject)
        deadline = time.monotonic() + limit_copying_s(step.needed_bytes)
        try:
            told = self._begin_backup(request, order, freeze=step.freeze)
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
        return told

    def _begin_backup(self, request: DonorRequest, order: str, *, freeze: bool) -> Told:
        """Begin the backup, which is of this moment; return how consistent it is, and why not better."""

        def begin() -> None:
            self._host.ask_domain(
                request.domain, lambda handle: domain_backup.begin_backup(handle, order), limit_s=_FREEZE_S
            )

        if not freeze:
            begin()
            never = request.freeze == NEVER
            return _tell(CRASH, "it was not to be frozen" if never else "no guest agent is connected")
        with self._frozen(request) as problem:
            begin()
        return _tell(CRASH, problem) if problem else _tell(FROZEN, None)

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


def _tell(consistency: str, reason: str | None) -> Told:
    return {"consistency": consistency, "consistency_reason": reason}

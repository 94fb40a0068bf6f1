# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``capture`` for donors: domains that are not ours, made masters. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import time
import typing as t

from .._core.capturing import limit_copying_s, report_capture
from .._core.customization import CloneRequest, Mount, Volume
from .._core.donation import (
    AbortBackup,
    BackUpDisk,
    DonationSeen,
    DonorRequest,
    DonorSeen,
    plan_donation,
    render_backup,
    require_disk,
)
from .._core.errors import EncompassError, InvalidRequest, NotFound, ToolFailed
from .._core.library_types import HardwareWishes, MasterRequest
from .._core.pool_layout import Pool, check_object_name, check_pool_path
from .._core.steps import Step
from .._drivers import domain_backup, guestfs, qemu_img, volumes
from .._drivers.libvirt import LibvirtHost, open_host
from .capturing import CaptureOptions, CaptureVerb, make_capture_job, parse_options, see_master
from .requests import collect_by_name
from .runner import Job

KIND = "master"
_POLL_S = 0.2


class DonorVerb(CaptureVerb):
    """Copy, seal and publish donors; they go on running, and nothing of them changes."""

    lock_kind = KIND

    def __init__(self, requests: t.Mapping[str, DonorRequest], options: CaptureOptions, host: LibvirtHost) -> None:
        # What is copied while it runs is as after a crash, which its journal is for.
        super().__init__(requests, dataclasses.replace(options, force=True))
        self._donors = requests
        self._host = host

    def plan(self, item: t.Any, seen: t.Any) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_donation(item, seen)

    def report(self, item: t.Any, seen: t.Any, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the master's record."""
        return report_capture(item, seen.capture)

    def diff(self, item: t.Any, seen: t.Any, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what is published of the master before, its record after."""
        published = dataclasses.asdict(seen.capture.published) if seen.capture.published else None
        return {"published": published}, self.report(item, seen, steps)

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
        if donor is not None and capture.published is None:
            needed_bytes = self._measure(request, donor)
            capture = dataclasses.replace(capture, needed_bytes=needed_bytes)
        return DonationSeen(capture, donor)

    def _see_donor(self, request: DonorRequest) -> DonorSeen | None:
        look = functools.partial(domain_backup.see_donor, subject=request.subject)
        try:
            return self._host.ask_domain(request.domain, look)
        except NotFound:
            return None

    def _measure(self, request: DonorRequest, donor: DonorSeen) -> int:
        """Return how much room the copy takes: exactly of what is off, at most of what runs."""
        disk = require_disk(request, donor)
        if donor.active:
            return self._host.ask_domain(request.domain, lambda handle: domain_backup.measure_disk(handle, disk.target))
        return qemu_img.measure(disk.path, disk.format, subject=request.subject)

    def _clear(self, name: str, step: Step) -> None:
        super()._clear(name, step)
        if isinstance(step, AbortBackup):
            self._abort(self._donors[name])

    def _copy(self, name: str, step: Step, copy: pathlib.Path) -> None:
        super()._copy(name, step, copy)
        if isinstance(step, BackUpDisk):
            self._back_up(self._donors[name], step, copy)

    def _back_up(self, request: DonorRequest, step: BackUpDisk, copy: pathlib.Path) -> None:
        """Have libvirt copy the disk; its qemu, which is not root, opens the file by its name."""
        subject = request.subject
        with volumes.explained(subject, "let qemu write the copy"):
            for place in (copy.parent, copy.parent.parent):
                place.chmod(0o711)
        order = render_backup(step.disk.target, step.others, str(copy), subject=subject)
        deadline = time.monotonic() + limit_copying_s(step.needed_bytes)
        try:
            self._host.ask_domain(step.domain, lambda handle: domain_backup.begin_backup(handle, order))
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
            os.chown(copy, 0, 0)

    def _abort(self, request: DonorRequest) -> None:
        self._host.ask_domain(request.domain, lambda handle: domain_backup.abort_backup(handle, request.subject))

    def _prepare_guest(self, appliance: guestfs.Appliance, guest: CloneRequest, subject: str) -> CloneRequest:
        """Return the guest with the file systems that are found in its copy."""
        layout = appliance.inspect(subject)["layout"]
        appliance.release(subject)
        return dataclasses.replace(guest, mounts=tuple(Mount(**mount) for mount in layout["mounts"]))


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
    guest = CloneRequest(name, False, "", (Volume("root", "", ""),), (), batchable=False, hostname=hostname)
    master = MasterRequest(name, pool, hardware=HardwareWishes(**wishes))
    return DonorRequest(name, guest, master, domain=entry["domain"])


@contextlib.contextmanager
def open_captures(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for: clones, or donors."""
    if not params["donors"]:
        yield make_capture_job(params)
        return
    requests = collect_by_name(KIND, [parse_donor(entry) for entry in params["donors"]])
    with open_host(params["uri"]) as host:
        yield Job(DonorVerb(requests, parse_options(params), host), requests)

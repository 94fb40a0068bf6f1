# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``capture`` for donors: machines that are not ours, made masters. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t

from .._core.capturing import CAPTURED, CaptureRequest, CaptureSeen, report_capture
from .._core.customization import CloneRequest
from .._core.donation import DonorRequest
from .._core.errors import EncompassError, InvalidRequest
from .._core.library_types import HardwareWishes, MasterRequest
from .._core.pool_layout import Pool, check_object_name, check_pool_path
from .._core.ssh_donation import SshDonorRequest
from .._core.ssh_login import SshLogin, check_devices, check_login
from .._core.steps import Step
from .._drivers.libvirt import open_host
from .capturing import CaptureOptions, CaptureVerb, Copies, make_capture_job, parse_options, see_master
from .domain_donors import DomainDonors
from .requests import collect_by_name
from .runner import Job
from .ssh_donors import SshDonors

KIND = "master"


class Donors(t.Protocol):
    """One kind of machines that donate: how they are looked at and copied."""

    def see(self, request: t.Any, capture: CaptureSeen) -> t.Any:
        """Return what is there of a donation; its ``capture`` is what is there of the master."""
        raise NotImplementedError

    def plan(self, request: t.Any, seen: t.Any) -> list[Step]:
        """Return the steps that are left to do; pure."""
        raise NotImplementedError

    def clear(self, request: t.Any, step: Step) -> None:
        """Take back what a killed run left, as far as the step says."""
        raise NotImplementedError

    def copy(self, request: t.Any, step: Step, copies: Copies) -> t.Mapping[str, t.Any]:
        """Do a step of the copying; return what people have to know of it."""
        raise NotImplementedError


class DonorVerb(CaptureVerb):
    """Copy, seal and publish donors; they go on running, and nothing of them changes."""

    lock_kind = KIND

    def __init__(
        self,
        requests: t.Mapping[str, CaptureRequest],
        options: CaptureOptions,
        kinds: t.Mapping[type[CaptureRequest], Donors],
    ) -> None:
        # What is copied while it runs is as after a crash, which its journal is for.
        super().__init__(requests, dataclasses.replace(options, force=True))
        self._kinds = kinds
        self._told: dict[str, dict[str, t.Any]] = {name: {} for name in requests}

    def plan(self, item: t.Any, seen: t.Any) -> list[Step]:
        """Return the steps that are left to do."""
        return self._kinds[type(item)].plan(item, seen)

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
                seen[name] = self._kinds[type(request)].see(request, see_master(request))
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def _clear(self, name: str, step: Step) -> None:
        super()._clear(name, step)
        request = self._requests[name]
        self._kinds[type(request)].clear(request, step)

    def _copy(self, name: str, step: Step, copies: Copies) -> None:
        super()._copy(name, step, copies)
        request = self._requests[name]
        self._told[name].update(self._kinds[type(request)].copy(request, step, copies))

    def _complete(self, guest: CloneRequest, told: t.Any) -> t.Any:
        """Return all that is written down of a copy, with what copying told."""
        told = super()._complete(guest, told)
        if isinstance(told, EncompassError):
            return told
        return {**told, CAPTURED: {**told[CAPTURED], **self._told[guest.name]}}


def parse_donor(entry: t.Mapping[str, t.Any]) -> CaptureRequest:
    """Return one donor's request from the module's parameters."""
    name = f"{entry['function']}-v{entry['version']}"
    subject = f"donor {entry['domain'] or entry['ssh']}"
    check_object_name(subject, name)
    check_pool_path(subject, entry["pool_path"] or "")
    if bool(entry["domain"]) == bool(entry["ssh"]):
        raise InvalidRequest(subject, "it has no name, or two", remedy="Give either domain or ssh.")
    disks = tuple(entry["disks"])
    if len(set(disks)) < len(disks):
        raise InvalidRequest(subject, "one of its disks is named twice", remedy="Name each once.")
    wishes = {field.name: entry[field.name] for field in dataclasses.fields(HardwareWishes) if entry[field.name]}
    master = MasterRequest(name, Pool(entry["pool_path"].rstrip("/")), hardware=HardwareWishes(**wishes))
    # Each has an appliance of its own, for nobody knows yet what is in it; its customization is not ours.
    hostname = re.sub("[^A-Za-z0-9-]", "-", entry["function"]).strip("-")
    guest = CloneRequest(name, False, "", (), (), batchable=False, hostname=hostname)
    wanted: dict[str, t.Any] = {"disks": disks, "freeze": entry["freeze"]}
    if entry["domain"]:
        return DonorRequest(name, guest, master, domain=entry["domain"], **wanted)
    login = _parse_login(entry, subject)
    return SshDonorRequest(name, guest, master, login=login, freeze_limit_s=entry["freeze_limit_s"], **wanted)


def _parse_login(entry: t.Mapping[str, t.Any], subject: str) -> SshLogin:
    login = SshLogin(
        entry["ssh"], entry["port"] or 0, entry["identity_file"] or "", entry["known_hosts"] or "", entry["become"]
    )
    check_login(login, subject)
    check_devices(entry["disks"], subject)
    if entry["freeze_limit_s"] < 1:
        raise InvalidRequest(subject, "its freeze_limit_s is not 1 or more")
    return login


@contextlib.contextmanager
def open_captures(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for: clones, or donors."""
    if not params["donors"]:
        yield make_capture_job(params)
        return
    requests = collect_by_name(KIND, [parse_donor(entry) for entry in params["donors"]])
    kinds: dict[type[CaptureRequest], Donors] = {SshDonorRequest: SshDonors()}
    with contextlib.ExitStack() as stack:
        if any(isinstance(request, DonorRequest) for request in requests.values()):
            kinds[DonorRequest] = DomainDonors(stack.enter_context(open_host(params["uri"])))
        yield Job(DonorVerb(requests, parse_options(params), kinds), requests)

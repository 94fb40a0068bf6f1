# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is not ours, and becomes a master without noticing: pure. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from .capturing import CaptureRequest, CaptureSeen, FlattenVolume, PublishCopy, SealCopy
from .errors import Conflict, NotFound, Unsupported
from .markup import add_element, attributes_at, parse_document, render_document
from .pool_layout import RemoveLeftovers, format_bytes, require_room
from .steps import Step


@dataclasses.dataclass(frozen=True)
class DonorRequest(CaptureRequest):
    """One domain that a master is to be made of; ``clone`` is what will be known of it once it is copied."""

    domain: str = ""

    @property
    def subject(self) -> str:
        """The donor as errors name it."""
        return f"donor {self.domain}"


@dataclasses.dataclass(frozen=True)
class DonorDisk:
    """A disk of a domain: ``target`` is its name there (vda)."""

    target: str
    path: str
    format: str


@dataclasses.dataclass(frozen=True)
class DonorSeen:
    """A domain that is there, and the files that a backup job of it writes to; None without a job."""

    active: bool
    disks: tuple[DonorDisk, ...]
    job: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class DonationSeen:
    """What there is of one donation."""

    capture: CaptureSeen
    donor: DonorSeen | None


@dataclasses.dataclass(frozen=True)
class AbortBackup:
    """End a backup job that a killed run left behind."""

    domain: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"end the backup of domain {self.domain} that a killed run left"


@dataclasses.dataclass(frozen=True)
class BackUpDisk:
    """Copy a running domain's disk as it is at one moment; the domain runs on."""

    domain: str
    disk: DonorDisk
    others: tuple[str, ...]
    needed_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        size = format_bytes(self.needed_bytes)
        return f"copy disk {self.disk.target} of domain {self.domain} as it is at one moment (at most {size})"


def plan_donation(request: DonorRequest, seen: DonationSeen) -> list[Step]:
    """Return the steps that are left to do; none when the master is published.

    Raises :class:`NotFound`, :class:`Unsupported`, :class:`Conflict` when somebody else backs the domain up, and
    :class:`NoSpace`.
    """
    steps: list[Step] = []
    if seen.donor is not None and seen.donor.job is not None:
        steps += _plan_job(request, seen.donor.job)
    steps += [RemoveLeftovers(seen.capture.leftovers)] if seen.capture.leftovers else []
    if seen.capture.published is not None:
        return steps
    if seen.donor is None:
        raise NotFound(request.subject, "the provider has no such domain", remedy="Look at virsh list --all there.")
    pool = request.master.pool.path
    disk = require_disk(request, seen.donor)
    needed_bytes = seen.capture.needed_bytes
    require_room(request.subject, pool, needed_bytes=needed_bytes, free_bytes=seen.capture.free_bytes)
    others = tuple(other.target for other in seen.donor.disks if other is not disk)
    running = BackUpDisk(request.domain, disk, others, needed_bytes)
    copy = running if seen.donor.active else FlattenVolume(disk.path, disk.format, needed_bytes)
    return [*steps, copy, SealCopy(), PublishCopy(request.master.name)]


def require_disk(request: DonorRequest, donor: DonorSeen) -> DonorDisk:
    """Return the domain's only disk."""
    if len(donor.disks) != 1:
        raise Unsupported(
            request.subject,
            f"it has {len(donor.disks)} disks, and a master has one",
            remedy="Move the system to one disk first.",
        )
    return donor.disks[0]


def _plan_job(request: DonorRequest, job: tuple[str, ...]) -> list[Step]:
    """Return the step that ends our own job; nobody of ours is at work now, for the master's lock is held."""
    staging = f"{request.master.pool.path}/.staging/"
    if job and all(path.startswith(staging) for path in job):
        return [AbortBackup(request.domain)]
    raise Conflict(request.subject, "somebody else is backing it up", remedy="Wait until that has ended.")


def parse_donor_disks(text: str, subject: str) -> tuple[DonorDisk, ...]:
    """Return the disks of a domain that hold its own data; what is only read is not of its system."""
    root = parse_document(text, subject=subject)
    disks = []
    for element in root.iterfind("devices/disk"):
        if element.get("device", "disk") != "disk" or element.find("readonly") is not None:
            continue
        source = attributes_at(element, "source")
        path = source.get("file") or source.get("dev") or ""
        if not path:
            raise Unsupported(subject, f"its disk {attributes_at(element, 'target').get('dev')} is no file or device")
        image_format = attributes_at(element, "driver").get("type", "raw")
        disks.append(DonorDisk(attributes_at(element, "target")["dev"], path, image_format))
    return tuple(disks)


def render_backup(disk: str, others: t.Sequence[str], path: str, *, subject: str) -> str:
    """Return the order to copy one disk to a new file, for virDomainBackupBegin."""
    root = ET.Element("domainbackup", mode="push")
    disks = add_element(root, "disks")
    chosen = add_element(disks, "disk", name=disk, backup="yes", type="file")
    add_element(chosen, "driver", type="qcow2")
    add_element(chosen, "target", file=path)
    for other in others:
        add_element(disks, "disk", name=other, backup="no")
    return render_document(root, subject=subject)


def parse_backup(text: str, subject: str) -> tuple[str, ...]:
    """Return the files that a backup job writes to: copies, or what is kept for one who fetches the copy (pull)."""
    disks = parse_document(text, subject=subject).findall("disks/disk")
    places = (disk.find(name) for disk in disks for name in ("target", "scratch"))
    return tuple(place.get("file") or "" for place in places if place is not None)

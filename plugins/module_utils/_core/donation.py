# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is not ours, and becomes a master without noticing: pure. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from .capturing import CaptureRequest, CaptureSeen, FlattenVolume, plan_publication
from .errors import Conflict, NotFound, Unsupported
from .markup import add_element, attributes_at, parse_document, render_document
from .pool_layout import FileSeen, RemoveLeftovers, format_bytes, require_room
from .steps import Step

AUTO, REQUIRED, NEVER = "auto", "required", "never"
FREEZE_CHOICES = (AUTO, REQUIRED, NEVER)

FROZEN, CRASH, OFF = "frozen", "crash", "off"
"""How a copy is: of frozen file systems, as a crash would have left it, or of a machine that was off."""

_AGENT = "org.qemu.guest_agent.0"
_BOOTS = "root"


@dataclasses.dataclass(frozen=True)
class DonorRequest(CaptureRequest):
    """One domain that a master is to be made of; ``clone`` is what will be known of it once it is copied.

    ``disks`` are the targets of those to take, empty for all.
    """

    domain: str = ""
    disks: tuple[str, ...] = ()
    freeze: str = AUTO

    @property
    def subject(self) -> str:
        """The donor as errors name it."""
        return f"donor {self.domain}"


@dataclasses.dataclass(frozen=True)
class DonorDisk:
    """A disk of a domain: ``target`` is its name there (vda); ``path`` is empty when it is no file or device."""

    target: str
    path: str
    format: str


@dataclasses.dataclass(frozen=True)
class DonorSeen:
    """A domain that is there, and the files that a backup job of it writes to; None without a job.

    ``agent`` tells whether its guest agent is connected.
    """

    active: bool
    disks: tuple[DonorDisk, ...]
    job: tuple[str, ...] | None = None
    agent: bool = False


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
class ThawDomain:
    """Thaw what a killed run may have left frozen; nothing frozen is fine."""

    domain: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"thaw the file systems of domain {self.domain}, which a killed run may have left frozen"


@dataclasses.dataclass(frozen=True)
class BackUpDisks:
    """Copy a running domain's disks as they are at one moment; the domain runs on.

    ``volumes`` are their names in the master. With ``freeze`` its file systems are frozen at that moment.
    """

    domain: str
    disks: tuple[DonorDisk, ...]
    volumes: tuple[str, ...]
    others: tuple[str, ...]
    needed_bytes: int
    freeze: bool = False

    def describe(self) -> str:
        """Return the step in words."""
        targets, size = ", ".join(disk.target for disk in self.disks), format_bytes(self.needed_bytes)
        frozen = ", with its file systems frozen at that moment" if self.freeze else ""
        return f"copy {targets} of domain {self.domain}, all of one moment (at most {size}){frozen}"


@dataclasses.dataclass(frozen=True)
class ProveOff:
    """See that the domain was off all the time that its disks were copied: ``files`` are as they were before."""

    domain: str
    files: tuple[FileSeen, ...]

    def describe(self) -> str:
        """Return the step in words."""
        return f"see that domain {self.domain} was not started meanwhile"


def plan_donation(request: DonorRequest, seen: DonationSeen) -> list[Step]:
    """Return the steps that are left to do; none when the master is published.

    Raises :class:`NotFound`, :class:`Unsupported`, :class:`Conflict` when somebody else backs the domain up, and
    :class:`NoSpace`.
    """
    steps = _plan_cleaning(request, seen)
    if seen.capture.published:
        return steps
    if seen.donor is None:
        raise NotFound(request.subject, "the provider has no such domain", remedy="Look at virsh list --all there.")
    disks = choose_disks(request, seen.donor)
    names = name_volumes([disk.target for disk in disks])
    require_room(
        request.subject,
        request.master.pool.path,
        needed_bytes=sum(seen.capture.needed_bytes),
        free_bytes=seen.capture.free_bytes,
    )
    plan = _plan_backup if seen.donor.active else _plan_copy
    return [*steps, *plan(request, seen, disks), *plan_publication(request, names)]


def _plan_cleaning(request: DonorRequest, seen: DonationSeen) -> list[Step]:
    """Return the steps that take back what a killed run left."""
    steps: list[Step] = []
    if seen.donor is not None and seen.donor.active and seen.donor.agent and seen.capture.leftovers:
        steps.append(ThawDomain(request.domain))
    if seen.donor is not None and seen.donor.job is not None:
        steps += _plan_job(request, seen.donor.job)
    return [*steps, *([RemoveLeftovers(seen.capture.leftovers)] if seen.capture.leftovers else [])]


def _plan_backup(request: DonorRequest, seen: DonationSeen, disks: t.Sequence[DonorDisk]) -> list[Step]:
    donor = t.cast(DonorSeen, seen.donor)
    if request.freeze == REQUIRED and not donor.agent:
        raise Unsupported(
            request.subject,
            "its file systems are to be frozen, but no guest agent is connected",
            remedy="Install and start qemu-guest-agent in it, or do without (freeze: auto).",
        )
    others = tuple(other.target for other in donor.disks if other not in disks)
    freeze = donor.agent and request.freeze != NEVER
    size = sum(seen.capture.needed_bytes)
    names = name_volumes([disk.target for disk in disks])
    return [BackUpDisks(request.domain, tuple(disks), names, others, needed_bytes=size, freeze=freeze)]


def _plan_copy(request: DonorRequest, seen: DonationSeen, disks: t.Sequence[DonorDisk]) -> list[Step]:
    copies = [
        FlattenVolume(name, disk.path, disk.format, size)
        for name, disk, size in zip(name_volumes([disk.target for disk in disks]), disks, seen.capture.needed_bytes)
    ]
    return [*copies, ProveOff(request.domain, tuple(file for file in seen.capture.volumes if file is not None))]


def choose_disks(request: DonorRequest, donor: DonorSeen) -> tuple[DonorDisk, ...]:
    """Return the disks to take: all that the domain writes to, or those that are named, in the order of their names."""
    there = {disk.target: disk for disk in donor.disks}
    unknown = [target for target in request.disks if target not in there]
    if unknown or not there:
        raise NotFound(
            request.subject,
            f"it writes to no disk {unknown[0]}" if unknown else "it writes to no disk",
            remedy=f"Its disks are {', '.join(there) or 'none'}.",
        )
    chosen = tuple(there[target] for target in request.disks or there)
    for disk in chosen:
        if not disk.path:
            raise Unsupported(
                request.subject, f"its disk {disk.target} is no file or device", remedy="Name the others."
            )
    return chosen


def name_volumes(targets: t.Sequence[str]) -> tuple[str, ...]:
    """Return what disks are called as a master's volumes: the first is the one that boots."""
    return tuple(_BOOTS if not index else target for index, target in enumerate(targets))


def _plan_job(request: DonorRequest, job: tuple[str, ...]) -> list[Step]:
    """Return the step that ends our own job; nobody of ours is at work now, for the master's lock is held."""
    staging = f"{request.master.pool.path}/.staging/"
    if job and all(path.startswith(staging) for path in job):
        return [AbortBackup(request.domain)]
    raise Conflict(request.subject, "somebody else is backing it up", remedy="Wait until that has ended.")


def parse_donor_disks(text: str, subject: str) -> tuple[DonorDisk, ...]:
    """Return the disks of a domain that hold its own data; what is only read is not of its system."""
    disks = []
    for element in parse_document(text, subject=subject).iterfind("devices/disk"):
        if element.get("device", "disk") != "disk" or element.find("readonly") is not None:
            continue
        source = attributes_at(element, "source")
        path = source.get("file") or source.get("dev") or ""
        image_format = attributes_at(element, "driver").get("type", "raw")
        disks.append(DonorDisk(attributes_at(element, "target")["dev"], path, image_format))
    return tuple(disks)


def has_agent(text: str, subject: str) -> bool:
    """Tell whether the guest agent of a domain is connected."""
    targets = parse_document(text, subject=subject).iterfind("devices/channel/target")
    return any((target.get("name"), target.get("state")) == (_AGENT, "connected") for target in targets)


def render_backup(disks: t.Mapping[str, str], others: t.Sequence[str], *, subject: str) -> str:
    """Return the order to copy disks to new files, for virDomainBackupBegin: all of the moment of its begin."""
    root = ET.Element("domainbackup", mode="push")
    listed = add_element(root, "disks")
    for disk, path in disks.items():
        chosen = add_element(listed, "disk", name=disk, backup="yes", type="file")
        add_element(chosen, "driver", type="qcow2")
        add_element(chosen, "target", file=path)
    for other in others:
        add_element(listed, "disk", name=other, backup="no")
    return render_document(root, subject=subject)


def parse_backup(text: str, subject: str) -> tuple[str, ...]:
    """Return the files that a backup job writes to: copies, or what is kept for one who fetches the copy (pull)."""
    disks = parse_document(text, subject=subject).findall("disks/disk")
    places = (disk.find(name) for disk in disks for name in ("target", "scratch"))
    return tuple(place.get("file") or "" for place in places if place is not None)

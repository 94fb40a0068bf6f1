# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is reached over ssh and becomes a master: as asked for, as seen, and the plan. Pure; private to this
collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .capturing import CaptureRequest, CaptureSeen, plan_publication
from .disk_passes import Freezing, describe_freezing
from .donation import AUTO, name_volumes
from .donor_host import Block
from .pool_layout import KeptSeen, RemoveLeftovers, format_bytes, require_room
from .ssh_login import SshLogin
from .steps import Step

KEPT_S = 7 * 86400.0

_NOBODY = SshLogin("")


@dataclasses.dataclass(frozen=True)
class SshDonorRequest(CaptureRequest):
    """One machine that a master is to be made of; ``disks`` are device files there, none for those of its system."""

    login: SshLogin = _NOBODY
    disks: tuple[str, ...] = ()
    freeze: str = AUTO
    freeze_limit_s: float = 60.0

    @property
    def subject(self) -> str:
        """The donor as errors name it."""
        return f"donor {self.login.address}"


@dataclasses.dataclass(frozen=True)
class SshDonorSeen:
    """What is to be copied: disks, what of them can be frozen, how much their file systems hold."""

    disks: tuple[Block, ...]
    freezing: Freezing
    used_bytes: int


@dataclasses.dataclass(frozen=True)
class SshDonationSeen:
    """What there is of one donation; ``kept`` is by master what runs before this one have copied."""

    capture: CaptureSeen
    donor: SshDonorSeen | None
    kept: t.Mapping[str, KeptSeen] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CopyDisks:
    """Read a machine's disks until the copy is of one moment; the machine runs on."""

    address: str
    donor: SshDonorSeen
    volumes: tuple[str, ...]
    needed_bytes: int
    goes_on: bool

    def describe(self) -> str:
        """Return the step in words."""
        disks = ", ".join(f"{disk.path} ({format_bytes(disk.size_bytes)})" for disk in self.donor.disks)
        begun = ", going on with what an earlier run copied" if self.goes_on else ""
        return f"copy {disks} of {self.address} over ssh{begun}; {describe_freezing(self.donor.freezing)}"


def plan_ssh_donation(request: SshDonorRequest, seen: SshDonationSeen) -> list[Step]:
    """Return the steps that are left to do; none when the master is published.

    Raises :class:`NoSpace`. What is needed for certain is what the file systems hold, twice: as it comes, and as the
    master's volumes. What else the disks hold is found out while they are read.
    """
    steps = _plan_cleaning(request, seen)
    if seen.donor is None:
        return steps
    kept = seen.kept.get(request.master.name)
    used_bytes = seen.donor.used_bytes
    needed_bytes = max(0, used_bytes - (kept.allocated_bytes if kept else 0)) + used_bytes
    free_bytes = seen.capture.free_bytes
    require_room(request.subject, request.master.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes)
    names = name_volumes([disk.name.replace("!", "-") for disk in seen.donor.disks])
    copy = CopyDisks(request.login.address, seen.donor, names, needed_bytes, goes_on=kept is not None)
    return [*steps, copy, *plan_publication(request, names)]


def _plan_cleaning(request: SshDonorRequest, seen: SshDonationSeen) -> list[Step]:
    """Return the step that removes what is needed no more: our copy once its master is made, others after a week."""
    done = [
        kept.path
        for master, kept in seen.kept.items()
        if (seen.capture.published if master == request.master.name else kept.age_s > KEPT_S)
    ]
    leftovers = (*seen.capture.leftovers, *done)
    return [RemoveLeftovers(leftovers)] if leftovers else []

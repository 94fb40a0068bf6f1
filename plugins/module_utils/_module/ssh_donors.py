# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Donors that are reached over ssh: looked at, and copied into files that outlive a lost connection. Private to this
collection.
"""

from __future__ import annotations

import typing as t

from .._core.capturing import CaptureSeen, limit_copying_s
from .._core.donor_host import choose_disks, list_mounted, make_freezing, parse_host, require_tools
from .._core.errors import NoSpace
from .._core.pool_layout import explain_full_pool
from .._core.ssh_donation import CopyDisks, SshDonationSeen, SshDonorRequest, SshDonorSeen, plan_ssh_donation
from .._core.steps import Step
from .._drivers import qemu_img, volumes
from .._drivers.donor_session import DonorSession, open_session
from .capturing import Copies
from .disk_copying import copy_disks

_KEPT_KIND = "donor"


class SshDonors:
    """Machines whose disks are read over ssh."""

    def see(self, request: SshDonorRequest, capture: CaptureSeen) -> SshDonationSeen:
        """Return what is there of a donation; a donor whose master is published is not looked at."""
        kept = volumes.find_kept(request.master.pool.path, _KEPT_KIND)
        if capture.published:
            return SshDonationSeen(capture, None, kept)
        with open_session(request.login, request.subject) as session:
            return SshDonationSeen(capture, _look(session, request), kept)

    def plan(self, request: SshDonorRequest, seen: SshDonationSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_ssh_donation(request, seen)

    def clear(self, request: SshDonorRequest, step: Step) -> None:
        """Do nothing: donors clear up by themselves."""

    def copy(self, request: SshDonorRequest, step: Step, copies: Copies) -> dict[str, t.Any]:
        """Copy the disks; return what people have to know of it."""
        return _copy(request, step, copies) if isinstance(step, CopyDisks) else {}


def _look(session: DonorSession, request: SshDonorRequest) -> SshDonorSeen:
    """Return what is to be copied; raise when it cannot be read."""
    subject = request.subject
    host = parse_host(session.look(), subject)
    require_tools(host, subject)
    named = [session.open_disk(path)[0] for path in request.disks]
    disks = choose_disks(host, named, subject)
    for disk in disks:
        session.open_disk(disk.path)
    used_bytes = sum(session.count_used_bytes(mount.mountpoint) for mount in list_mounted(host, disks))
    return SshDonorSeen(disks, make_freezing(host, disks, request.freeze, request.freeze_limit_s), used_bytes)


def _copy(request: SshDonorRequest, step: CopyDisks, copies: Copies) -> dict[str, t.Any]:
    subject, pool = request.subject, request.master.pool.path
    kept = volumes.keep_directory(pool, _KEPT_KIND, request.master.name, subject)
    disks = {name: (kept / f"{name}.raw", disk) for name, disk in zip(step.volumes, step.donor.disks)}
    try:
        with open_session(request.login, subject) as session:
            told = copy_disks(session, dict(disks.values()), step.donor.freezing, subject)
        for name, (path, disk) in disks.items():
            limit_s = limit_copying_s(disk.size_bytes)
            qemu_img.convert(str(path), "raw", str(copies.path_of(name)), subject=subject, timeout_s=limit_s)
    except NoSpace as exc:
        for path in (kept, copies.directory):
            volumes.remove_tree(path, subject)
        free_bytes = volumes.count_free_bytes(pool, subject)
        raise explain_full_pool(subject, pool, needed_bytes=step.needed_bytes, free_bytes=free_bytes) from exc
    volumes.remove_tree(kept, subject)
    return told

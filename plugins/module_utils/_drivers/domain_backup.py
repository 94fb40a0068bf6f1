# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's disks copied while it runs, by libvirt's backup job. Private to this collection.

Each function is given the library's handle of a domain, by who makes its calls with a time limit.
"""

from __future__ import annotations

import typing as t

from .._core.donation import DonorSeen, has_agent, parse_backup, parse_donor_disks
from .._core.errors import ToolFailed

try:
    import libvirt
except ImportError:
    libvirt = None

_COMPLETED = 3  # virDomainJobType


def see_donor(handle: t.Any, subject: str) -> DonorSeen:
    """Return the domain with its disks, and the backup job that is at work on it."""
    active = bool(handle.isActive())
    text = handle.XMLDesc(0)
    job = _read_job(handle, subject) if active else None
    return DonorSeen(active, parse_donor_disks(text, subject), job, agent=active and has_agent(text, subject))


def measure_disk(handle: t.Any, target: str) -> int:
    """Return how many bytes a disk holds at most: what is allocated for it and its backing files, or its size."""
    capacity, _allocation, _physical = handle.blockInfo(target)
    return int(capacity)


def freeze_domain(handle: t.Any) -> str:
    """Freeze its file systems by the guest agent; return why it would not, empty when they are frozen."""
    try:
        handle.fsFreeze()
    except libvirt.libvirtError as exc:
        return (exc.get_error_message() or "the guest agent failed")[:300]
    return ""


def thaw_domain(handle: t.Any) -> None:
    """Thaw its file systems; none frozen is success."""
    handle.fsThaw()


def begin_backup(handle: t.Any, order: str) -> None:
    """Begin to copy; from this moment on the copy is of this moment."""
    handle.backupBegin(order, None, 0)


def is_backing_up(handle: t.Any, subject: str) -> bool:
    """Tell whether the job is still at work."""
    return _read_job(handle, subject) is not None


def require_completed(handle: t.Any, subject: str) -> None:
    """Raise unless the last job came to its end."""
    told = handle.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    if told.get("type") != _COMPLETED:
        reason = str(told.get("errmsg") or "the domain ended, or somebody ended the job")[:300]
        raise ToolFailed(subject, f"its backup did not complete: {reason}", remedy="Run again.")


def abort_backup(handle: t.Any, subject: str) -> None:
    """End the job; none is success."""
    if _read_job(handle, subject) is not None:
        handle.abortJob()


def _read_job(handle: t.Any, subject: str) -> tuple[str, ...] | None:
    try:
        return parse_backup(handle.backupGetXMLDesc(0), subject)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
            return None
        raise

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's errors as ours. Private to this collection; may change without notice.

The numbers are virErrorNumber of libvirt's virterror.h, which never change.
"""

from __future__ import annotations

import re

from .errors import Conflict, EncompassError, NotFound, StillRunning, ToolFailed, Unsupported

_NOT_FOUND = {
    42: ("domain", "Attach it first."),
    43: ("network", "Make it with the role encompass.images.hypervisor."),
    49: ("pool", "Make it with the role encompass.images.hypervisor."),
}
_UNSUPPORTED = (3, 67, 84)  # NO_SUPPORT, CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED
_TIMEOUT = 68
_EXISTS = (28, 37)  # DOM_EXIST, NETWORK_EXIST

# virtlockd's refusal, and QEMU's own (raw and qcow2 images on any host that shares the file system).
_LOCKED = (
    re.compile(r"Lockspace resource '(?P<path>[^']+)' is locked"),
    re.compile(r"Failed to get .*lock.*Is another process using the image \[(?P<path>[^\]]+)\]", re.DOTALL),
)
_IN_USE = re.compile(r"Network is already in use by interface (?P<interface>\S+)")
_NO_DAEMON = re.compile(r"Failed to connect socket to '(?P<socket>[^']+)'")
_NO_ACCESS = re.compile(r"Cannot access (backing|storage) file|Could not open '.*': Permission denied", re.DOTALL)


def find_locked_volume(message: str) -> str | None:
    """Return the path of the volume that somebody else holds, when that is what libvirt complains about."""
    for pattern in _LOCKED:
        found = pattern.search(message)
        if found:
            return found["path"]
    return None


def explain_virt_error(subject: str, code: int, message: str, *, holder: str = "") -> EncompassError:
    """Return the error in our family. ``holder`` names the domain that has the volume in question, if it is known."""
    volume = find_locked_volume(message)
    if volume is not None:
        used_by = f"domain {holder}" if holder else "another host or program"
        return Conflict(
            subject, f"volume {volume} is in use by {used_by}", remedy="Stop that one first; nothing was written."
        )
    if code in _NOT_FOUND:
        kind, remedy = _NOT_FOUND[code]
        return NotFound(subject, f"the provider has no such {kind}", remedy=remedy)
    if code == _TIMEOUT:
        return StillRunning(
            subject, "libvirt is still busy with an earlier operation on it", remedy="Wait for it and run again."
        )
    return _explain_environment(subject, message) or _explain_by_code(subject, code, _shorten(message))


def _explain_environment(subject: str, message: str) -> EncompassError | None:
    daemon, network = _NO_DAEMON.search(message), _IN_USE.search(message)
    if daemon:
        return ToolFailed(
            subject,
            f"libvirt does not listen at {daemon['socket']}",
            remedy="Start libvirtd, or run encompass.images.hypervisor.",
        )
    if network:
        return Conflict(
            subject,
            f"its subnet is already in use by the interface {network['interface']}",
            remedy="Choose a subnet that this host does not have yet.",
        )
    if _NO_ACCESS.search(message):
        remedy = "Every directory above it must let the hypervisor's user pass (mode o+x)."
        return ToolFailed(subject, _shorten(message), remedy=remedy)
    return None


def _explain_by_code(subject: str, code: int, reason: str) -> EncompassError:
    if code in _UNSUPPORTED:
        return Unsupported(subject, f"libvirt cannot do this here ({reason})")
    if code in _EXISTS:
        return Conflict(subject, reason)
    return ToolFailed(subject, f"libvirt failed: {reason}", remedy="See libvirt's log on the provider and run again.")


def _shorten(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # QEMU's own words come last; the lines before only say that there are some.
    text = lines[-1] if lines and lines[0].startswith("internal error: ") else " ".join(lines)
    return (text or "it gave no reason")[:300]

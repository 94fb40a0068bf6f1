# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's errors as ours, on messages that libvirt 9.0 and QEMU 7.2 gave."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    NotFound,
    StillRunning,
    ToolFailed,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._core.virt_errors import (
    explain_virt_error,
    find_locked_volume,
)

LOCKD = "resource busy: Lockspace resource '/pool/a.qcow2' is locked"
QEMU = (
    "internal error: process exited while connecting to monitor: 2026-11-20T16:09:31.214Z qemu-system-x86_64: "
    '-blockdev {"node-name":"libvirt-2-format","read-only":false,"driver":"qcow2"}: Failed to get "write" lock\n'
    "Is another process using the image [/pool/a.qcow2]?"
)


@pytest.mark.parametrize(
    ("code", "message", "kind", "says"),
    [
        (87, LOCKD, Conflict, "volume /pool/a.qcow2 is in use by another host or program"),
        (1, QEMU, Conflict, "volume /pool/a.qcow2 is in use by another host or program"),
        (42, "Domain not found: no domain with matching name 'x'", NotFound, "no such domain. Attach it first."),
        (43, "Network not found: no network with matching name 'x'", NotFound, "no such network"),
        (49, "Storage pool not found: no storage pool with matching name 'x'", NotFound, "no such pool"),
        (68, "Timed out during operation: cannot acquire state change lock", StillRunning, "busy with an earlier"),
        (
            67,
            "unsupported configuration: Emulator '/x' does not support virt type 'kvm'",
            Unsupported,
            "virt type 'kvm'",
        ),
        (28, "domain 'x' already exists with uuid 1", Conflict, "domain 'x' already exists with uuid 1"),
        (1, "internal error: Network is already in use by interface eth0", Conflict, "by the interface eth0"),
        (
            38,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
            ToolFailed,
            "libvirt does not listen at /var/run/libvirt/libvirt-sock. Start libvirtd",
        ),
        (
            38,
            "Cannot access storage file '/root/a.qcow2' (as uid:64055, gid:64055): Permission denied",
            ToolFailed,
            "let the hypervisor's user pass",
        ),
        (
            1,
            "internal error: process exited:\n  qemu: the last words",
            ToolFailed,
            "libvirt failed: qemu: the last words",
        ),
        (9, "operation failed: first\nsecond", ToolFailed, "operation failed: first second"),
        (9, "", ToolFailed, "it gave no reason"),
    ],
)
def test_an_error_is_explained(code: int, message: str, kind: type, says: str) -> None:
    error = explain_virt_error("machine x", code, message)
    assert error.__class__ is kind
    assert says in str(error)
    assert str(error).startswith("machine x: ")


def test_the_holder_of_a_volume_is_named() -> None:
    assert find_locked_volume(QEMU) == find_locked_volume(LOCKD) == "/pool/a.qcow2"
    assert find_locked_volume("something else") is None
    assert "in use by domain db-1" in str(explain_virt_error("machine x", 87, LOCKD, holder="db-1"))


def test_a_long_message_is_cut() -> None:
    assert len(explain_virt_error("machine x", 9, "y" * 5000).problem) < 400

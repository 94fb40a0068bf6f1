# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host says of itself beside libvirt. Private to this collection; may change without notice."""

from __future__ import annotations

import pathlib
import re
import socket

_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
_QEMU_CONF = pathlib.Path("/etc/libvirt/qemu.conf")
_LOCK_MANAGER = re.compile(r"^\s*lock_manager\s*=\s*\"([^\"]*)\"", re.MULTILINE)


def read_boot_id() -> str:
    """Return the id of this boot of the host."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def read_hostname() -> str:
    """Return the host's name."""
    return socket.gethostname()


def read_lock_manager(configuration: pathlib.Path = _QEMU_CONF) -> str:
    """Return which lock manager libvirt is told to use; libvirt's default is none (``nop``)."""
    try:
        found = _LOCK_MANAGER.findall(configuration.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "unknown"
    return found[-1] if found else "nop"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a system image nobody's: files that go, files that are emptied. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

from .identity import DBUS_ID, LEFTOVERS, MACHINE_ID

_IDENTITY = (
    DBUS_ID,
    "/etc/ssh/ssh_host_*",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    *LEFTOVERS,
)
_INSTANCE = tuple(f"/var/lib/cloud/{name}" for name in ("data", "instance", "instances", "sem"))
_CACHES = (
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*.deb",
    "/var/cache/dnf/*",
    "/var/cache/yum/*",
    "/var/lib/apt/lists/*",
)
_TEMPORARY = (
    *(f"{place}/{names}" for place in ("/tmp", "/var/tmp") for names in ("*", ".[!.]*")),  # noqa: S108
    "/var/crash/*",
    "/var/lib/systemd/coredump/*",
    "/var/log/journal/*",
)
_TRACES = tuple(
    f"{home}/{name}"
    for home in ("/root", "/home/*")
    for name in (".*_history", ".lesshst", ".viminfo", ".wget-hsts", ".cache/*")
)

OUR_SCRIPTS = "/etc/encompass/firstboot"
"""Where first-boot scripts lie, under another name once they ran."""

REMOVED = (*_IDENTITY, *_INSTANCE, *_CACHES, *_TEMPORARY, *_TRACES)
"""Patterns of what goes, directories with all that is in them."""

EMPTIED = (MACHINE_ID,)
"""Files that stay without their content: with an empty machine-id(5) systemd makes one at the next boot."""

LOGS = "/var/log"

_ROTATED = re.compile(r".*(\.(gz|xz|zst|bz2|old|\d+)|-\d{8})")


def plan_logs(files: t.Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return (the log files that go, those that are emptied), given the sizes of all by path.

    Whoever writes a log may rely on its being there, with its owner; nobody relies on a rotated one.
    """
    rotated = sorted(path for path in files if _ROTATED.fullmatch(path))
    return rotated, sorted(path for path, size in files.items() if size and path not in rotated)

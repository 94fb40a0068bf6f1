# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pool's files look like to a plan. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses
import re

from .errors import InvalidRequest, NoSpace

MAX_CHAIN_DEPTH = 8
"""Files in a chain, the top one included: each costs memory and a look-up for every cluster it does not hold."""

# Everybody may pass through, nobody but root may list: the hypervisor's user has to reach the volumes it is told of.
LAYOUT = {"": 0o711, "/masters": 0o711, "/masters/.sources": 0o700, "/clones": 0o711, "/.staging": 0o700}
"""The directories of a pool, below its path, and their modes."""

_OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclasses.dataclass(frozen=True)
class Pool:
    """A directory pool's layout, as paths."""

    path: str

    def master_file(self, digest: str) -> str:
        """Return where the published volume with this SHA-256 is."""
        return f"{self.path}/masters/{digest}.qcow2"

    def origin_file(self, master: str) -> str:
        """Return where it is written what a master was made of."""
        return f"{self.path}/masters/.sources/{master}.json"

    @property
    def lock_file(self) -> str:
        """Return the file whose locks say who is at work on the published volumes."""
        return f"{self.path}/masters/.sources/.lock"

    def clone_directory(self, clone: str) -> str:
        """Return where a clone's volumes are."""
        return f"{self.path}/clones/{clone}"


@dataclasses.dataclass(frozen=True)
class FileSeen:
    """A regular file: ``fingerprint`` is ``<size>:<mtime_ns>:<inode>``."""

    path: str
    fingerprint: str
    size_bytes: int
    allocated_bytes: int


@dataclasses.dataclass(frozen=True)
class KeptSeen:
    """A staged directory that outlives runs, and how long ago it was written to."""

    path: str
    allocated_bytes: int
    age_s: float


@dataclasses.dataclass(frozen=True)
class RemoveLeftovers:
    """Delete what a killed run of this object left in the pool's staging directory."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        """Return the step in words."""
        return f"remove what a killed run left: {', '.join(self.paths)}"


def check_object_name(subject: str, name: str) -> None:
    """Refuse a name that is not safe as a part of a path."""
    if not _OBJECT_NAME.fullmatch(name):
        raise InvalidRequest(subject, f"the name {name!r} cannot be a file's name", remedy="Use A-Z a-z 0-9 . _ -")


def check_pool_path(subject: str, path: str) -> None:
    """Refuse a pool's path that tools could read as something else than a path."""
    if not path.startswith("/") or path.rstrip("/") == "" or "/../" in f"{path}/":
        raise InvalidRequest(subject, f"the pool's path {path!r} is not absolute", remedy="Give an absolute path.")


def require_room(subject: str, pool_path: str, *, needed_bytes: int, free_bytes: int) -> None:
    """Raise :class:`NoSpace` unless the pool has room for what is to be written."""
    if needed_bytes > free_bytes:
        raise NoSpace(
            subject,
            f"the pool at {pool_path} has {free_bytes} bytes free ({format_bytes(free_bytes)}), and "
            f"{needed_bytes} bytes ({format_bytes(needed_bytes)}) are needed",
            remedy="Free room in the pool or choose another one.",
        )


def explain_full_pool(subject: str, pool_path: str, *, needed_bytes: int, free_bytes: int) -> NoSpace:
    """Return the error of a pool that got full while it was written to."""
    return NoSpace(
        subject,
        f"the pool at {pool_path} got full: about {needed_bytes} bytes ({format_bytes(needed_bytes)}) are needed, "
        f"{free_bytes} bytes ({format_bytes(free_bytes)}) are free; what was written is removed again",
        remedy="Free room in the pool or choose another one.",
    )


def format_bytes(count: int) -> str:
    """Return a size for people to read."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes every size")

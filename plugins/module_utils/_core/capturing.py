# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a master of a clone: flatten, seal, publish; pure plans. Private to this collection.

The clone is only read. What is made of it counts once it is published with what is written of its origin.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .customization import CloneRequest
from .errors import Conflict, NotFound
from .library import report_master
from .library_types import MasterRequest, MasterSeen, Origin, PublishedSeen
from .pool_layout import FileSeen, RemoveLeftovers, format_bytes, require_room
from .steps import Step

# Slower than any disk that one would keep images on.
_SLOWEST_BYTES_PER_S = 8 << 20
_LEAST_S = 120.0

CAPTURED = "captured"
"""The key, in what is written of a master's origin, of what the capture told."""


@dataclasses.dataclass(frozen=True)
class CaptureRequest:
    """One clone as it is to become a master; ``clone`` says where its files are, with one volume."""

    name: str
    clone: CloneRequest
    master: MasterRequest
    stage: str = ""
    """What the catalog says of the clone; empty when nobody says."""

    @property
    def subject(self) -> str:
        """The clone as errors name it."""
        return self.clone.subject


@dataclasses.dataclass(frozen=True)
class CaptureSeen:
    """What there is of one capture: the clone's volume, and the master if it was published already."""

    volume: FileSeen | None
    in_use: bool
    needed_bytes: int
    free_bytes: int
    origin: Origin | None = None
    published: PublishedSeen | None = None
    leftovers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FlattenVolume:
    """Copy the clone's volume with all that it is based on."""

    path: str
    format: str
    needed_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"copy {self.path} with what it is based on (about {format_bytes(self.needed_bytes)})"


@dataclasses.dataclass(frozen=True)
class SealCopy:
    """Make the copy nobody's."""

    def describe(self) -> str:
        """Return the step in words."""
        return "take back the customization of the copy, remove its identity, logs and caches, look for secrets"


@dataclasses.dataclass(frozen=True)
class PublishCopy:
    """Give the copy its name in the library."""

    master: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"publish it as {self.master}"


def limit_copying_s(size_bytes: int) -> float:
    """Return how long copying may take: enough for a slow disk, and not for ever."""
    return _LEAST_S + size_bytes / _SLOWEST_BYTES_PER_S


def plan_capture(request: CaptureRequest, seen: CaptureSeen) -> list[Step]:
    """Return the steps that are left to do; none when the master is published.

    Raises :class:`NotFound`, :class:`Conflict` when a guest runs on the volume, and :class:`NoSpace`.
    """
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    if seen.published is not None:
        return steps
    volume = request.clone.volumes[0]
    if seen.volume is None:
        raise NotFound(request.subject, f"its volume {volume.path} is not there", remedy="Run discover.")
    if seen.in_use:
        raise Conflict(
            request.subject,
            f"its volume {volume.path} is in use, by a running guest or a tool",
            remedy="Shut the guest down first; only what nobody writes to can be captured.",
        )
    require_room(request.subject, request.master.pool.path, needed_bytes=seen.needed_bytes, free_bytes=seen.free_bytes)
    return [
        *steps,
        FlattenVolume(volume.path, volume.format, seen.needed_bytes),
        SealCopy(),
        PublishCopy(request.master.name),
    ]


def presume_capture(request: CaptureRequest, seen: CaptureSeen) -> CaptureSeen:
    """Return what would be seen if the guest were stopped, as the catalog says."""
    return dataclasses.replace(seen, in_use=False) if request.stage not in ("", "active") else seen


def report_capture(request: CaptureRequest, seen: CaptureSeen) -> dict[str, t.Any]:
    """Return the master's record, and what capturing told of the image."""
    master = MasterSeen(seen.published, seen.origin if seen.published else None, None, seen.free_bytes)
    told = (seen.origin.inspection or {}).get(CAPTURED) if seen.published and seen.origin else None
    return {**report_master(request.master, master), "master": request.master.name, CAPTURED: told}

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
from .library_types import MasterRequest, MasterSeen, MasterVolume, MasterVolumeSeen, Origin, PublishedSeen
from .pool_layout import FileSeen, RemoveLeftovers, format_bytes, require_room
from .steps import Step

# Slower than any disk that one would keep images on.
_SLOWEST_BYTES_PER_S = 8 << 20
_LEAST_S = 120.0

CAPTURED = "captured"
"""The key, in what is written of a master's origin, of what the capture told."""


@dataclasses.dataclass(frozen=True)
class CaptureRequest:
    """One clone as it is to become a master; ``clone`` says where its files are."""

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
    """What there is of one capture: the clone's volumes, and the master's files if all were published already.

    ``in_use`` is the path of a volume that somebody has open; ``needed_bytes`` tells for each what its copy takes.
    """

    volumes: tuple[FileSeen | None, ...]
    in_use: str
    needed_bytes: tuple[int, ...]
    free_bytes: int
    origin: Origin | None = None
    published: tuple[PublishedSeen, ...] = ()
    leftovers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FlattenVolume:
    """Copy a volume with all that it is based on; ``volume`` is the copy's name in the master."""

    volume: str
    path: str
    format: str
    needed_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"copy {self.path} with what it is based on (about {format_bytes(self.needed_bytes)})"


@dataclasses.dataclass(frozen=True)
class SealCopy:
    """Make the copies nobody's."""

    def describe(self) -> str:
        """Return the step in words."""
        return "take back the customization of the copy, remove its identity, logs and caches, look for secrets"


@dataclasses.dataclass(frozen=True)
class PublishCopy:
    """Give the copies their names in the library; ``volumes`` are their names in the master, the first one boots."""

    master: str
    volumes: tuple[str, ...]

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
    if seen.published:
        return steps
    volumes = request.clone.volumes
    for volume, found in zip(volumes, seen.volumes):
        if found is None:
            raise NotFound(request.subject, f"its volume {volume.path} is not there", remedy="Run discover.")
    if seen.in_use:
        raise Conflict(
            request.subject,
            f"its volume {seen.in_use} is in use, by a running guest or a tool",
            remedy="Shut the guest down first; only what nobody writes to can be captured.",
        )
    needed_bytes = sum(seen.needed_bytes)
    require_room(request.subject, request.master.pool.path, needed_bytes=needed_bytes, free_bytes=seen.free_bytes)
    return [
        *steps,
        *(
            FlattenVolume(volume.name, volume.path, volume.format, size)
            for volume, size in zip(volumes, seen.needed_bytes)
        ),
        *plan_publication(request, [volume.name for volume in volumes]),
    ]


def plan_publication(request: CaptureRequest, volumes: t.Sequence[str]) -> list[Step]:
    """Return the steps that make a master of the copies of these volumes, which earlier steps make."""
    return [SealCopy(), PublishCopy(request.master.name, tuple(volumes))]


def presume_capture(request: CaptureRequest, seen: CaptureSeen) -> CaptureSeen:
    """Return what would be seen if the guest were stopped, as the catalog says."""
    return dataclasses.replace(seen, in_use="") if request.stage not in ("", "active") else seen


def report_capture(request: CaptureRequest, seen: CaptureSeen) -> dict[str, t.Any]:
    """Return the master's record, and what capturing told of the image."""
    origin, master = seen.origin if seen.published else None, request.master
    if origin is not None:
        master = dataclasses.replace(master, volumes=tuple(MasterVolume(volume.name) for volume in origin.volumes))
    files = tuple(MasterVolumeSeen(file) for file in seen.published) or (MasterVolumeSeen(),) * len(master.volumes)
    told = (origin.inspection or {}).get(CAPTURED) if origin else None
    record = report_master(master, MasterSeen(files, origin, seen.free_bytes))
    return {**record, "master": master.name, CAPTURED: told}

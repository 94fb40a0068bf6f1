# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a clone of what is there, and what removes it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .clone_methods import BY_NAME, METHODS, Choice, choose_method, estimate_bytes, target_bytes
from .clone_types import (
    BaseSeen,
    CloneRequest,
    CloneSeen,
    PublishClone,
    RemoveClone,
    VolumeRequest,
    VolumeSeen,
)
from .errors import Conflict, InvalidRequest, MasterChanged, NotFound, TransitionRefused, Unsupported
from .pool_layout import RemoveLeftovers, require_room
from .steps import Step


def share_room(
    requests: t.Mapping[str, CloneRequest], seen: t.Mapping[str, CloneSeen | None]
) -> dict[str, CloneSeen | None]:
    """Return the observations with the free bytes that the clones before each, of the same batch and pool, leave.

    A clone that does not fit takes nothing from those after it; it fails by itself, in its plan.
    """
    taken: dict[str, int] = {}
    shared: dict[str, CloneSeen | None] = {}
    for name, request in requests.items():
        clone = seen[name]
        if clone is not None and not clone.exists:
            clone = dataclasses.replace(clone, free_bytes=clone.free_bytes - taken.get(request.pool.path, 0))
            needed = _estimate_or_zero(request, clone)
            if needed <= clone.free_bytes:
                taken[request.pool.path] = taken.get(request.pool.path, 0) + needed
        shared[name] = clone
    return shared


def _estimate_or_zero(request: CloneRequest, seen: CloneSeen) -> int:
    try:
        return estimate_bytes(request, seen)
    except Unsupported:
        return 0


def plan_clone(request: CloneRequest, seen: CloneSeen) -> list[Step]:
    """Return the steps that make the clone; none when it is there as asked.

    Raises :class:`MasterChanged`, :class:`NoSpace`, :class:`Conflict` (something else is in its place),
    :class:`InvalidRequest` and :class:`Unsupported`.
    """
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    for volume in request.volumes:
        if seen.exists:
            _check_volume(request, volume, seen)
        if not seen.exists or seen.volumes[volume.name].backing_path:
            _check_base(request, volume, seen.bases.get(volume.name))
    if seen.exists:
        return steps
    method = BY_NAME[choose_method(request, seen).method]
    require_room(
        f"clone {request.name}",
        request.pool.path,
        needed_bytes=estimate_bytes(request, seen),
        free_bytes=seen.free_bytes,
    )
    made = [method.make_step(request, volume, seen.bases.get(volume.name)) for volume in request.volumes]
    return [*steps, *made, PublishClone(request.directory)]


def presume_clone(request: CloneRequest, seen: CloneSeen) -> CloneSeen:
    """Return what would be seen if no machine ran the clone any more, as the catalog says."""
    if request.stage != "unassigned":
        return seen
    volumes = {name: dataclasses.replace(volume, in_use=False) for name, volume in seen.volumes.items()}
    return dataclasses.replace(seen, volumes=volumes)


def plan_removal(request: CloneRequest, seen: CloneSeen) -> list[Step]:
    """Return the steps that delete the clone; refused while something has a volume of it open."""
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    if not seen.exists:
        return steps
    for name, volume in seen.volumes.items():
        if volume.in_use:
            raise TransitionRefused(
                f"clone {request.name}",
                f"its volume {name} is open in a running qemu or another tool",
                remedy="Deactivate its machine first.",
            )
    return [*steps, RemoveClone(request.directory, sum(volume.allocated_bytes for volume in seen.volumes.values()))]


def _check_base(request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> None:
    subject = f"clone {request.name}"
    if not volume.base.digest:
        return
    if base is None:
        raise NotFound(
            subject,
            f"the file of its master is not there: {volume.base.path}",
            remedy="See whether its pool is mounted, else run encompass.images.add_master.",
        )
    if base.digest != volume.base.digest:
        raise MasterChanged(
            subject,
            f"the file of its master changed since it was registered: {base.file.path} holds {base.digest}, "
            f"registered is {volume.base.digest}",
            remedy="Restore the file from a replica, or import the master as a new version.",
        )
    if base.format != volume.base.format:
        raise InvalidRequest(
            subject, f"its base {base.file.path} was declared as {volume.base.format}, but it is {base.format}"
        )
    if volume.virtual_bytes and volume.virtual_bytes < base.virtual_bytes:
        raise InvalidRequest(
            subject,
            f"volume {volume.name} shall have {volume.virtual_bytes} bytes, but its master has {base.virtual_bytes}",
            remedy="A clone can be larger than its master, never smaller.",
        )


def _check_volume(request: CloneRequest, volume: VolumeRequest, seen: CloneSeen) -> None:
    """Refuse a directory that holds something else than what is asked; it is never overwritten."""
    found = seen.volumes.get(volume.name)
    problem = _find_difference(request, volume, found, target_bytes(volume, seen.bases.get(volume.name)))
    if problem:
        raise Conflict(
            f"clone {request.name}",
            f"{request.directory} is there, but {problem}",
            remedy="Delete the clone, or the directory if nothing needs it, and run again.",
        )


def _find_difference(
    request: CloneRequest, volume: VolumeRequest, found: VolumeSeen | None, virtual_bytes: int
) -> str | None:
    if found is None:
        return f"it has no volume {volume.name}"
    overlay = bool(found.backing_path)
    checks = (
        (found.format != volume.format, f"its volume {volume.name} is {found.format} instead of {volume.format}"),
        (
            virtual_bytes not in (0, found.virtual_bytes),
            f"its volume {volume.name} has {found.virtual_bytes} bytes instead of {virtual_bytes}",
        ),
        (overlay and request.method == "copy", f"its volume {volume.name} is an overlay instead of a copy"),
        (not overlay and request.method == "overlay", f"its volume {volume.name} is a copy instead of an overlay"),
        (
            overlay and (found.backing_path, found.backing_format) != (volume.base.path, volume.base.format),
            f"its volume {volume.name} is an overlay on {found.backing_path} ({found.backing_format or 'no format'}) "
            f"instead of {volume.base.path} ({volume.base.format})",
        ),
    )
    return next((problem for differs, problem in checks if differs), None)


def report_clone(request: CloneRequest, seen: CloneSeen) -> dict[str, t.Any]:
    """Return the clone's record as it is once its plan is done."""
    choice = _explain_clone(request, seen)
    estimated = estimate_bytes(dataclasses.replace(request, method=choice.method), seen)
    allocated = sum(volume.allocated_bytes for volume in seen.volumes.values())
    return {
        "directory": request.directory,
        "method": choice.method,
        "reason": choice.reason,
        "rejected": dict(choice.rejected),
        "volumes": [_report_volume(request, volume, seen, choice.method) for volume in request.volumes],
        "estimated_bytes": estimated,
        "allocated_bytes": allocated if seen.exists else estimated,
    }


def _report_volume(request: CloneRequest, volume: VolumeRequest, seen: CloneSeen, method: str) -> dict[str, t.Any]:
    base = volume.base
    backing = {"path": base.path, "format": base.format, "digest": base.digest} if method == "overlay" else None
    return {
        "name": volume.name,
        "path": request.path_of(volume.name),
        "format": volume.format,
        "virtual_bytes": target_bytes(volume, seen.bases.get(volume.name)),
        "backing": backing,
    }


def _explain_clone(request: CloneRequest, seen: CloneSeen) -> Choice:
    """Return the method of a clone; one that is there keeps how it was made, whatever would be chosen now."""
    if not seen.exists:
        return choose_method(request, seen)
    made_by = "overlay" if any(volume.backing_path for volume in seen.volumes.values()) else "copy"
    method = BY_NAME[made_by]
    others = {other.name: "the clone is there already" for other in METHODS if other.name != made_by}
    try:
        choice = choose_method(request, seen)
    except Unsupported:
        return Choice(made_by, method.explain(request), others)
    return choice if choice.method == made_by else Choice(made_by, method.explain(request), others)

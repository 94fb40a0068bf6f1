# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What publishes a master in the library, and what removes it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidRequest, MasterChanged, NotFound, TransitionRefused
from .image_header import refuse_image
from .library_types import ImportVolume, InspectVolume, MasterRequest, MasterSeen, PublishedSeen, RemoveMaster
from .pool_layout import RemoveLeftovers, require_room
from .steps import Step

_NAMED_CLONES = 3


def known_digest(request: MasterRequest, seen: MasterSeen) -> str:
    """Return the digest of the master's file: as registered, else as an earlier run left it; empty when new."""
    return request.digest or (seen.origin.digest if seen.origin else "")


def forget_broken_import(request: MasterRequest, seen: MasterSeen) -> MasterSeen:
    """Return the observation without the origin that a killed import wrote down and a new image has overtaken."""
    origin, source = seen.origin, seen.source
    if origin is None or source is None or seen.published is not None or request.digest:
        return seen
    return seen if source.sha256 == origin.sha256 else dataclasses.replace(seen, origin=None)


def plan_master(request: MasterRequest, seen: MasterSeen) -> list[Step]:
    """Return the steps that publish the master; none when it is published and inspected.

    Raises :class:`MasterChanged`, :class:`NotFound`, :class:`NoSpace`, and :class:`InvalidRequest` for an image
    that is not taken or a version that would have to change.
    """
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    _check_source(request, seen)
    if seen.published is None:
        steps.append(_plan_import(request, seen))
    else:
        _check_published(request, seen, seen.published)
    if request.inspect and _find_inspection(request, seen) is None:
        steps.append(InspectVolume())
    return steps


def plan_master_removal(request: MasterRequest, seen: MasterSeen) -> list[Step]:
    """Return the steps that delete the master from its pool; refused while overlays need its file."""
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    if seen.origin is None and (seen.published is None or seen.sharers):
        return steps
    if seen.published is not None and seen.clones and not seen.sharers:
        named = ", ".join(seen.clones[:_NAMED_CLONES])
        more = f" and {len(seen.clones) - _NAMED_CLONES} more" if len(seen.clones) > _NAMED_CLONES else ""
        raise TransitionRefused(
            _subject(request),
            f"its file is the base of {named}{more}",
            remedy="Delete these clones first, or only deprecate the master.",
        )
    return [*steps, RemoveMaster(known_digest(request, seen), keep_file=bool(seen.sharers))]


def _plan_import(request: MasterRequest, seen: MasterSeen) -> Step:
    source = seen.source
    if source is None or source.header is None:
        raise NotFound(_subject(request), f"its source {request.source or '(none given)'} is not there")
    refuse_image(source.header, request.format, f"image {request.source}")
    if request.sha256 and source.sha256 != request.sha256:
        raise InvalidRequest(
            _subject(request),
            f"its source {request.source} has the SHA-256 {source.sha256}, {request.sha256} was expected",
            remedy="Fetch the image again, or correct the digest.",
        )
    require_room(
        _subject(request),
        request.pool.path,
        needed_bytes=source.file.allocated_bytes,
        free_bytes=seen.free_bytes,
    )
    return ImportVolume(source.file, request.format, source.sha256, expected_digest=request.digest)


def _check_published(request: MasterRequest, seen: MasterSeen, published: PublishedSeen) -> None:
    digest = known_digest(request, seen)
    if published.digest not in (None, digest):
        raise MasterChanged(
            _subject(request),
            f"its file changed since it was registered: {published.file.path} holds {published.digest}",
            remedy="Restore the file from a replica, or delete the master and import it again.",
        )


def _check_source(request: MasterRequest, seen: MasterSeen) -> None:
    """Refuse a source that is not what this version was made of: a version never changes."""
    origin = seen.origin
    if origin is None or (seen.published is None and not request.digest):
        return
    holds = seen.source.sha256 if seen.source else ""
    if (holds or origin.sha256) != origin.sha256 or (request.sha256 or origin.sha256) != origin.sha256:
        raise InvalidRequest(
            _subject(request),
            f"it was made of other bytes (SHA-256 {origin.sha256}) than {request.source} holds now",
            remedy="A version never changes: give the image the next version, or delete this one first.",
        )


def report_master(request: MasterRequest, seen: MasterSeen) -> dict[str, t.Any]:
    """Return the master's record as it is once its plan is done; what only the work can tell is None before it."""
    published, origin, source = seen.published, seen.origin, seen.source
    digest = known_digest(request, seen) or None
    virtual_bytes = source.header.virtual_bytes if source and source.header else None
    inspection = _find_inspection(request, seen) or {}
    sha256 = source.sha256 if source and source.sha256 else None
    return {
        "digest": digest,
        "path": request.pool.master_file(digest) if digest else None,
        "fingerprint": published.file.fingerprint if published else None,
        "format": "qcow2",
        "virtual_bytes": published.virtual_bytes if published else virtual_bytes,
        "allocated_bytes": _predict_allocated(seen),
        "hardware": {
            "arch": request.hardware.arch,
            "firmware": request.hardware.firmware or inspection.get("firmware"),
            "disk_bus": request.hardware.disk_bus,
            "min_cpus": request.hardware.min_cpus,
            "min_memory_mib": request.hardware.min_memory_mib,
        },
        "software": inspection.get("software"),
        "packages": inspection.get("packages"),
        "layout": inspection.get("layout"),
        "sealed": inspection.get("sealed"),
        "source": {
            "path": origin.path if origin else request.source,
            "sha256": (origin.sha256 if origin else sha256) or None,
            "format": origin.format if origin else request.format,
        },
    }


def _find_inspection(request: MasterRequest, seen: MasterSeen) -> t.Mapping[str, t.Any] | None:
    """Return what an earlier look inside this very file told."""
    if seen.published is None or seen.origin is None or seen.origin.digest != known_digest(request, seen):
        return None
    return seen.origin.inspection


def _predict_allocated(seen: MasterSeen) -> int | None:
    if seen.published:
        return seen.published.file.allocated_bytes
    return seen.source.file.allocated_bytes if seen.source else None


def _subject(request: MasterRequest) -> str:
    return f"master {request.name}"

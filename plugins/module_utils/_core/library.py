# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What publishes a master in the library, and what removes it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidRequest, MasterChanged, NotFound, TransitionRefused
from .library_types import (
    ImportVolumes,
    InspectVolumes,
    MasterRequest,
    MasterSeen,
    MasterVolume,
    MasterVolumeSeen,
    NoteOrigin,
    Origin,
    PublishedSeen,
    RemoveMaster,
    VolumeImport,
    VolumeOrigin,
)
from .pool_layout import RemoveLeftovers, require_room
from .sources import is_url, refuse_file, show_source
from .steps import Step

_NAMED_CLONES = 3
_OF_FILE = ("digest", "path", "fingerprint", "format", "virtual_bytes", "allocated_bytes", "source")


def list_origins(request: MasterRequest, origin: Origin | None) -> list[VolumeOrigin | None]:
    """Return what is written of each volume's origin; None where nothing is."""
    written = origin.volumes if origin else ()
    return [written[index] if index < len(written) else None for index in range(len(request.volumes))]


def known_digests(request: MasterRequest, origin: Origin | None) -> tuple[str, ...]:
    """Return the digest of each volume's file: as registered, else as an earlier run left it; empty when new."""
    made = list_origins(request, origin)
    return tuple(volume.digest or (one.digest if one else "") for volume, one in zip(request.volumes, made))


def removed_digests(request: MasterRequest, origin: Origin | None) -> tuple[str, ...]:
    """Return the digests of the files that go with a master, whose volumes need not be told."""
    given = tuple(volume.digest for volume in request.volumes if volume.digest)
    return tuple(dict.fromkeys(given or (origin.digests if origin else ())))


def forget_broken_import(request: MasterRequest, seen: MasterSeen) -> MasterSeen:
    """Return the observation without what a killed import left: files without the others, an origin overtaken."""
    origin = seen.origin
    if origin is None or is_registered(request) or len(origin.volumes) != len(request.volumes):
        return seen
    if not origin.complete and not all(volume.published for volume in seen.volumes):
        strays = list_strays(origin, [volume.published for volume in seen.volumes], seen.shared)
        volumes = tuple(dataclasses.replace(volume, published=None) for volume in seen.volumes)
        seen = dataclasses.replace(seen, volumes=volumes, leftovers=(*seen.leftovers, *strays))
    if any(volume.published for volume in seen.volumes):
        return seen
    pairs = zip(seen.volumes, origin.volumes)
    is_same = all(volume.source is None or volume.source.sha256 == made.sha256 for volume, made in pairs)
    return seen if is_same else dataclasses.replace(seen, origin=None)


def list_strays(
    origin: Origin, published: t.Iterable[PublishedSeen | None], shared: t.Collection[str]
) -> tuple[str, ...]:
    """Return the files that a killed run gave their names, which nobody can have used without the others."""
    found = {digest: seen.file.path for digest, seen in zip(origin.digests, published) if seen}
    return tuple(path for digest, path in found.items() if digest not in shared)


def is_registered(request: MasterRequest) -> bool:
    """Tell whether the catalog says what the master's files hold."""
    return any(volume.digest for volume in request.volumes)


def plan_master(request: MasterRequest, seen: MasterSeen) -> list[Step]:
    """Return the steps that publish the master; none when it is published and inspected.

    Raises :class:`MasterChanged`, :class:`NotFound`, :class:`NoSpace`, and :class:`InvalidRequest` for an image
    that is not taken or a version that would have to change.
    """
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    _check_count(request, seen.origin)
    digests = known_digests(request, seen.origin)
    for volume, found, made, digest in zip(request.volumes, seen.volumes, list_origins(request, seen.origin), digests):
        _check_source(request, volume, found, made)
        _check_published(request, found, digest)
    if not all(found.published for found in seen.volumes):
        steps.append(_plan_import(request, seen, digests))
    elif seen.origin is None or seen.origin.digests != digests:
        steps.append(NoteOrigin())
    if request.inspect and _find_inspection(request, seen) is None:
        steps.append(InspectVolumes())
    return steps


def plan_master_removal(request: MasterRequest, seen: MasterSeen) -> list[Step]:
    """Return the steps that delete the master from its pool; refused while overlays need one of its files."""
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    digests = removed_digests(request, seen.origin)
    own = tuple(digest for digest in digests if digest not in seen.shared)
    published = {digest for digest, found in zip(digests, seen.volumes) if found.published}
    if seen.origin is None and not published.intersection(own):
        return steps
    if seen.clones and published.intersection(own):
        named = ", ".join(seen.clones[:_NAMED_CLONES])
        more = f" and {len(seen.clones) - _NAMED_CLONES} more" if len(seen.clones) > _NAMED_CLONES else ""
        raise TransitionRefused(
            _subject(request),
            f"its file is the base of {named}{more}",
            remedy="Delete these clones first, or only deprecate the master.",
        )
    return [*steps, RemoveMaster(own, tuple(digest for digest in digests if digest in seen.shared))]


def _plan_import(request: MasterRequest, seen: MasterSeen, digests: t.Sequence[str]) -> Step:
    # What is there already binds the rest: all files are of one moment.
    is_bound = any(found.published for found in seen.volumes)
    imports = tuple(
        _plan_volume(request, volume, found, expected_digest=digest if is_bound else volume.digest)
        for volume, found, digest in zip(request.volumes, seen.volumes, digests)
        if found.published is None
    )
    require_room(
        _subject(request),
        request.pool.path,
        needed_bytes=sum(one.source.allocated_bytes for one in imports),
        free_bytes=seen.free_bytes,
    )
    return ImportVolumes(imports)


def _plan_volume(
    request: MasterRequest, volume: MasterVolume, found: MasterVolumeSeen, *, expected_digest: str
) -> VolumeImport:
    source = found.source
    if source is None or (source.header is None and not is_url(volume.source)):
        raise NotFound(_subject(request), f"its source {volume.source or '(none given)'} is not there")
    if source.header is not None:
        refuse_file(source.header, volume.format, request.limits, file=source.file)
    if volume.sha256 and source.sha256 != volume.sha256:
        raise InvalidRequest(
            _subject(request),
            f"its source {volume.source} has the SHA-256 {source.sha256}, {volume.sha256} was expected",
            remedy="Fetch the image again, or correct the digest.",
        )
    return VolumeImport(volume.name, source.file, volume.format, source.sha256, expected_digest, volume.disk)


def _check_count(request: MasterRequest, origin: Origin | None) -> None:
    if origin is not None and len(origin.volumes) != len(request.volumes):
        raise InvalidRequest(
            _subject(request),
            f"it was made of {len(origin.volumes)} volumes, and {len(request.volumes)} are given",
            remedy="A version never changes: give the image the next version, or delete this one first.",
        )


def _check_published(request: MasterRequest, found: MasterVolumeSeen, digest: str) -> None:
    published = found.published
    if published is not None and published.digest not in (None, digest):
        raise MasterChanged(
            _subject(request),
            f"its file changed since it was registered: {published.file.path} holds {published.digest}",
            remedy="Restore the file from a replica, or delete the master and import it again.",
        )


def _check_source(
    request: MasterRequest, volume: MasterVolume, found: MasterVolumeSeen, made: VolumeOrigin | None
) -> None:
    """Refuse a source that is not what this version was made of: a version never changes."""
    if made is None or not made.sha256 or (found.published is None and not volume.digest):
        return
    holds = found.source.sha256 if found.source else ""
    if volume.source and (volume.disk or 1) != (made.disk or 1):
        raise InvalidRequest(
            _subject(request),
            f"it was made of disk {made.disk or 1} of its package, not of disk {volume.disk or 1}",
            remedy="A version never changes: give the image the next version, or delete this one first.",
        )
    if (holds or made.sha256) != made.sha256 or (volume.sha256 or made.sha256) != made.sha256:
        raise InvalidRequest(
            _subject(request),
            f"it was made of other bytes (SHA-256 {made.sha256}) than {show_source(volume.source)} holds now",
            remedy="A version never changes: give the image the next version, or delete this one first.",
        )


def report_master(request: MasterRequest, seen: MasterSeen) -> dict[str, t.Any]:
    """Return the master's record as it is once its plan is done; what only the work can tell is None before it.

    What tells of a file stands there for each volume, and once more for the first.
    """
    made, digests = list_origins(request, seen.origin), known_digests(request, seen.origin)
    files = [
        _report_volume(request, volume, found, one, digest=digest or None)
        for volume, found, one, digest in zip(request.volumes, seen.volumes, made, digests)
    ]
    inspection = _find_inspection(request, seen) or {}
    return {
        **{key: files[0][key] for key in _OF_FILE},
        "volumes": files,
        "hardware": {
            "arch": request.hardware.arch,
            "firmware": request.hardware.firmware or inspection.get("firmware"),
            "disk_bus": request.hardware.disk_bus,
            "min_cpus": request.hardware.min_cpus,
            "min_memory_mib": request.hardware.min_memory_mib,
        },
        **{key: inspection.get(key) for key in ("software", "packages", "layout", "sealed")},
    }


def _report_volume(
    request: MasterRequest,
    volume: MasterVolume,
    found: MasterVolumeSeen,
    made: VolumeOrigin | None,
    *,
    digest: str | None,
) -> dict[str, t.Any]:
    published, source = found.published, found.source
    file = published.file if published else source.file if source and source.header else None
    header_bytes = source.header.virtual_bytes if source and source.header else None
    sha256 = made.sha256 if made else source.sha256 if source else None
    return {
        "name": volume.name,
        "digest": digest,
        "path": request.pool.master_file(digest) if digest else None,
        "fingerprint": published.file.fingerprint if published else None,
        "format": "qcow2",
        "virtual_bytes": published.virtual_bytes if published else header_bytes,
        "allocated_bytes": file.allocated_bytes if file else None,
        "source": {
            "path": made.path if made else show_source(volume.source),
            "sha256": sha256 or None,
            "format": made.format if made else volume.format,
            **({"disk": volume.disk} if volume.disk else {}),
        },
    }


def _find_inspection(request: MasterRequest, seen: MasterSeen) -> t.Mapping[str, t.Any] | None:
    """Return what an earlier look inside these very files told."""
    is_whole = all(found.published for found in seen.volumes)
    if not is_whole or seen.origin is None or seen.origin.digests != known_digests(request, seen.origin):
        return None
    return seen.origin.inspection


def _subject(request: MasterRequest) -> str:
    return f"master {request.name}"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master's files get their names, and what is written of their origin. Private to this collection."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from .._core.errors import Conflict, MasterChanged, ToolFailed
from .._core.library_types import MasterRequest, Origin, PublishedSeen
from .._core.pool_layout import Pool
from .._drivers import image_files, volumes
from .._drivers.locks import hold_contents


def read_origin(request: MasterRequest, subject: str) -> Origin | None:
    """Return what is written down of the master's origin; None when nothing is."""
    path = request.pool.origin_file(request.name)
    stored = volumes.read_json(path, subject)
    try:
        return Origin.from_json(stored) if stored else None
    except KeyError as exc:
        raise ToolFailed(subject, f"{path} lacks {exc}", remedy="Delete the file and run again.") from exc


def write_origin(request: MasterRequest, origin: Origin, staged: pathlib.Path, subject: str) -> None:
    """Replace at once what is written down of the master's origin."""
    path = request.pool.origin_file(request.name)
    volumes.write_json(origin.to_json(), path, staged / "origin.json", subject)


def publish_volumes(
    request: MasterRequest, origin: Origin, files: t.Mapping[str, pathlib.Path], staged: pathlib.Path, *, subject: str
) -> None:
    """Write down the origin of finished files, then give them their names: what has a name has an origin.

    ``files`` are those of the volumes that are not published yet, by the volumes' names.
    """
    with hold_contents(request.pool.lock_file, origin.digests, subject):
        origin = _note_fingerprints(request, origin, files, subject)
        write_origin(request, dataclasses.replace(origin, complete=len(files) <= 1), staged, subject)
        for volume in origin.volumes:
            if volume.name in files:
                volumes.publish_file(files[volume.name], request.pool.master_file(volume.digest), subject)
        if len(files) > 1:
            write_origin(request, origin, staged, subject)


def withdraw_volumes(request: MasterRequest, digests: t.Collection[str], subject: str) -> None:
    """Delete a master's files and what is written of them; a file that another master has by now stays."""
    with hold_contents(request.pool.lock_file, digests, subject):
        shared = find_shared(request)
        for digest in digests:
            if digest not in shared:
                volumes.withdraw_file(request.pool.master_file(digest), subject)
        volumes.withdraw_file(request.pool.origin_file(request.name), subject)


def remove_leftovers(request: MasterRequest, paths: t.Collection[str], subject: str) -> None:
    """Remove what a killed run left; a file that got its name, and that another master has by now, stays."""
    digests = [pathlib.Path(path).stem for path in paths]  # of those that have a name
    with hold_contents(request.pool.lock_file, digests, subject):
        shared = {request.pool.master_file(digest) for digest in find_shared(request)}
        for path in paths:
            if path not in shared:
                volumes.remove_tree(path, subject)


def _note_fingerprints(
    request: MasterRequest, origin: Origin, files: t.Mapping[str, pathlib.Path], subject: str
) -> Origin:
    """Return the origin with the fingerprints that its files have under their names; proves those that are there."""
    noted = []
    for volume in origin.volumes:
        target = request.pool.master_file(volume.digest)
        there = image_files.see_file(target, subject)
        if there is not None and volume.name in files and image_files.hash_file(target, subject) != volume.digest:
            raise MasterChanged(subject, f"{target} is there, but does not hold what its name says")
        made = there or (image_files.see_file(str(files[volume.name]), subject) if volume.name in files else None)
        if made is None:
            raise Conflict(subject, f"{target} was deleted meanwhile", remedy="Run again.")
        noted.append(dataclasses.replace(volume, published_fingerprint=made.fingerprint))
    return dataclasses.replace(origin, volumes=tuple(noted))


def see_published(pool: Pool, digest: str, subject: str) -> PublishedSeen | None:
    """Return a published file, taken to hold what its name says."""
    seen = image_files.see_file(pool.master_file(digest), subject)
    if seen is None:
        return None
    return PublishedSeen(seen, image_files.read_header(seen.path, f"{subject} ({seen.path})").virtual_bytes)


def find_shared(request: MasterRequest) -> tuple[str, ...]:
    """Return the digests of all files that other masters of the pool have."""
    origins = volumes.list_origins(request.pool.path)
    others = [stored for name, stored in origins.items() if name != request.name]
    return tuple({str(part.get("digest")): None for stored in others for part in stored.get("volumes") or [stored]})

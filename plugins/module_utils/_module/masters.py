# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``master``: images made read-only files of the library. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import typing as t

from .._core.errors import Conflict, EncompassError, InvalidRequest, MasterChanged
from .._core.library import (
    forget_broken_import,
    known_digests,
    list_origins,
    plan_master,
    plan_master_removal,
    removed_digests,
    report_master,
)
from .._core.library_types import (
    HardwareWishes,
    HashRequest,
    ImportVolumes,
    MasterRequest,
    MasterSeen,
    MasterVolume,
    MasterVolumeSeen,
    NoteOrigin,
    Origin,
    PublishedSeen,
    RemoveMaster,
    SourceSeen,
    VolumeImport,
    VolumeOrigin,
)
from .._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
    check_object_name,
    check_pool_path,
)
from .._core.sources import PACKAGE_FORMAT, WebAccess, check_source, is_url, refuse_file, show_source
from .._core.steps import Step
from .._drivers import guestfs, image_files, volumes
from .importing import import_image, parse_limits, parse_signature, read_source_header
from .inspecting import inspect_image
from .parallel import perform_each
from .publishing import (
    find_shared,
    publish_volumes,
    read_origin,
    remove_leftovers,
    see_published,
    withdraw_volumes,
    write_origin,
)
from .requests import collect_by_name
from .runner import Job

KIND = "master"


class HashVerb:
    """Tell the SHA-256 of images; an image that was imported before, and looks as it did then, is not read again."""

    lock_kind = KIND

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def observe(self, items: t.Mapping[str, HashRequest]) -> dict[str, str | EncompassError | None]:
        """Return the SHA-256 of each image, None for one that is not there."""
        seen: dict[str, str | EncompassError | None] = {}
        for name, request in items.items():
            try:
                seen[name] = self._hash(request, f"image {name}")
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def _hash(self, request: HashRequest, subject: str) -> str | None:
        seen = image_files.see_file(request.name, subject)
        if seen is None:
            return None
        for origin in volumes.list_origins(request.pool.path).values():
            for part in origin.get("volumes") or [origin]:
                if (part.get("path"), part.get("fingerprint")) == (seen.path, seen.fingerprint):
                    return str(part["sha256"])
        digest = image_files.hash_file(seen.path, subject, timeout_s=self._timeout_s)
        _require_unchanged(seen, subject)
        return digest

    def plan(self, item: HashRequest, seen: str | None) -> list[Step]:
        """Return no steps: this only looks."""
        return []

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do nothing."""
        return {}

    def report(self, item: HashRequest, seen: str | None, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the digest."""
        return {"sha256": seen}

    def diff(self, item: HashRequest, seen: str | None, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return that nothing changes."""
        return seen, seen


class MasterVerb:
    """Publish or delete masters."""

    lock_kind = KIND

    def __init__(
        self, requests: t.Mapping[str, MasterRequest], *, present: bool, workers: int, timeout_s: float
    ) -> None:
        self._requests = requests
        self._present = present
        self._workers = workers
        self._timeout_s = timeout_s
        self._digests: dict[str, str] = {}

    def plan(self, item: MasterRequest, seen: MasterSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_master(item, seen) if self._present else plan_master_removal(item, seen)

    def report(self, item: MasterRequest, seen: MasterSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the master's record; that of a deleted master is empty."""
        return report_master(item, seen) if self._present else {}

    def diff(self, item: MasterRequest, seen: MasterSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the master's published files and origin before, its record after."""
        origin = seen.origin.to_json() if seen.origin else None
        published = [dataclasses.asdict(volume.published) for volume in seen.volumes if volume.published]
        return {"published": published, "origin": origin}, self.report(item, seen, steps)

    # Observation

    def observe(self, items: t.Mapping[str, MasterRequest]) -> dict[str, MasterSeen | EncompassError]:
        """Return what is there of each master."""
        seen: dict[str, MasterSeen | EncompassError] = {}
        for name, request in items.items():
            try:
                seen[name] = self._see_master(request, f"{KIND} {name}")
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def _see_master(self, request: MasterRequest, subject: str) -> MasterSeen:
        volumes.require_layout(request.pool.path, subject)
        pool, origin = request.pool, read_origin(request, subject)
        look = self._see_volumes if self._present else self._see_files
        seen = MasterSeen(
            volumes=look(request, origin, subject),
            origin=origin,
            free_bytes=volumes.count_free_bytes(pool.path, subject),
            leftovers=tuple(volumes.find_leftovers(pool.path, KIND).get(request.name, ())),
            shared=find_shared(request),
        )
        if self._present:
            return forget_broken_import(request, seen)
        digests = removed_digests(request, origin)
        own = [pool.master_file(digest) for digest in digests if digest not in seen.shared]
        return dataclasses.replace(seen, clones=_find_overlays(pool.path, own, subject) if own else ())

    def _see_files(self, request: MasterRequest, origin: Origin | None, subject: str) -> tuple[MasterVolumeSeen, ...]:
        """Look at the files that go with the master, whatever they hold."""
        digests = removed_digests(request, origin)
        return tuple(MasterVolumeSeen(see_published(request.pool, digest, subject)) for digest in digests)

    def _see_volumes(self, request: MasterRequest, origin: Origin | None, subject: str) -> tuple[MasterVolumeSeen, ...]:
        """Look at the master's volumes, and at the images that they come of."""
        digests, made = known_digests(request, origin), list_origins(request, origin)
        files = [
            self._see_file(request.pool, digest, registered=volume.fingerprint, made=one, subject=subject)
            for volume, digest, one in zip(request.volumes, digests, made)
        ]
        # Where one is missing, what is there may have to be made again too.
        wanted = None in files
        return tuple(
            MasterVolumeSeen(file, self._see_source(request, volume, one, wanted=wanted))
            for volume, one, file in zip(request.volumes, made, files)
        )

    def _see_file(
        self, pool: Pool, digest: str, *, registered: str, made: VolumeOrigin | None, subject: str
    ) -> PublishedSeen | None:
        """Look at a published file; it is read when it does not look as it did when it was registered."""
        seen = see_published(pool, digest, subject) if digest else None
        if seen is None:
            return None
        trusted = registered or (made.published_fingerprint if made and made.digest == digest else "")
        is_trusted = seen.file.fingerprint == trusted
        return seen if is_trusted else dataclasses.replace(seen, digest=self._hash(seen.file, subject))

    def _see_source(
        self, request: MasterRequest, volume: MasterVolume, made: VolumeOrigin | None, *, wanted: bool
    ) -> SourceSeen | None:
        """Look at the source; it is read only when it is to be imported and may be, or is not as it was when it was.

        What a URL answers is known by its digest alone, until it is fetched.
        """
        subject = f"{KIND} {request.name}"
        if is_url(volume.source):
            return SourceSeen(FileSeen(show_source(volume.source), "", 0, 0), None, volume.sha256)
        seen = image_files.see_file(volume.source, subject) if volume.source else None
        if seen is None:
            return None
        header = read_source_header(seen.path, volume) if wanted else None
        if made is not None and made.fingerprint == seen.fingerprint:
            return SourceSeen(seen, header, made.sha256)
        if header is not None:
            refuse_file(header, volume.format, request.limits, file=seen)
        is_compared = made is not None and made.sha256
        return SourceSeen(seen, header, self._hash(seen, subject) if wanted or is_compared else "")

    def _hash(self, seen: FileSeen, subject: str) -> str:
        key = f"{seen.path} {seen.fingerprint}"
        if key not in self._digests:
            self._digests[key] = image_files.hash_file(seen.path, subject, timeout_s=self._timeout_s)
            _require_unchanged(seen, subject)
        return self._digests[key]

    # Work

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Publish or delete the masters, several at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, name: str, step: Step) -> None:
        request, subject = self._requests[name], f"{KIND} {name}"
        if isinstance(step, RemoveLeftovers):
            remove_leftovers(request, step.paths, subject)
        elif isinstance(step, RemoveMaster):
            withdraw_volumes(request, step.digests, subject)
        else:
            with volumes.staged_directory(request.pool.path, KIND, name, subject) as staged:
                if isinstance(step, ImportVolumes):
                    self._import_volumes(request, step, staged, subject)
                elif isinstance(step, NoteOrigin):
                    kept = self._describe_kept(request, (), subject)
                    publish_volumes(request, Origin(tuple(kept.values())), {}, staged, subject=subject)
                else:
                    self._inspect(request, staged, subject)

    def _import_volumes(self, request: MasterRequest, step: ImportVolumes, staged: pathlib.Path, subject: str) -> None:
        """Convert what is missing, refuse other bytes than those that are registered, then publish all together."""
        for one in step.imports:
            import_image(request, one, staged / f"{one.volume}.qcow2", subject=subject, timeout_s=self._timeout_s)
        made = {one.volume: _describe_import(one, staged / f"{one.volume}.qcow2", subject) for one in step.imports}
        kept = self._describe_kept(request, made, subject)
        origin = Origin(tuple(made.get(volume.name) or kept[volume.name] for volume in request.volumes))
        publish_volumes(request, origin, {name: staged / f"{name}.qcow2" for name in made}, staged, subject=subject)

    def _describe_kept(self, request: MasterRequest, made: t.Collection[str], subject: str) -> dict[str, VolumeOrigin]:
        """Return the origins of the volumes that are published already, as far as they are known."""
        origin = read_origin(request, subject)
        digests = known_digests(request, origin)
        return {
            volume.name: one
            if one and one.digest == digest
            else VolumeOrigin(
                digest, "", show_source(volume.source), volume.format, volume.sha256, "", volume.name, volume.disk
            )
            for volume, one, digest in zip(request.volumes, list_origins(request, origin), digests)
            if volume.name not in made
        }

    def _inspect(self, request: MasterRequest, staged: pathlib.Path, subject: str) -> None:
        origin = read_origin(request, subject)
        files = [request.pool.master_file(digest) for digest in origin.digests] if origin else []
        if origin is None or not all(image_files.see_file(path, subject) for path in files):
            raise Conflict(subject, "it was deleted before it could be inspected", remedy="Run again.")
        others = [guestfs.Image(path, "qcow2") for path in files[1:]]
        told = inspect_image(files[0], "qcow2", self._timeout_s, others=others)
        write_origin(request, dataclasses.replace(origin, inspection=told, complete=True), staged, subject)


def _describe_import(one: VolumeImport, path: pathlib.Path, subject: str) -> VolumeOrigin:
    digest = image_files.hash_file(str(path), subject)
    if one.expected_digest not in ("", digest):
        raise MasterChanged(
            subject,
            f"importing {one.source.path} again gave {digest}, registered is {one.expected_digest}",
            remedy="Give the image that the master was made of, or import this one as a new version.",
        )
    source = one.source
    return VolumeOrigin(digest, "", source.path, one.format, one.sha256, source.fingerprint, one.volume, one.disk)


def _require_unchanged(seen: FileSeen, subject: str) -> None:
    now = image_files.see_file(seen.path, subject)
    if now is None or now.fingerprint != seen.fingerprint:
        raise Conflict(
            subject,
            f"{seen.path} changed while it was being read",
            remedy="Wait until nothing writes to it any more and run again.",
        )


def _find_overlays(pool: str, paths: t.Collection[str], subject: str) -> tuple[str, ...]:
    """Return what in the pool has one of these files below it: clones by name, other files by path."""
    found: dict[str, None] = {}
    bases = {os.path.normpath(path) for path in paths}
    for file in volumes.list_foreign_files(pool, subject):
        backing = image_files.read_header(str(file), f"{subject} ({file})").backing_file
        if backing and os.path.normpath(file.parent / backing) in bases:
            clone = file.parent.name if file.parent.parent == pathlib.Path(pool, "clones") else str(file)
            found[clone] = None
    return tuple(found)


@contextlib.contextmanager
def open_masters(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    state = params["state"]
    if state == "hashed":
        images = collect_by_name("image", [_parse_image(entry) for entry in params["masters"]])
        yield Job(HashVerb(timeout_s=params["timeout_s"]), images)
        return
    if state not in ("present", "absent"):
        raise InvalidRequest("option state", f"{state} is a matter of the catalog, not of a provider")
    requests = collect_by_name(KIND, [_parse_master(entry) for entry in params["masters"]])
    verb = MasterVerb(requests, present=state == "present", workers=params["workers"], timeout_s=params["timeout_s"])
    yield Job(verb, requests, presume=_presume_unused) if params["when_unused"] else Job(verb, requests)


def _presume_unused(_item: MasterRequest, seen: MasterSeen) -> MasterSeen:
    """Return what is seen once the clones are gone that the catalog has no more, and that are only planned to go."""
    return dataclasses.replace(seen, clones=())


def _parse_image(entry: t.Mapping[str, t.Any]) -> HashRequest:
    subject, source = f"{KIND} of {entry['function']}", entry["source"] or ""
    check_source(subject, source, "")
    check_pool_path(subject, entry["pool_path"] or "")
    return HashRequest(source, Pool(entry["pool_path"].rstrip("/")))


def _parse_master(entry: t.Mapping[str, t.Any]) -> MasterRequest:
    name = f"{entry['function']}-v{entry['version']}"
    subject = f"{KIND} {name}"
    if not entry["version"] or entry["version"] < 1:
        raise InvalidRequest(f"{KIND} of {entry['function']}", f"its version is {entry['version']}, not 1 or more")
    if entry["name"] not in (None, name):
        raise InvalidRequest(subject, f"it cannot have the name {entry['name']}")
    check_object_name(subject, name)
    check_pool_path(subject, entry["pool_path"] or "")
    hardware = {field.name: entry[field.name] for field in dataclasses.fields(HardwareWishes) if entry[field.name]}
    return MasterRequest(
        name,
        Pool(entry["pool_path"].rstrip("/")),
        _parse_volumes(subject, entry),
        hardware=HardwareWishes(**hardware),
        inspect=entry["inspect"],
        limits=parse_limits(entry),
        web=WebAccess(entry["allow_private"], entry["ca_path"] or ""),
    )


def _parse_volumes(subject: str, entry: t.Mapping[str, t.Any]) -> tuple[MasterVolume, ...]:
    """Return the volumes that are listed, else the one that the master itself tells of."""
    if entry["volumes"] and entry["source"]:
        raise InvalidRequest(subject, "both source and volumes are given", remedy="List all images as volumes.")
    found = tuple(_parse_volume(subject, one) for one in entry["volumes"] or [{**entry, "name": entry["volume"]}])
    if len({volume.name for volume in found}) < len(found):
        raise InvalidRequest(subject, "two of its volumes have the same name", remedy="Rename one.")
    return found


def _parse_volume(subject: str, entry: t.Mapping[str, t.Any]) -> MasterVolume:
    check_object_name(subject, entry["name"])
    source, sha256 = entry["source"] or "", (entry["sha256"] or "").lower()
    check_source(subject, source, sha256)
    if source and not entry["format"]:
        raise InvalidRequest(
            subject, "the format of its source is not given", remedy="Give format; it is never guessed."
        )
    disk = entry["disk"] or 0
    if disk < 0 or (disk and entry["format"] != PACKAGE_FORMAT):
        raise InvalidRequest(subject, f"disk {disk} of its source is asked for, which is {entry['format']}")
    given = {key: entry[key] or "" for key in ("name", "source", "format", "digest", "fingerprint")}
    return MasterVolume(**given, sha256=sha256, disk=disk, signature=parse_signature(subject, entry["signature"]))

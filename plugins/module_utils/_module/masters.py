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

from .._core.errors import Conflict, EncompassError, InvalidRequest, MasterChanged, NoSpace, ToolFailed
from .._core.library import forget_broken_import, known_digest, plan_master, plan_master_removal, report_master
from .._core.library_types import (
    HardwareWishes,
    HashRequest,
    ImportVolume,
    MasterRequest,
    MasterSeen,
    Origin,
    PublishedSeen,
    RemoveMaster,
    SourceSeen,
)
from .._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
    check_object_name,
    check_pool_path,
    explain_full_pool,
    require_room,
)
from .._core.steps import Step
from .._drivers import guestfs, image_files, qemu_img, volumes
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job

KIND = "master"
_MODE_PUBLISHED = 0o444


class HashVerb:
    """Tell the SHA-256 of images; an image that was imported before, and looks as it did then, is not read again."""

    lock_kind = KIND

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
            if (origin.get("path"), origin.get("fingerprint")) == (seen.path, seen.fingerprint):
                return str(origin["sha256"])
        digest = image_files.hash_file(seen.path, subject)
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
        """Return the master's published file and origin before, its record after."""
        origin = seen.origin.to_json() if seen.origin else None
        published = dataclasses.asdict(seen.published) if seen.published else None
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
        pool = request.pool
        origin = read_origin(request, subject)
        seen = MasterSeen(
            published=None,
            origin=origin,
            source=None,
            free_bytes=volumes.count_free_bytes(pool.path, subject),
            leftovers=tuple(volumes.find_leftovers(pool.path, KIND).get(request.name, ())),
        )
        digest = known_digest(request, seen)
        published = self._see_published(request, digest, origin, subject) if digest else None
        if self._present:
            source = self._see_source(request, origin, subject, wanted=published is None)
            seen = dataclasses.replace(seen, published=published, source=source)
            return forget_broken_import(request, seen)
        return dataclasses.replace(
            seen,
            published=published,
            sharers=_find_sharers(request, digest),
            clones=_find_overlays(pool.path, pool.master_file(digest), subject) if published else (),
        )

    def _see_published(
        self, request: MasterRequest, digest: str, origin: Origin | None, subject: str
    ) -> PublishedSeen | None:
        seen = image_files.see_file(request.pool.master_file(digest), subject)
        if seen is None:
            return None
        registered = request.fingerprint
        if not registered and origin is not None and origin.digest == digest:
            registered = origin.published_fingerprint
        trusted = seen.fingerprint == registered or not self._present
        header = image_files.read_header(seen.path, f"{subject} ({seen.path})")
        return PublishedSeen(seen, header.virtual_bytes, None if trusted else self._hash(seen, subject))

    def _see_source(
        self, request: MasterRequest, origin: Origin | None, subject: str, *, wanted: bool
    ) -> SourceSeen | None:
        """Look at the source; it is read only when it is to be imported, or is not as it was when it was."""
        seen = image_files.see_file(request.source, subject) if request.source else None
        if seen is None:
            return None
        header = image_files.read_header(seen.path, f"image {seen.path}") if wanted else None
        if origin is not None and origin.fingerprint == seen.fingerprint:
            return SourceSeen(seen, header, origin.sha256)
        return SourceSeen(seen, header, self._hash(seen, subject) if wanted or origin is not None else "")

    def _hash(self, seen: FileSeen, subject: str) -> str:
        key = f"{seen.path} {seen.fingerprint}"
        if key not in self._digests:
            self._digests[key] = image_files.hash_file(seen.path, subject)
            _require_unchanged(seen, subject)
        return self._digests[key]

    # Work

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Publish or delete the masters, several at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, name: str, step: Step) -> None:
        request, subject = self._requests[name], f"{KIND} {name}"
        volumes.ensure_layout(request.pool.path, subject)
        if isinstance(step, RemoveLeftovers):
            for path in step.paths:
                volumes.remove_tree(path, subject)
        elif isinstance(step, RemoveMaster):
            if not step.keep_file:
                volumes.withdraw_file(request.pool.master_file(step.digest), subject)
            volumes.withdraw_file(request.pool.origin_file(name), subject)
        else:
            with volumes.staged_directory(request.pool.path, KIND, name, subject) as staged:
                if isinstance(step, ImportVolume):
                    self._import_volume(request, step, staged, subject)
                else:
                    self._inspect(request, staged, subject)

    def _import_volume(self, request: MasterRequest, step: ImportVolume, staged: pathlib.Path, subject: str) -> None:
        path = staged / f"{request.volume}.qcow2"
        needed_bytes = qemu_img.measure(step.source.path, step.format, subject=subject)
        free_bytes = volumes.count_free_bytes(request.pool.path, subject)
        require_room(subject, request.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes)
        try:
            qemu_img.convert(step.source.path, step.format, str(path), subject=subject, timeout_s=self._timeout_s)
            volumes.seal_file(path, _MODE_PUBLISHED, subject)
        except NoSpace as exc:
            volumes.remove_tree(path, subject)
            free_bytes = volumes.count_free_bytes(request.pool.path, subject)
            raise explain_full_pool(
                subject, request.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes
            ) from exc
        _require_unchanged(step.source, subject)
        self._publish(request, step, path, subject)

    def _publish(self, request: MasterRequest, step: ImportVolume, path: pathlib.Path, subject: str) -> None:
        """Refuse other bytes than those that are registered, then publish the file."""
        digest = image_files.hash_file(str(path), subject)
        if step.expected_digest not in ("", digest):
            raise MasterChanged(
                subject,
                f"importing {step.source.path} again gave {digest}, registered is {step.expected_digest}",
                remedy="Give the image that the master was made of, or import this one as a new version.",
            )
        origin = Origin(digest, "", step.source.path, step.format, step.sha256, step.source.fingerprint)
        publish_volume(request, path, origin, subject)

    def _inspect(self, request: MasterRequest, staged: pathlib.Path, subject: str) -> None:
        origin = read_origin(request, subject)
        digest = request.digest or (origin.digest if origin else "")
        seen = image_files.see_file(request.pool.master_file(digest), subject)
        if seen is None:
            raise ToolFailed(subject, f"{request.pool.master_file(digest)} is not there to be inspected")
        told = guestfs.inspect_image(seen.path, "qcow2", self._timeout_s)
        if origin is None or origin.digest != digest:
            origin = Origin(digest, seen.fingerprint, request.source, request.format, request.sha256, "")
        write_origin(request, dataclasses.replace(origin, inspection=told), staged, subject)


def _require_unchanged(seen: FileSeen, subject: str) -> None:
    now = image_files.see_file(seen.path, subject)
    if now is None or now.fingerprint != seen.fingerprint:
        raise Conflict(
            subject,
            f"{seen.path} changed while it was being read",
            remedy="Wait until nothing writes to it any more and run again.",
        )


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


def publish_volume(request: MasterRequest, path: pathlib.Path, origin: Origin, subject: str) -> None:
    """Write down a finished file's origin, then give the file its name: what has a name has an origin."""
    target = request.pool.master_file(origin.digest)
    made = image_files.see_file(str(path), subject)
    there = image_files.see_file(target, subject)
    if there is not None and image_files.hash_file(target, subject) != origin.digest:
        raise MasterChanged(subject, f"{target} is there, but does not hold what its name says")
    fingerprint = there.fingerprint if there else made.fingerprint if made else ""
    write_origin(request, dataclasses.replace(origin, published_fingerprint=fingerprint), path.parent, subject)
    volumes.publish_file(path, target, subject)


def _find_sharers(request: MasterRequest, digest: str) -> tuple[str, ...]:
    origins = volumes.list_origins(request.pool.path)
    return tuple(name for name, stored in origins.items() if name != request.name and stored.get("digest") == digest)


def _find_overlays(pool: str, path: str, subject: str) -> tuple[str, ...]:
    """Return what in the pool has this file below it: clones by their names, other files by their paths."""
    found: dict[str, None] = {}
    for file in volumes.list_foreign_files(pool, subject):
        backing = image_files.read_header(str(file), f"{subject} ({file})").backing_file
        if backing and os.path.normpath(file.parent / backing) == os.path.normpath(path):
            clone = file.parent.name if file.parent.parent == pathlib.Path(pool, "clones") else str(file)
            found[clone] = None
    return tuple(found)


@contextlib.contextmanager
def open_masters(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    state = params["state"]
    if state == "hashed":
        yield Job(HashVerb(), collect_by_name("image", [_parse_image(entry) for entry in params["masters"]]))
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
    if not source.startswith("/"):
        raise InvalidRequest(subject, f"the path {source!r} of its source is not absolute")
    check_pool_path(subject, entry["pool_path"] or "")
    return HashRequest(source, Pool(entry["pool_path"].rstrip("/")))


def _parse_master(entry: t.Mapping[str, t.Any]) -> MasterRequest:
    name = f"{entry['function']}-v{entry['version']}"
    subject, source = f"{KIND} {name}", entry["source"] or ""
    if not entry["version"] or entry["version"] < 1:
        raise InvalidRequest(f"{KIND} of {entry['function']}", f"its version is {entry['version']}, not 1 or more")
    if entry["name"] not in (None, name):
        raise InvalidRequest(subject, f"it cannot have the name {entry['name']}")
    for part in (name, entry["volume"]):
        check_object_name(subject, part)
    check_pool_path(subject, entry["pool_path"] or "")
    if source and not source.startswith("/"):
        raise InvalidRequest(subject, f"the path {source!r} of its source is not absolute")
    if source and not entry["format"]:
        raise InvalidRequest(
            subject, "the format of its source is not given", remedy="Give format; it is never guessed."
        )
    hardware = {field.name: entry[field.name] for field in dataclasses.fields(HardwareWishes) if entry[field.name]}
    return MasterRequest(
        name,
        Pool(entry["pool_path"].rstrip("/")),
        source,
        entry["format"] or "",
        volume=entry["volume"],
        sha256=(entry["sha256"] or "").lower(),
        hardware=HardwareWishes(**hardware),
        inspect=entry["inspect"],
        digest=entry["digest"] or "",
        fingerprint=entry["fingerprint"] or "",
    )

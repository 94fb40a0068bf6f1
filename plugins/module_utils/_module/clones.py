# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``clone``: volumes of their own for each clone. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import threading
import typing as t

from .._core.clone_types import (
    Base,
    BaseSeen,
    CloneRequest,
    CloneSeen,
    CopyVolume,
    CreateOverlay,
    PublishClone,
    RemoveClone,
    VolumeRequest,
    VolumeSeen,
)
from .._core.cloning import plan_clone, plan_removal, presume_clone, report_clone, share_room
from .._core.errors import EncompassError, InvalidRequest, MasterChanged, NoSpace, NotFound, ToolFailed
from .._core.pool_layout import (
    MAX_CHAIN_DEPTH,
    Pool,
    RemoveLeftovers,
    check_object_name,
    check_pool_path,
    explain_full_pool,
)
from .._core.steps import Step
from .._drivers import image_files, qemu_img, volumes
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job

KIND = "clone"


class CloneVerb:
    """Make or delete clones."""

    lock_kind = KIND

    def __init__(
        self, requests: t.Mapping[str, CloneRequest], *, present: bool, workers: int, timeout_s: float
    ) -> None:
        self._requests = requests
        self._present = present
        self._workers = workers
        self._timeout_s = timeout_s
        self._digests: dict[str, str] = {}
        self._press = OverlayPress()

    def observe(self, items: t.Mapping[str, CloneRequest]) -> dict[str, CloneSeen | EncompassError]:
        """Return what is there of each clone, and how much room the clones before it leave it."""
        look = _Look(self._digests, with_locks=not self._present)
        seen: dict[str, CloneSeen | None] = {}
        errors: dict[str, EncompassError] = {}
        for name, request in items.items():
            try:
                seen[name] = look.see_clone(request)
            except EncompassError as exc:
                seen[name], errors[name] = None, exc
        found = {name: clone for name, clone in share_room(items, seen).items() if clone is not None}
        return {**found, **errors}

    def plan(self, item: CloneRequest, seen: CloneSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_clone(item, seen) if self._present else plan_removal(item, seen)

    def report(self, item: CloneRequest, seen: CloneSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the clone's record; that of a deleted clone is empty."""
        return report_clone(item, seen) if self._present else {}

    def diff(self, item: CloneRequest, seen: CloneSeen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the clone's volumes before and after."""
        before = {name: dataclasses.asdict(volume) for name, volume in seen.volumes.items()}
        after = {volume["path"]: volume for volume in self.report(item, seen, steps).get("volumes", ())}
        return {"volumes": before}, {"volumes": after}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Make or delete the clones, several at a time, and have their names on the disk."""
        failures: dict[str, EncompassError | None] = {}
        pools = {self._requests[name].pool.path for name in plans}
        for pool in sorted(pools):
            mine = {name: steps for name, steps in plans.items() if self._requests[name].pool.path == pool}
            try:
                failures.update(perform_each(mine, self._perform_step, workers=self._workers))
                volumes.flush(f"{pool}/clones", f"pool {pool}")
            except EncompassError as exc:
                failures.update({name: failures.get(name) or exc for name in mine})
        return failures

    def _perform_step(self, name: str, step: Step) -> None:
        """Do one step; a clone that fails leaves nothing staged."""
        request, staged = self._requests[name], volumes.stage_path(self._requests[name].pool.path, KIND, name)
        subject = f"clone {name}"
        try:
            if isinstance(step, RemoveLeftovers):
                for path in step.paths:
                    volumes.remove_tree(path, subject)
            elif isinstance(step, RemoveClone):
                volumes.withdraw_directory(step.directory, staged, subject)
            elif isinstance(step, PublishClone):
                volumes.publish_directory(staged, step.directory, subject)
            else:
                self._make_volume(staged, t.cast("CreateOverlay | CopyVolume", step), subject)
        except EncompassError as exc:
            with contextlib.suppress(EncompassError):
                volumes.remove_tree(staged, subject)
            if isinstance(exc, NoSpace):
                raise _explain_full(request, step, subject) from exc
            raise

    def _make_volume(self, staged: pathlib.Path, step: CreateOverlay | CopyVolume, subject: str) -> None:
        if not step.base.digest:
            raise NotFound(subject, "its master is not imported yet", remedy="Run encompass.images.add_master.")
        with volumes.explained(subject, "stage it"):
            staged.mkdir(mode=0o700, exist_ok=True)
        path = staged / f"{step.volume}.qcow2"
        if isinstance(step, CreateOverlay):
            self._press.make(step, str(path), subject)
        else:
            self._copy(step, str(path), subject)
        base = image_files.see_file(step.base.path, subject)
        if base is None or base.fingerprint != step.base.fingerprint:
            raise MasterChanged(subject, f"{step.base.path} changed while it was being cloned")
        volumes.seal_file(path, 0o600, subject)

    def _copy(self, step: CopyVolume, path: str, subject: str) -> None:
        base = step.base
        if step.reflink:
            image_files.share_blocks(base.path, path, subject)
        else:
            qemu_img.convert(base.path, base.format, path, subject=subject, timeout_s=self._timeout_s)
            qemu_img.compare(path, base.path, other_format=base.format, subject=subject, timeout_s=self._timeout_s)
        if step.grow:
            qemu_img.resize(path, step.virtual_bytes, subject=subject)


class OverlayPress:
    """Makes overlays of one kind: the first by qemu-img, the others from its bytes.

    An overlay that holds nothing yet is the same file for every clone of a master.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._imprints: dict[tuple[Base, int], image_files.Imprint] = {}

    def make(self, step: CreateOverlay, path: str, subject: str) -> None:
        """Make one overlay."""
        key = (step.base, step.virtual_bytes)
        with self._lock:
            imprint = self._imprints.get(key)
            if imprint is None:
                qemu_img.create_overlay(
                    path,
                    step.base.path,
                    base_format=step.base.format,
                    virtual_bytes=step.virtual_bytes,
                    subject=subject,
                )
                self._imprints[key] = image_files.read_imprint(path, subject)
                return
        image_files.write_imprint(imprint, path, subject)


class _Look:
    """One look at a batch of clones; what they have in common is looked at once.

    ``digests`` (by path and fingerprint) outlives the look: a master that has to be read again is read once.
    """

    def __init__(self, digests: dict[str, str], *, with_locks: bool) -> None:
        self._digests = digests
        self._with_locks = with_locks
        self._bases: dict[Base, BaseSeen | None] = {}
        self._free: dict[str, int] = {}
        self._leftovers: dict[str, dict[str, list[str]]] = {}

    def see_clone(self, request: CloneRequest) -> CloneSeen:
        """Return what is there of one clone."""
        subject, pool = f"clone {request.name}", request.pool.path
        if pool not in self._free:
            volumes.require_layout(pool, subject)
            self._free[pool] = volumes.count_free_bytes(pool, subject)
            self._leftovers[pool] = volumes.find_leftovers(pool, KIND)
        paths = volumes.list_volumes(request.directory, subject)
        return CloneSeen(
            exists=paths is not None,
            volumes={name: self._see_volume(path, subject) for name, path in (paths or {}).items()},
            bases={volume.name: self._see_base(volume.base, subject) for volume in request.volumes},
            free_bytes=self._free[pool],
            leftovers=tuple(self._leftovers[pool].get(request.name, ())),
        )

    def _see_volume(self, path: str, subject: str) -> VolumeSeen:
        seen = image_files.see_file(path, subject)
        if seen is None:
            raise ToolFailed(subject, f"{path} vanished while it was looked at")
        header = image_files.read_header(path, f"{subject} ({path})")
        return VolumeSeen(
            header.format,
            header.virtual_bytes,
            seen.allocated_bytes,
            backing_path=header.backing_file,
            backing_format=header.backing_format,
            in_use=self._with_locks and image_files.is_open_in_qemu(path, subject),
        )

    def _see_base(self, base: Base, subject: str) -> BaseSeen | None:
        if base not in self._bases:
            self._bases[base] = self._look_at_base(base, subject)
        return self._bases[base]

    def _look_at_base(self, base: Base, subject: str) -> BaseSeen | None:
        seen = image_files.see_file(base.path, subject) if base.path else None
        if seen is None:
            return None
        digest = base.digest
        if base.digest and seen.fingerprint != base.fingerprint:
            digest = self._hash(seen.path, seen.fingerprint, subject)
        header = image_files.read_header(base.path, f"{subject} ({base.path})")
        return BaseSeen(seen, digest, header.format, header.virtual_bytes, _count_chain(base.path, subject))

    def _hash(self, path: str, fingerprint: str, subject: str) -> str:
        key = f"{path} {fingerprint}"
        if key not in self._digests:
            self._digests[key] = image_files.hash_file(path, subject)
        return self._digests[key]


def _count_chain(path: str, subject: str) -> int:
    """Return how many files a volume consists of; more than the limit are not counted."""
    depth, at = 1, path
    while depth <= MAX_CHAIN_DEPTH:
        header = image_files.read_header(at, f"{subject} ({at})")
        if not header.backing_file:
            break
        at = str(pathlib.Path(at).parent / header.backing_file)
        depth += 1
    return depth


def _explain_full(request: CloneRequest, step: Step, subject: str) -> NoSpace:
    needed_bytes = step.estimated_bytes if isinstance(step, (CreateOverlay, CopyVolume)) else 0
    free_bytes = volumes.count_free_bytes(request.pool.path, subject)
    return explain_full_pool(subject, request.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes)


@contextlib.contextmanager
def open_clones(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    present = params["state"] == "present"
    requests = collect_by_name(KIND, [_parse_clone(entry, present=present) for entry in params["clones"]])
    verb = CloneVerb(requests, present=present, workers=params["workers"], timeout_s=params["timeout_s"])
    yield Job(verb, requests, presume_clone)


def _parse_clone(entry: t.Mapping[str, t.Any], *, present: bool) -> CloneRequest:
    subject = f"clone {entry['name']}"
    volume_entries = entry["volumes"] or ()
    for name in (entry["name"], *(volume["name"] for volume in volume_entries)):
        check_object_name(subject, name)
    check_pool_path(subject, entry["pool_path"] or "")
    request = CloneRequest(
        entry["name"],
        entry["master"] or "",
        Pool(entry["pool_path"].rstrip("/")),
        tuple(_parse_volume(volume) for volume in volume_entries),
        method=entry["method"],
        reflink=entry["reflink"],
        stage=entry.get("stage") or "",
    )
    if entry["directory"] not in (None, request.directory):
        raise InvalidRequest(subject, f"its directory is {request.directory}, not {entry['directory']}")
    if present and not request.volumes:
        raise InvalidRequest(subject, "no volumes are given for it", remedy="Give volumes, or use the catalog.")
    return request


def _parse_volume(entry: t.Mapping[str, t.Any]) -> VolumeRequest:
    base = entry["base"]
    return VolumeRequest(
        entry["name"],
        Base(base["path"] or "", base["format"], base["digest"] or "", base["fingerprint"] or ""),
        entry["format"],
        entry["virtual_bytes"] or 0,
        entry["allocated_bytes"] or 0,
    )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``customize``: clones made servers of their own, offline. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from .._core.customization import (
    GUEST_STEPS,
    ApplyItem,
    CloneRequest,
    Mount,
    RemoveSeed,
    Seen,
    SetIdentity,
    UndoItem,
    Volume,
    WriteSeed,
    plan_customization,
    predict_journal,
    report_customization,
)
from .._core.customization_items import KERNEL, WITH_CONTENT, Item, Seed, parse_item
from .._core.errors import Conflict, EncompassError, NotFound
from .._core.guest_files import show_content
from .._core.inspection import is_batchable
from .._core.pool_layout import check_object_name, require_room
from .._core.steps import Step
from .._drivers import guestfs, image_files, qemu_img, seed_disk, ssh_keygen, volumes
from .._drivers.guest_files import GuestFiles
from .._drivers.private_files import private_directory
from .._drivers.undo import UndoStore
from .._drivers.watched import Work, run_batches
from .guest_customizing import IDENTITY, GuestCustomizing
from .requests import collect_by_name

KIND = "clone"
MOST_DISKS = 24
"""Disks in one appliance: each adds about 0.3 s to its start."""

# Starting a second appliance costs as much as a few clones in one that is there already.
_WORTH_AN_APPLIANCE = 8

# What libguestfs started for a run that was killed ends by itself within seconds; until then it holds the volumes.
_RELEASE_S = 15.0

# Room that one customization may take in the pool, beside the contents of its files: blocks of the file system's
# metadata in the volume, the undo data.
_OVERHEAD_BYTES = 8 << 20

# For an item that has initrds made anew: the old ones beside the clone, the new ones in it.
_INITRD_BYTES = 256 << 20


class CustomizeVerb:
    """Customize clones, or take their customization back."""

    lock_kind = KIND

    def __init__(self, *, workers: int, timeout_s: float, virt_type: str | None) -> None:
        self._lanes = max(1, min(workers, os.cpu_count() or 1))
        self._timeout_s = timeout_s
        self._virt_type = virt_type
        self._requests: t.Mapping[str, CloneRequest] = {}
        self._diffs: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {}

    def observe(self, items: t.Mapping[str, CloneRequest]) -> dict[str, Seen | EncompassError]:
        """Return what the undo journals beside the clones say; no clone is opened."""
        self._requests = items
        seen: dict[str, Seen | EncompassError] = {}
        for name, request in items.items():
            try:
                seen[name] = _see_clone(request)
            except EncompassError as exc:
                seen[name] = exc
        return seen

    def plan(self, item: CloneRequest, seen: Seen) -> t.Sequence[Step]:
        """Return the steps that are left to do."""
        return plan_customization(item, seen)

    def report(self, item: CloneRequest, seen: Seen, steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the clone's record as it is after the steps."""
        return report_customization(item, predict_journal(item, seen, steps))

    def diff(self, item: CloneRequest, seen: Seen, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the changed files by path: what the items say of them, until the clone was opened and tells."""
        before, after = self._diffs.setdefault(item.name, ({}, {}))
        before.clear()
        after.clear()
        after.update(preview_steps(steps))
        return before, after

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Open each clone that has something to be done inside, many at a time; then write the NoCloud disks."""
        failures: dict[str, EncompassError | None] = {name: self._check_room(plans) for name in plans}
        failures.update({name: self._check_place(name) for name in plans if failures[name] is None})
        inside = [
            name
            for name, steps in plans.items()
            if failures[name] is None and any(isinstance(step, GUEST_STEPS) for step in steps)
        ]
        results = self._open_clones(inside, plans)
        for name, result in results.items():
            if isinstance(result, EncompassError):
                failures[name] = result
            else:
                self._complete_diff(name, *result)
        for name, steps in plans.items():
            if failures[name] is None:
                failures[name] = self._handle_seed(name, steps)
        return failures

    def _open_clones(self, names: t.Sequence[str], plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, t.Any]:
        def serve(batch: t.Sequence[str], run: t.Callable[[str, Work], bool]) -> None:
            disks = {name: self._requests[name].volumes for name in batch}
            subject = "the appliance of " + ", ".join(batch)
            with guestfs.open_appliance(disks, virt_type=self._virt_type, subject=subject) as appliance:
                for name in batch:
                    run(name, lambda name: self._customize(appliance, name, plans[name]))
                    if not appliance.is_alive:
                        return  # the parent starts another one for the rest

        alone = [name for name in names if may_run_guest_code(self._requests[name], plans[name])]
        pools = {self._requests[name].directory.rpartition("/")[0] for name in names}
        batches = choose_batches([self._requests[name] for name in names], lanes=self._lanes, alone=alone)
        return run_batches(
            batches,
            serve,
            diagnose=self._find_culprits,
            describe=lambda name: f"{KIND} {name}",
            lanes=self._lanes,
            timeout_s=self._timeout_s,
            find_full=lambda: volumes.find_full(pools),
        )

    def _customize(
        self, appliance: guestfs.Appliance, name: str, steps: t.Sequence[Step]
    ) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """Do one clone's steps inside it; return its changed files before and after."""
        request = self._requests[name]
        subject, mounts = request.subject, request.mounts
        with private_directory() as directory:
            work = GuestCustomizing(
                request,
                steps,
                UndoStore(request.directory, subject),
                lambda kind: ssh_keygen.make_host_key(
                    kind, directory, comment=f"root@{request.hostname}", subject=subject
                ),
            )
            with appliance.mounted(name, mounts, subject=subject) as handle:
                work.write(GuestFiles(handle, subject))
            with appliance.mounted(name, mounts, subject=subject, read_only=True) as handle:
                work.verify(GuestFiles(handle, subject))
        for volume in request.volumes:
            volumes.flush(volume.path, subject)
        work.finish()
        return work.describe_changes()

    def _complete_diff(self, name: str, before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
        """Replace, in the diff that was handed out, what was only foreseen by what was there and is now."""
        shown_before, shown_after = self._diffs.setdefault(name, ({}, {}))
        shown_after.clear()
        shown_before.update(before)
        shown_after.update(after)

    def _find_culprits(self, names: t.Sequence[str], _reason: str) -> dict[str, EncompassError] | None:
        """Tell which clones keep an appliance from starting; None when it is none of them."""
        culprits: dict[str, EncompassError] = {}
        deadline, has_waited = time.monotonic() + _RELEASE_S, False
        for name in names:
            request = self._requests[name]
            try:
                for volume in request.volumes:
                    has_waited |= _wait_until_free(volume, request.subject, deadline)
                    qemu_img.measure(volume.path, volume.format, subject=request.subject)
            except EncompassError as exc:
                culprits[name] = exc
        return culprits if culprits or has_waited else None

    def _check_place(self, name: str) -> EncompassError | None:
        request = self._requests[name]
        for volume in request.volumes:
            if not os.access(volume.path, os.F_OK):
                return NotFound(request.subject, f"its volume {volume.path} is not there", remedy="Make it first.")
        return None

    def _check_room(self, plans: t.Mapping[str, t.Sequence[Step]]) -> EncompassError | None:
        """Refuse to begin in a pool without room: a guest whose disk cannot grow stands still, for ever."""
        needed: dict[str, int] = {}
        for name, steps in plans.items():
            pool = self._requests[name].directory.rpartition("/")[0]
            applied = [step.item for step in steps if isinstance(step, ApplyItem)]
            contents = sum(2 * len(item.content) + _INITRD_BYTES * _makes_initrd(item) for item in applied)
            needed[pool] = needed.get(pool, 0) + _OVERHEAD_BYTES + contents
        for pool, needed_bytes in needed.items():
            try:
                free_bytes = volumes.count_free_bytes(pool, f"pool {pool}")
                require_room(f"pool {pool}", pool, needed_bytes=needed_bytes, free_bytes=free_bytes)
            except EncompassError as exc:
                return exc
        return None

    def _handle_seed(self, name: str, steps: t.Sequence[Step]) -> EncompassError | None:
        request = self._requests[name]
        try:
            for step in steps:
                if isinstance(step, (WriteSeed, RemoveSeed)):
                    _make_seed(request, request.seed if isinstance(step, WriteSeed) else None)
        except EncompassError as exc:
            return exc
        return None


def _see_clone(request: CloneRequest) -> Seen:
    if not request.directory:
        return Seen()
    journal = UndoStore(request.directory, request.subject).load().journal
    return Seen(journal, seed_disk.has_seed(request.seed_path))


def choose_batches(requests: t.Sequence[CloneRequest], *, lanes: int, alone: t.Collection[str] = ()) -> list[list[str]]:
    """Return which clones share an appliance: as many as it holds, but no lane idle when there is enough to do.

    Clones of one master have the same volume groups and file system ids; where that matters, each gets its own. So do
    those named ``alone``.
    """
    single = [[request.name] for request in requests if request.name in alone or not _may_share(request)]
    together = [request for request in requests if [request.name] not in single]
    disks = sum(len(request.volumes) for request in together)
    count = max(-(-disks // MOST_DISKS), min(lanes, len(together) // _WORTH_AN_APPLIANCE), 1)
    shared = [[request.name for request in together[index::count]] for index in range(count)]
    return [*(batch for batch in shared if batch), *single]


def _may_share(request: CloneRequest) -> bool:
    mounts = [{"device": mount.device, "filesystem": mount.filesystem} for mount in request.mounts]
    return request.batchable and all(is_batchable(mount) for mount in mounts) and len(request.volumes) <= MOST_DISKS


def _makes_initrd(item: Item) -> bool:
    return bool(item.kernel.initrd_modules)


def may_run_guest_code(request: CloneRequest, steps: t.Sequence[Step]) -> bool:
    """Tell whether a program of the guest is run, which could then reach every disk of the appliance."""
    is_undone = any(isinstance(step, UndoItem) for step in steps) and any(map(_makes_initrd, request.items))
    return is_undone or any(isinstance(step, ApplyItem) and _makes_initrd(step.item) for step in steps)


def _wait_until_free(volume: Volume, subject: str, deadline: float) -> bool:
    """Wait for whoever has the volume open; return whether anybody had."""
    has_waited = False
    while image_files.is_open_in_qemu(volume.path, subject):
        has_waited = True
        if time.monotonic() >= deadline:
            raise Conflict(
                subject, f"its volume {volume.path} is in use, by a running guest or a tool", remedy="Stop that first."
            )
        time.sleep(0.2)
    return has_waited


def _make_seed(request: CloneRequest, seed: Seed | None) -> None:
    """Write or delete the NoCloud disk, and record which one is there."""
    store = UndoStore(request.directory, request.subject)
    if seed is None:
        seed_disk.remove_seed(request.seed_path, subject=request.subject)
    else:
        with private_directory() as directory:
            seed_disk.write_seed(request.seed_path, seed.files, directory, subject=request.subject)
    kept = store.load()
    journal = dataclasses.replace(kept.journal, seed_digest=seed.digest if seed else None)
    store.replace(dataclasses.replace(kept, journal=journal))


def preview_steps(steps: t.Sequence[Step]) -> dict[str, t.Any]:
    """Return what is known of the changes before a clone is opened, by item and path."""
    preview: dict[str, t.Any] = {}
    for step in steps:
        if isinstance(step, ApplyItem):
            preview[step.item.name] = {step.item.path or f"({step.item.type})": _preview_item(step.item)}
        elif isinstance(step, SetIdentity):
            preview[IDENTITY] = {"hostname": step.hostname, "machine_id": step.machine_id}
        elif isinstance(step, UndoItem):
            preview.setdefault(step.name, {})
    return preview


def _preview_item(item: Item) -> dict[str, t.Any]:
    if item.pattern:
        return {"pattern": item.pattern, "replacement": "(secret)" if item.secret else item.replacement}
    if item.type in WITH_CONTENT:
        return {"content": show_content(item.content.encode(), secret=item.secret)}
    if item.type == KERNEL:
        return dataclasses.asdict(item.kernel)
    fields = ("target", "recursive", "service", "state", "uid", "gid")
    shown = {name: getattr(item, name) for name in fields if getattr(item, name)}
    return {**shown, **({} if item.mode is None else {"mode": f"{item.mode:04o}"})}


def parse_clone(
    params: t.Mapping[str, t.Any], *, present: bool, until: str = "", rollback_to: str = ""
) -> CloneRequest:
    """Return one clone's request from the module's parameters."""
    subject = f"{KIND} {params['name']}"
    check_object_name(subject, params["name"])
    disks = tuple(Volume(entry["name"], entry["path"], entry["format"]) for entry in params["volumes"] or ())
    layout = params["layout"] or {}
    mounts = [
        Mount(entry["device"], entry["mountpoint"], entry.get("filesystem") or "")
        for entry in layout.get("mounts") or ()
    ]
    names = [disk.name for disk in disks]
    seed = params["seed"] if present else None
    return CloneRequest(
        name=params["name"],
        present=present,
        directory=params["directory"] or "",
        volumes=disks,
        mounts=tuple(mounts),
        batchable=bool(layout.get("batchable")),
        hostname=params["hostname"] or "",
        machine_id=params["machine_id"] or "",
        items=tuple(parse_item(params["name"], item, names) for item in params["items"] or ()) if present else (),
        seed=Seed(seed["meta_data"] or "", seed["user_data"] or "", seed["network_config"] or "") if seed else None,
        inputs=params["inputs"] or {},
        secrets_given=tuple(params["secrets_given"] or ()),
        until=until,
        rollback_to=rollback_to,
    )


@contextlib.contextmanager
def make_job(params: dict[str, t.Any]) -> t.Iterator[t.Any]:
    """Open the module's job: its parameters, checked and typed."""
    from .runner import Job

    until, rollback_to = params["until"], params["rollback_to"]
    # Back to before the first item is back to the master, identity and all.
    present = params["state"] == "present" and rollback_to != ""
    options = {"until": until or "", "rollback_to": rollback_to or ""} if present else {}
    parsed = [parse_clone(entry, present=present, **options) for entry in params["clones"]]
    requests = collect_by_name(KIND, parsed)
    virt_type = params["virt_type"] if params["virt_type"] != "auto" else None
    yield Job(CustomizeVerb(workers=params["workers"], timeout_s=params["timeout_s"], virt_type=virt_type), requests)

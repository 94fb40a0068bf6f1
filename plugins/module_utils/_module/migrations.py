# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of module ``migrate`` between two providers: send, and move while running. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
import typing as t

from .._core.errors import EncompassError, InvalidRequest, ToolFailed
from .._core.migration import (
    BothSeen,
    DiscardHere,
    ForgetThere,
    HalfSeen,
    MigrateDomain,
    Move,
    Parcel,
    plan_live_migration,
    read_move,
    report_move,
)
from .._core.steps import Step
from .._core.transfer import MANIFEST, FileEntry, Manifest, SendFiles, ShipmentSeen, plan_sending
from .._drivers import image_files, parcels, volumes
from .._drivers.libvirt_migration import MigratingHost, MigrationLimits, open_migrating_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class Peers:
    """Connections to other providers, each made when it is needed; one that cannot be made fails who needs it."""

    def __init__(self, uris: t.Mapping[str, str], *, timeout_s: float) -> None:
        self._uris = uris
        self._timeout_s = timeout_s
        self._stack = contextlib.ExitStack()
        self._hosts: dict[str, MigratingHost | EncompassError] = {}

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def require_uri(self, name: str) -> str:
        """Return how libvirt of a provider is reached from here."""
        if name not in self._uris:
            raise InvalidRequest(f"provider {name}", "nobody says how its libvirt is reached", remedy="Give uris.")
        return self._uris[name]

    def require(self, name: str) -> MigratingHost:
        """Return the connection to a provider."""
        if name not in self._hosts:
            try:
                opening = open_migrating_host(self.require_uri(name), timeout_s=self._timeout_s)
                self._hosts[name] = self._stack.enter_context(opening)
            except EncompassError as exc:
                self._hosts[name] = exc
        host = self._hosts[name]
        if isinstance(host, EncompassError):
            raise host
        return host


class MoveVerb:
    """What sending and migrating have in common."""

    lock_kind = "machine"

    def __init__(self, items: t.Mapping[str, Move], peers: Peers, *, workers: int, limits: MigrationLimits) -> None:
        self._items = items
        self._peers = peers
        self._workers = workers
        self._limits = limits

    def observe(self, items: t.Mapping[str, Move]) -> dict[str, t.Any]:
        """Return what is here and there for each machine, or why that cannot be seen."""
        observed: dict[str, t.Any] = {}
        for name, item in items.items():
            try:
                observed[name] = self._see(item)
            except EncompassError as exc:
                observed[name] = exc
        return observed

    def _see(self, item: Move) -> t.Any:
        raise NotImplementedError

    def report(self, item: Move, _seen: t.Any, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return where the machine and its clones are then."""
        return report_move(item)

    def diff(self, item: Move, _seen: t.Any, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return what is done, since nothing here changes."""
        return {}, {"to": item.to, "steps": [step.describe() for step in steps]}

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Do the steps, several machines at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, name: str, step: Step) -> None:
        raise NotImplementedError


class SendVerb(MoveVerb):
    """Carry the files of machines' clones, and their data volumes, to their next provider."""

    def _see(self, item: Move) -> ShipmentSeen:
        files = {parcel.id: parcels.list_files(parcel.directory, item.subject) for parcel in item.carried}
        sent = {parcel.id: self._read_manifest(item, parcel) for parcel in item.carried}
        return ShipmentSeen(files, sent)

    def _read_manifest(self, item: Move, parcel: Parcel) -> Manifest | None:
        content = self._peers.require(item.to).download(name_arrival(parcel), MANIFEST)
        return Manifest.read(content, item.subject)

    def plan(self, item: Move, seen: ShipmentSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_sending(item, seen)

    def _perform_step(self, name: str, step: Step) -> None:
        if not isinstance(step, SendFiles):
            return
        peer, pool = self._peers.require(step.to), name_arrival(step.parcel)
        peer.open_arrival(pool, step.parcel.arrival)
        sent = [self._send_file(peer, step, entry) for entry in step.files]
        with volumes.explained(f"machine {name}", "send its manifest"), tempfile.TemporaryFile() as stream:
            stream.write(json.dumps(Manifest(tuple(sent)).to_record()).encode())
            stream.flush()
            peer.upload(pool, MANIFEST, stream.fileno(), limit_s=self._limits.limit_s)

    def _send_file(self, peer: MigratingHost, step: SendFiles, entry: FileEntry) -> FileEntry:
        path, subject = f"{step.parcel.directory}/{entry.path}", f"{step.parcel.kind} {step.parcel.name}"
        digest = image_files.hash_file(path, subject)
        with volumes.explained(subject, "send it"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer.upload(name_arrival(step.parcel), entry.flat_name, descriptor, limit_s=self._limits.limit_s)
        finally:
            os.close(descriptor)
        seen = image_files.see_file(path, subject)
        if seen is None or seen.fingerprint != entry.fingerprint:
            raise ToolFailed(subject, f"{path} changed while it was sent", remedy="See what writes to it.")
        return dataclasses.replace(entry, digest=digest)


class MigrateVerb(MoveVerb):
    """Move machines to their next provider while they run."""

    def __init__(self, host: MigratingHost, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._host = host

    def _see(self, item: Move) -> BothSeen:
        here, there = self._host, self._peers.require(item.to)
        halves: list[HalfSeen | None] = [side.observe_halves([item.name])[item.name] for side in (here, there)]
        return BothSeen(*halves)

    def plan(self, item: Move, seen: BothSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_live_migration(item, seen)

    def _perform_step(self, name: str, step: Step) -> None:
        if isinstance(step, ForgetThere):
            self._peers.require(step.to).undefine_domain(name)
        elif isinstance(step, DiscardHere):
            self._host.power_off(name)
            self._host.undefine_domain(name)
        elif isinstance(step, MigrateDomain):
            self._host.migrate_live(step, self._peers.require_uri(step.to), self._limits)


def name_arrival(parcel: Parcel) -> str:
    """Return what libvirt at the target calls the directory in which a parcel arrives."""
    pool = hashlib.sha256(parcel.target_pool_path.encode()).hexdigest()[:8]
    return f"encompass-arrival-{parcel.kind}-{pathlib.PurePath(parcel.name).name}-{pool}"


@contextlib.contextmanager
def open_moves(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job of sending machines' files, or of moving running machines."""
    items = collect_by_name("machine", [read_move(entry) for entry in params["machines"]])
    limits = MigrationLimits(params["bandwidth_mib_s"], float(params["limit_s"]), params["trust_storage"])
    with Peers(params["uris"], timeout_s=params["timeout_s"]) as peers:
        if params["state"] == "sent":
            yield Job(SendVerb(items, peers, workers=params["workers"], limits=limits), items)
            return
        with open_migrating_host(params["uri"], timeout_s=params["timeout_s"]) as host:
            yield Job(MigrateVerb(host, items, peers, workers=params["workers"], limits=limits), items)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries a machine's files to another provider: pure plans. Private to this collection.

They arrive in a directory of their own, flat, the manifest last. The target proves them by their digests before it
gives them their names.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from .errors import InvalidRequest, NotFound, TransitionRefused
from .migration import Move, Parcel
from .pool_layout import RemoveLeftovers, format_bytes
from .steps import Step

MANIFEST = "manifest.json"
_SEPARATOR = "~"


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file: where it is in its parcel's directory, and what shows that it did not change."""

    path: str
    size_bytes: int
    fingerprint: str
    mode: int
    digest: str = ""

    @property
    def flat_name(self) -> str:
        """Return what it is called while it arrives."""
        return self.path.replace("/", _SEPARATOR)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All files of a parcel that were sent."""

    files: tuple[FileEntry, ...]

    def to_record(self) -> dict[str, t.Any]:
        """Return the manifest as it is written."""
        return {"files": [dataclasses.asdict(entry) for entry in self.files]}

    @classmethod
    def read(cls, content: bytes, subject: str) -> Manifest | None:
        """Return a manifest that was fetched; None for one that is not whole, because its sender was killed."""
        try:
            record = json.loads(content)
        except ValueError:
            return None
        return cls.parse(record, subject)

    @classmethod
    def parse(cls, record: t.Mapping[str, t.Any], subject: str) -> Manifest:
        """Return a manifest that was read; refuse one that leads out of its directory."""
        entries = tuple(FileEntry(**entry) for entry in record.get("files") or ())
        for entry in entries:
            if entry.path.startswith("/") or ".." in entry.path.split("/"):
                raise InvalidRequest(subject, f"the manifest of what was sent names {entry.path!r}")
        return cls(entries)


@dataclasses.dataclass(frozen=True)
class SendFiles:
    """Send a parcel's files to the target's staging directory."""

    parcel: Parcel
    to: str
    files: tuple[FileEntry, ...]

    def describe(self) -> str:
        """Return the step in words."""
        size = format_bytes(sum(entry.size_bytes for entry in self.files))
        return f"send {len(self.files)} files of {self.parcel.name} ({size} and less, holes are left out) to {self.to}"


@dataclasses.dataclass(frozen=True)
class ShipmentSeen:
    """What each parcel's directory holds, and what the manifest at the target tells; None where there is none."""

    files: t.Mapping[str, tuple[FileEntry, ...]]
    sent: t.Mapping[str, Manifest | None]


def select_sent(item: Move, parcel: Parcel, files: t.Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    """Return the files to send: of a machine that goes on running libvirt itself copies the volumes."""
    volumes = {_name_file(volume) for volume in parcel.volumes} if item.live else set()
    return tuple(entry for entry in files if entry.path not in volumes and entry.path != MANIFEST)


def plan_sending(item: Move, seen: ShipmentSeen) -> list[Step]:
    """Return the steps that send what is not at the target yet."""
    steps: list[Step] = []
    for parcel in item.carried:
        files = select_sent(item, parcel, seen.files[parcel.id])
        sent = seen.sent[parcel.id]
        if sent is None or [_identify(entry) for entry in sent.files] != [_identify(entry) for entry in files]:
            steps.append(SendFiles(parcel, item.to, files))
    return steps


def _identify(entry: FileEntry) -> tuple[str, str, int]:
    return entry.path, entry.fingerprint, entry.mode


@dataclasses.dataclass(frozen=True)
class RemoveStale:
    """Delete what an earlier migration, which came to nothing, left in the parcel's place."""

    path: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"delete {self.path}, left from an earlier migration"


@dataclasses.dataclass(frozen=True)
class PublishArrival:
    """Prove what arrived, make the volumes that a live migration fills, and give all of it its name."""

    parcel: Parcel
    manifest: Manifest
    makes_volumes: bool

    def describe(self) -> str:
        """Return the step in words."""
        empty = " and empty volumes" if self.makes_volumes else ""
        return f"check {len(self.manifest.files)} files{empty}, publish {self.parcel.target_directory}"


@dataclasses.dataclass(frozen=True)
class ArrivalSeen:
    """What arrived and what is published of each parcel: its volumes' files (None: no directory), and whether open."""

    manifests: t.Mapping[str, Manifest | None]
    volumes: t.Mapping[str, t.Collection[str] | None]
    open: t.Mapping[str, bool]
    leftovers: tuple[str, ...] = ()


def presume_arrival(item: Move, seen: ArrivalSeen) -> ArrivalSeen:
    """Return what would be seen if everything had been sent, as the catalog says."""
    if not item.stage:
        return seen
    return dataclasses.replace(seen, manifests={parcel.id: Manifest(()) for parcel in item.carried})


def plan_arrival(item: Move, seen: ArrivalSeen) -> list[Step]:
    """Return the steps after which the target has all that the machine's clones need."""
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    for parcel in item.parcels:
        if parcel.shared:
            _require_volumes(item, parcel, seen.volumes[parcel.id])
    for parcel in item.carried:
        manifest = seen.manifests[parcel.id]
        if manifest is None:
            _require_volumes(item, parcel, seen.volumes[parcel.id])
            continue
        if seen.open[parcel.id]:
            raise TransitionRefused(
                item.subject, f"a volume in {parcel.target_directory} is open", remedy="See what has it open there."
            )
        if seen.volumes[parcel.id] is not None:
            steps.append(RemoveStale(parcel.target_directory))
        steps.append(PublishArrival(parcel, manifest, item.live))
    return steps


def _require_volumes(item: Move, parcel: Parcel, there: t.Collection[str] | None) -> None:
    missing = [volume["name"] for volume in parcel.volumes if _name_file(volume) not in (there or ())]
    if missing:
        raise NotFound(
            item.subject,
            f"volume {missing[0]} of its {parcel.kind} {parcel.name} is not in {parcel.target_directory}",
            remedy="A pool that is declared as shared must be the same directory on both providers."
            if parcel.shared
            else "Run encompass.images.migrate again.",
        )


def _name_file(volume: t.Mapping[str, t.Any]) -> str:
    """Return a volume's file name, which it keeps."""
    return str(volume["path"]).rpartition("/")[2]

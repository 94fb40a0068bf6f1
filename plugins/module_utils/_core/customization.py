# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a clone's customization, what its journal says, and the steps between. Pure; private.

The journal is written before a guest is touched. An entry is ``begun`` from then on until the guest is known to be
on the disk; what is begun is done again, from the originals that the journal keeps.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .customization_items import FIRSTBOOT, SEED, Item, Seed
from .dependencies import APPLIED, choose_kept
from .errors import InvalidRequest
from .identity import Identity, check_identity
from .steps import Step

BEGUN = "begun"


@dataclasses.dataclass(frozen=True)
class Volume:
    """One disk of the clone."""

    name: str
    path: str
    format: str


@dataclasses.dataclass(frozen=True)
class Mount:
    """A file system of the guest; ``device`` as the appliance names it when the clone's volumes come first (sda1)."""

    device: str
    mountpoint: str
    filesystem: str = ""


@dataclasses.dataclass(frozen=True)
class CloneRequest:
    """One clone as it is to be; not ``present`` means as it was cloned.

    ``until`` names the last item to apply, ``rollback_to`` the last one that stays applied.
    """

    name: str
    present: bool
    directory: str
    volumes: tuple[Volume, ...]
    mounts: tuple[Mount, ...]
    batchable: bool = False
    hostname: str = ""
    machine_id: str = ""
    items: tuple[Item, ...] = ()
    seed: t.Optional[Seed] = None
    inputs: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    secrets_given: tuple[str, ...] = ()
    until: str = ""
    rollback_to: str = ""

    @property
    def subject(self) -> str:
        """The clone as errors name it."""
        return f"clone {self.name}"

    @property
    def seed_path(self) -> str:
        """Where the clone's NoCloud disk is."""
        return f"{self.directory}/seed.iso"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item in the journal.

    ``paths`` are the files it changes; ``starter`` is what starts a firstboot item; ``secret`` tells that it puts into
    those files what nobody may see.
    """

    name: str
    digest: str
    state: str = BEGUN
    paths: tuple[str, ...] = ()
    starter: t.Optional[str] = None
    secret: bool = False


@dataclasses.dataclass(frozen=True)
class IdentityEntry:
    """The identity in the journal."""

    identity: Identity
    state: str = BEGUN
    paths: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Journal:
    """What was done to a clone. ``seed_digest`` is that of the NoCloud disk beside it."""

    identity: t.Optional[IdentityEntry] = None
    entries: tuple[Entry, ...] = ()
    seed_digest: t.Optional[str] = None

    @property
    def pointer(self) -> int:
        """How many items are applied."""
        return sum(1 for entry in self.entries if entry.state == APPLIED)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the host knows of a clone without looking into it."""

    journal: Journal = dataclasses.field(default_factory=Journal)
    seed_exists: bool = False


@dataclasses.dataclass(frozen=True)
class UndoItem:
    """Take an item back."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"take back item {self.name}"


@dataclasses.dataclass(frozen=True)
class SetIdentity:
    """Give the clone an identity of its own; ``again`` when an earlier run was interrupted in it."""

    hostname: str
    machine_id: str
    again: bool = False

    def describe(self) -> str:
        """Return the step in words."""
        again = " (a run was interrupted in it)" if self.again else ""
        return f"be {self.hostname}, with machine-id {self.machine_id} and ssh host keys of its own{again}"


@dataclasses.dataclass(frozen=True)
class RestoreIdentity:
    """Take the clone's identity away."""

    def describe(self) -> str:
        """Return the step in words."""
        return "give it back the identity of its master"


@dataclasses.dataclass(frozen=True)
class ApplyItem:
    """Apply an item; ``again`` when an earlier run was interrupted in it."""

    item: Item
    again: bool = False

    def describe(self) -> str:
        """Return the step in words."""
        to = f" to {self.item.path or self.item.service}" if self.item.path or self.item.service else ""
        again = " again, from the original" if self.again else ""
        return f"apply item {self.item.name} ({self.item.type}){to}{again}"


@dataclasses.dataclass(frozen=True)
class WriteSeed:
    """Make the NoCloud disk."""

    path: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"write the NoCloud disk {self.path}"


@dataclasses.dataclass(frozen=True)
class RemoveSeed:
    """Delete the NoCloud disk."""

    path: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"delete the NoCloud disk {self.path}"


CustomizeStep = t.Union[UndoItem, SetIdentity, RestoreIdentity, ApplyItem, WriteSeed, RemoveSeed]
GUEST_STEPS = (UndoItem, SetIdentity, RestoreIdentity, ApplyItem)


def narrow_request(request: CloneRequest, journal: Journal) -> CloneRequest:
    """Return the request with the items that are to be applied when it is done, of those that it knows.

    What is applied behind ``until`` stays. ``rollback_to`` applies nothing that is not applied.
    """
    if not (request.until or request.rollback_to):
        return request
    names = [item.name for item in request.items]
    _check_stage(request, names)
    last = names.index(request.rollback_to or request.until)
    recorded = {entry.name for entry in journal.entries if request.rollback_to or entry.state == APPLIED}
    items = tuple(
        item
        for index, item in enumerate(request.items)
        if (index <= last and not request.rollback_to) or (item.name in recorded and (index <= last or request.until))
    )
    lacks_seed = any(item.type == SEED for item in request.items) and not any(item.type == SEED for item in items)
    return dataclasses.replace(
        request, items=items, seed=None if lacks_seed else request.seed, until="", rollback_to=""
    )


def _check_stage(request: CloneRequest, names: t.Sequence[str]) -> None:
    for option in ("until", "rollback_to"):
        wanted = getattr(request, option)
        if wanted and wanted not in names:
            raise InvalidRequest(
                request.subject,
                f"{option} names {wanted}, which is none of its items",
                remedy=f"They are {', '.join(names) or 'none'}.",
            )


def plan_customization(request: CloneRequest, seen: Seen) -> list[CustomizeStep]:
    """Return the steps from what is there to what is wanted.

    An item that differs is taken back and applied anew, and so are those behind it that build on it.
    """
    journal = seen.journal
    if request.present:
        check_request(request)
        request = narrow_request(request, journal)
    elif journal != Journal():
        check_place(request)
    kept = choose_kept(request.items, journal.entries)
    begun = {(entry.name, entry.digest) for entry in journal.entries if entry.state == BEGUN}
    pending = [item for item in request.items if (item.name, item.digest) not in kept]
    redone = [(item, (item.name, item.digest) in begun) for item in pending]
    stay = kept | {(item.name, item.digest) for item, is_again in redone if is_again}
    undone = [entry for entry in reversed(journal.entries) if (entry.name, entry.digest) not in stay]
    steps: list[CustomizeStep] = [UndoItem(entry.name) for entry in undone]
    steps += _plan_identity(request, journal.identity)
    steps += [ApplyItem(item, is_again) for item, is_again in redone]
    return steps + _plan_seed(request, seen)


def _plan_identity(request: CloneRequest, entry: IdentityEntry | None) -> list[CustomizeStep]:
    if not request.present:
        return [] if entry is None else [RestoreIdentity()]
    wanted = (request.hostname, request.machine_id)
    if entry is None:
        return [SetIdentity(*wanted)]
    is_same = (entry.identity.hostname, entry.identity.machine_id) == wanted
    if is_same and entry.state == APPLIED:
        return []
    return [SetIdentity(*wanted, again=is_same)]


def _plan_seed(request: CloneRequest, seen: Seen) -> list[CustomizeStep]:
    if request.seed is None:
        has_seed = seen.seed_exists or seen.journal.seed_digest is not None
        return [RemoveSeed(request.seed_path)] if has_seed else []
    is_there = seen.seed_exists and seen.journal.seed_digest == request.seed.digest
    return [] if is_there else [WriteSeed(request.seed_path)]


def check_place(request: CloneRequest) -> None:
    """Refuse a request that does not say where the clone's files are."""
    for name, value in {"directory": request.directory, "volumes": request.volumes}.items():
        if not value:
            raise InvalidRequest(request.subject, f"its {name} is not given", remedy="The catalog knows it: use that.")
    if not any(mount.mountpoint == "/" for mount in request.mounts):
        raise InvalidRequest(
            request.subject,
            "no file system layout is known for its disk",
            remedy="Import its master with inspection, or give the layout; a disk without an operating system "
            "that libguestfs recognizes cannot be customized.",
        )


def check_request(request: CloneRequest) -> None:
    """Refuse a request that could not be carried out."""
    check_place(request)
    check_identity(request.subject, request.hostname, request.machine_id)
    names = [item.name for item in request.items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequest(request.subject, f"customization item {twice[0]} is there twice", remedy="Rename one.")
    if any(item.type == SEED for item in request.items) and request.seed is None:
        raise InvalidRequest(request.subject, "it has an item of type seed, but no seed is given")


def predict_journal(request: CloneRequest, seen: Seen, steps: t.Sequence[Step]) -> Journal:
    """Return the journal as it is after the steps; of a new identity only what is known beforehand."""
    journal = seen.journal
    if not request.present:
        return Journal()
    identity = journal.identity
    for step in steps:
        if isinstance(step, SetIdentity):
            old = identity.identity if identity else Identity()
            known = dataclasses.replace(old, hostname=step.hostname, machine_id=step.machine_id)
            identity = IdentityEntry(known, APPLIED)
    request = narrow_request(request, journal)
    kept = choose_kept(request.items, journal.entries)
    recorded = {(entry.name, entry.digest): entry for entry in journal.entries}
    keys = [(item.name, item.digest) for item in request.items]
    entries = tuple(recorded[key] if key in kept else Entry(*key, APPLIED) for key in keys)
    return Journal(identity, entries, request.seed.digest if request.seed else None)


def report_customization(request: CloneRequest, journal: Journal) -> dict[str, t.Any]:
    """Return the clone's record: the same fields whether predicted or seen."""
    types = {item.name: item.type for item in request.items}
    order = {name: index for index, name in enumerate(types)}
    applied = [entry for entry in journal.entries if entry.state == APPLIED]
    applied.sort(key=lambda entry: order.get(entry.name, len(order)))
    identity = journal.identity.identity if journal.identity else Identity()
    return {
        "customization": {
            "pointer": journal.pointer,
            "applied": [_describe_applied(entry, types.get(entry.name)) for entry in applied],
            "inputs": dict(request.inputs) if request.present else {},
            "secrets_given": list(request.secrets_given) if request.present else [],
        },
        "identity": identity.to_record(),
        "seed": request.seed_path if journal.seed_digest is not None else None,
    }


def _describe_applied(entry: Entry, item_type: str | None) -> dict[str, t.Any]:
    described: dict[str, t.Any] = {"name": entry.name, "digest": entry.digest}
    if item_type == FIRSTBOOT or entry.starter:
        described["started_by"] = entry.starter
    return described

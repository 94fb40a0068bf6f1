# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves a running machine to another provider, and what removes what it left: pure plans. Private to this
collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .addressing import Assignment, plan_assignment, read_assignment
from .attachment import UndefineDomain
from .errors import Conflict, NotFound, StillRunning, TransitionRefused
from .provider import DomainSeen, NetworkSeen, Power
from .steps import Step

_FOLDERS = {"clone": "clones", "data": "data"}


@dataclasses.dataclass(frozen=True)
class Parcel:
    """What goes with a machine in a directory of its own: a clone, or the data volumes of a server in one pool."""

    name: str
    pool_path: str
    target_pool_path: str = ""
    shared: bool = False
    """Whether its pool is one that both providers reach."""
    served: bool = True
    """Whether the machine serves it; others are on standby, and go along as records alone."""
    volumes: tuple[t.Mapping[str, t.Any], ...] = ()
    """The disks of the machine that are in it; its directory may hold other files, which go along."""
    kind: str = "clone"
    """Or ``data``."""

    @property
    def id(self) -> str:
        """What tells it from all others of its machine."""
        return f"{self.kind} {self.name} in {self.pool_path}"

    @property
    def directory(self) -> str:
        """Where its volumes are now."""
        return f"{self.pool_path}/{_FOLDERS[self.kind]}/{self.name}"

    @property
    def target_directory(self) -> str:
        """Where its volumes shall be."""
        return f"{self.target_pool_path}/{_FOLDERS[self.kind]}/{self.name}"

    @property
    def arrival(self) -> str:
        """Where its files arrive, until they are proved and published."""
        return f"{self.target_pool_path}/.staging/{self.kind}~{self.name}~arrival"

    def relocate(self, path: str) -> str:
        """Return where a file of its pool is at the target."""
        return relocate(path, self.pool_path, self.target_pool_path)


def relocate(path: str, pool_path: str, target_pool_path: str) -> str:
    """Return where a file of one pool is in another; any other file stays where it is."""
    below = f"{pool_path}/"
    return f"{target_pool_path}/{path[len(below) :]}" if path.startswith(below) else path


@dataclasses.dataclass(frozen=True)
class Move:
    """What is asked for one machine: that it and its clones are at the provider ``to``."""

    name: str
    uuid: str
    to: str
    live: bool
    parcels: tuple[Parcel, ...]
    stage: str = ""

    @property
    def subject(self) -> str:
        """Return the machine as errors name it."""
        return f"machine {self.name}"

    @property
    def carried(self) -> list[Parcel]:
        """What has to be carried over."""
        return [parcel for parcel in self.parcels if parcel.served and not parcel.shared]


def read_parcels(options: t.Mapping[str, t.Any]) -> tuple[Parcel, ...]:
    """Return the clones and the data volumes of a machine as the options tell them."""
    clones = [
        _read_parcel(entry, shared=bool(entry.get("shared")), served=bool(entry.get("served")))
        for entry in options.get("clones") or ()
    ]
    return (*clones, *(_read_parcel(entry, kind="data") for entry in options.get("data") or ()))


def _read_parcel(entry: t.Mapping[str, t.Any], **more: t.Any) -> Parcel:
    return Parcel(
        name=entry["name"],
        pool_path=entry["pool_path"].rstrip("/"),
        target_pool_path=(entry.get("target_pool_path") or "").rstrip("/"),
        volumes=tuple(entry.get("volumes") or ()),
        **more,
    )


def read_move(options: t.Mapping[str, t.Any]) -> Move:
    """Return what the options of one machine ask for."""
    return Move(
        name=options["name"],
        uuid=(options.get("uuid") or "").lower(),
        to=options.get("to") or "",
        live=bool(options.get("live")),
        parcels=read_parcels(options),
        stage=options.get("stage") or "",
    )


def report_move(item: Move) -> dict[str, t.Any]:
    """Return where the machine, its clones and its data volumes are once the plan is done."""
    keys = ("name", "pool_path", "target_pool_path")
    told: dict[str, t.Any] = {"to": item.to, "clones": [], "data": []}
    for parcel in item.parcels:
        told["data" if parcel.kind == "data" else "clones"].append({key: getattr(parcel, key) for key in keys})
    return told


# A running machine


@dataclasses.dataclass(frozen=True)
class HalfSeen:
    """The machine's domain on one of the two providers; ``busy`` says what libvirt is at work on there."""

    uuid: str
    power: Power
    busy: str = ""


@dataclasses.dataclass(frozen=True)
class BothSeen:
    """The machine's domain at its provider and at the target; None where there is none of this name."""

    here: HalfSeen | None = None
    there: HalfSeen | None = None


@dataclasses.dataclass(frozen=True)
class MigrateDomain:
    """Have libvirt move the running machine; ``copies``: what of its disks goes along (none, changes, all)."""

    name: str
    to: str
    copies: str
    disks: tuple[str, ...] = ()
    """The paths of the disks that go along; what both providers reach must not be written over itself."""
    moves: tuple[tuple[str, str], ...] = ()
    """(pool path here, pool path there), where they differ."""

    def describe(self) -> str:
        """Return the step in words."""
        disks = {"none": "its volumes are shared", "changes": "with what its overlays hold", "all": "with its volumes"}
        return f"migrate running domain {self.name} to {self.to}, {disks[self.copies]}"


@dataclasses.dataclass(frozen=True)
class ForgetThere:
    """Undefine the target's domain of this name, which is off."""

    name: str
    to: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"undefine domain {self.name} on {self.to}, left from an earlier migration"


@dataclasses.dataclass(frozen=True)
class DiscardHere:
    """Remove what a migration that is over left here: a domain whose processors do not run any more."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"remove domain {self.name}, which goes on at the other provider"


def plan_live_migration(item: Move, seen: BothSeen) -> list[Step]:
    """Return the steps after which the machine runs at the target alone.

    libvirt lets a domain's processors run on one side only; what both sides show tells how far an earlier migration
    came. Raises :class:`StillRunning` while one is under way, and :class:`Conflict` rather than touch two that run.
    """
    here, there = seen.here, seen.there
    for half in (here, there):
        _check_half(item, half)
    if here is None:
        if there is None:
            raise NotFound(item.subject, f"it is neither here nor at {item.to}", remedy="Run encompass.images.deploy.")
        return []
    if there is not None and there.power is not Power.OFF:
        return _end_migration(item, here, there)
    if here.power is not Power.RUNNING:
        raise TransitionRefused(
            item.subject, f"it is {here.power.value} and cannot migrate live", remedy="Run encompass.images.deploy."
        )
    forget: list[Step] = [ForgetThere(item.name, item.to)] if there is not None else []
    disks = tuple(volume["path"] for parcel in item.carried for volume in parcel.volumes)
    return [*forget, MigrateDomain(item.name, item.to, _choose_copies(item), disks, _list_moves(item))]


def _check_half(item: Move, half: HalfSeen | None) -> None:
    if half is None:
        return
    if item.uuid and half.uuid != item.uuid:
        raise Conflict(
            item.subject,
            f"a domain of this name has the UUID {half.uuid}, not {item.uuid}",
            remedy="Rename or remove that domain.",
        )
    if half.busy:
        raise StillRunning(item.subject, half.busy, remedy="Wait for that to end and run again.")


def _end_migration(item: Move, here: HalfSeen, there: HalfSeen) -> list[Step]:
    """Return the steps that end a migration of which something is left on both sides."""
    if here.power is not Power.RUNNING and there.power is Power.RUNNING:
        return [DiscardHere(item.name)]
    raise Conflict(
        item.subject,
        f"its domain is {here.power.value} here and {there.power.value} at {item.to}",
        remedy="See which of the two serves, destroy the other one by hand, and run again.",
    )


def _choose_copies(item: Move) -> str:
    if not item.carried:
        return "none"
    overlays = any(volume.get("backing") for parcel in item.carried for volume in parcel.volumes)
    return "changes" if overlays else "all"


def _list_moves(item: Move) -> tuple[tuple[str, str], ...]:
    pairs = {(parcel.pool_path, parcel.target_pool_path) for parcel in item.parcels if parcel.served}
    return tuple(sorted(pair for pair in pairs if pair[0] != pair[1]))


# What stays behind


@dataclasses.dataclass(frozen=True)
class Vacancy:
    """What is asked for one machine that lives elsewhere: that nothing of it is here."""

    name: str
    uuid: str
    cards: Assignment
    parcels: tuple[Parcel, ...]
    stage: str = ""

    @property
    def paths(self) -> list[str]:
        """The directories that would hold something of it."""
        return [path for parcel in self.parcels for path in (parcel.target_directory, parcel.arrival)]


@dataclasses.dataclass(frozen=True)
class VacancySeen:
    """What there is of the machine; directories with whether something has a volume in them open."""

    domain: DomainSeen | None
    networks: t.Mapping[str, NetworkSeen]
    directories: t.Mapping[str, bool]


@dataclasses.dataclass(frozen=True)
class RemoveDirectory:
    """Delete a directory with all volumes in it."""

    path: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"delete {self.path}"


def read_vacancy(options: t.Mapping[str, t.Any]) -> Vacancy:
    """Return what the options of one machine ask for."""
    return Vacancy(
        name=options["name"],
        uuid=(options.get("uuid") or "").lower(),
        cards=read_assignment("unassigned", options, release=True),
        parcels=read_parcels(options),
        stage=options.get("stage") or "",
    )


def presume_vacancy(item: Vacancy, seen: VacancySeen) -> VacancySeen:
    """Return what would be seen if the machine had left, as the catalog says."""
    if not item.stage:
        return seen
    return dataclasses.replace(seen, domain=None, directories=dict.fromkeys(seen.directories, False))


def plan_vacancy(item: Vacancy, seen: VacancySeen) -> list[Step]:
    """Return the steps that remove what a machine left. Nothing that runs or is open is ever touched."""
    steps: list[Step] = []
    if seen.domain is not None and seen.domain.domain.uuid == item.uuid:
        if seen.domain.active:
            raise Conflict(
                f"machine {item.name}",
                "it lives at another provider, yet its domain is not off here",
                remedy="When a migration is under way, wait for its end; else see which of the two serves, and destroy "
                "the other one by hand.",
            )
        steps.append(UndefineDomain(item.name))
    steps += plan_assignment(item.cards, seen.networks)
    for path, is_open in seen.directories.items():
        if is_open:
            raise TransitionRefused(
                f"machine {item.name}", f"a volume in {path}, which it left, is open", remedy="See what has it open."
            )
        steps.append(RemoveDirectory(path))
    return steps

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a machine its clone's volumes, and what takes them away: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .domain import Domain, list_differences, read_domain
from .domain_xml import render_domain_xml
from .errors import Conflict, InvalidRequest, TransitionRefused
from .provider import DomainSeen
from .steps import Step

ATTACHED = "attached"
_NEEDED = ("uuid", "arch", "firmware", "cpus", "memory_mib", "virt_type", "disks")


@dataclasses.dataclass(frozen=True)
class Attachment:
    """What is asked for one machine: that its domain is defined exactly so (attached) or not at all (detached)."""

    name: str
    uuid: str = ""
    catalog: str = ""
    domain: Domain | None = None
    """None when detaching."""
    stage: str = ""
    """What the catalog says of the machine's clone; empty when nobody says."""


@dataclasses.dataclass(frozen=True)
class AttachmentSeen:
    """The domain of that name, and who else has to do with what is asked.

    ``users`` maps paths of the wanted disks to other domains that have them in a way that does not go together with
    what is wanted (see :func:`find_users`). ``uuid_holder`` is another domain with its UUID.
    """

    there: DomainSeen | None = None
    users: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    uuid_holder: str = ""


@dataclasses.dataclass(frozen=True)
class DefineDomain:
    """Make the domain's definition so."""

    domain: Domain
    changed: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the step in words."""
        size = f"{self.domain.cpus} CPUs, {self.domain.memory_mib} MiB, {self.domain.virt_type}"
        what = f"redefine ({', '.join(self.changed)})" if self.changed else "define"
        return f"{what} domain {self.domain.name}: {size}, {len(self.domain.disks)} disks, {len(self.domain.nics)} NICs"


@dataclasses.dataclass(frozen=True)
class UndefineDomain:
    """Forget the domain; its volumes stay."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"undefine domain {self.name}"


def read_attachment(state: str, options: t.Mapping[str, t.Any]) -> Attachment:
    """Return what the options of one machine ask for."""
    name, catalog, stage = options["name"], options.get("catalog") or "", options.get("stage") or ""
    uuid = (options.get("uuid") or "").lower()
    if state != ATTACHED:
        return Attachment(name, uuid, catalog, stage=stage)
    missing = [key for key in _NEEDED if options.get(key) in (None, "")]
    if missing:
        raise InvalidRequest(f"machine {name}", f"to attach it, {', '.join(missing)} must be given")
    return Attachment(name, uuid, catalog, read_domain(options), stage)


def presume_attachment(item: Attachment, seen: AttachmentSeen) -> AttachmentSeen:
    """Return what would be seen if the machine were in the stage that the catalog says, a lower one than is seen."""
    if seen.there is None or item.stage not in ("assigned", ATTACHED):
        return seen
    there = None if item.stage == "assigned" else dataclasses.replace(seen.there, active=False)
    return dataclasses.replace(seen, there=there)


@dataclasses.dataclass(frozen=True)
class DiskIndex:
    """Which domains have which files: as a disk that they write, and in any way (as a disk or as a backing file)."""

    written: t.Mapping[str, t.Collection[str]]
    touched: t.Mapping[str, t.Collection[str]]


def index_disks(domains: t.Iterable[Domain], resolve: t.Callable[[str], str]) -> DiskIndex:
    """Return the index of all domains' files; ``resolve`` makes one path out of all that lead to the same file."""
    written: dict[str, set[str]] = {}
    touched: dict[str, set[str]] = {}
    for domain in domains:
        for disk in domain.disks:
            for path in (disk.path, *(layer.path for layer in disk.backing)):
                touched.setdefault(resolve(path), set()).add(domain.name)
            if not disk.read_only:
                written.setdefault(resolve(disk.path), set()).add(domain.name)
    return DiskIndex(written, touched)


def find_users(wanted: Domain, index: DiskIndex, resolve: t.Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    """Return the other domains that must not have what the wanted domain's disks are made of, by path.

    Many may read one file. But a file that somebody writes belongs to one domain, and to nobody as a backing.
    """
    users: dict[str, tuple[str, ...]] = {}
    for disk in wanted.disks:
        own = index.written if disk.read_only else index.touched
        for path, found in ((disk.path, own), *((layer.path, index.written) for layer in disk.backing)):
            names = set(found.get(resolve(path), ())) - {wanted.name}
            if names:
                users[path] = tuple(sorted(names))
    return users


def plan_attachment(item: Attachment, seen: AttachmentSeen) -> list[Step]:
    """Return the steps that attach or detach one machine.

    Raises :class:`Conflict` when the name, the UUID or a disk is another domain's, and :class:`TransitionRefused` when
    the machine runs and would have to be redefined.
    """
    if seen.there is not None:
        _require_ours(item, seen.there)
    if item.domain is None:
        return _plan_detachment(item, seen.there)
    _require_free(item.domain, seen)
    if seen.there is None:
        return [DefineDomain(item.domain)]
    return _plan_redefinition(item.domain, seen.there)


def _plan_detachment(item: Attachment, there: DomainSeen | None) -> list[Step]:
    if there is None:
        return []
    if there.active:
        raise TransitionRefused(
            f"machine {item.name}", "it is running and cannot be detached", remedy="Deactivate it first."
        )
    return [UndefineDomain(item.name)]


def _plan_redefinition(wanted: Domain, there: DomainSeen) -> list[Step]:
    changed = list_differences(wanted, there.domain)
    if not changed:
        return [] if there.persistent else [DefineDomain(wanted)]
    if there.active:
        raise TransitionRefused(
            wanted.subject,
            f"it is running, and its definition would have to change ({', '.join(changed)})",
            remedy="Deactivate it first.",
        )
    steps: list[Step] = [UndefineDomain(wanted.name)] if changed_identity(changed) else []
    return [*steps, DefineDomain(wanted, changed)]


def changed_identity(changed: t.Collection[str]) -> bool:
    """Tell whether a definition cannot be replaced in place: by another UUID, or with other firmware variables."""
    return bool({"uuid", "firmware"} & set(changed))


def _require_ours(item: Attachment, there: DomainSeen) -> None:
    subject = f"machine {item.name}"
    owner = there.domain.owner
    if owner is None:
        raise Conflict(
            subject,
            "the provider has a domain of this name that was not made by encompass.images",
            remedy=f"Rename or remove the domain {item.name}, or give the machine another name.",
        )
    if owner.catalog != item.catalog:
        raise Conflict(
            subject,
            f"the provider's domain of this name belongs to another catalog ({owner.catalog or 'none'})",
            remedy="Use that catalog, or give the machine another name.",
        )


def _require_free(wanted: Domain, seen: AttachmentSeen) -> None:
    for path, names in seen.users.items():
        raise Conflict(
            wanted.subject,
            f"the volume {path} is used by {'domain' if len(names) == 1 else 'domains'} {', '.join(names)}",
            remedy="Detach it there first.",
        )
    if seen.uuid_holder:
        raise Conflict(wanted.subject, f"its UUID {wanted.uuid} belongs to domain {seen.uuid_holder}")


def report_attachment(item: Attachment, seen: AttachmentSeen) -> dict[str, t.Any]:
    """Return the record's fields once the plan is done."""
    active = seen.there is not None and seen.there.active
    stage = "assigned" if item.domain is None else ATTACHED
    return {"stage": stage, "uuid": item.uuid or None, "domain_active": active}


def diff_attachment(item: Attachment, seen: AttachmentSeen) -> tuple[str, str]:
    """Return the definition before and after, in what we say about it."""
    before = "" if seen.there is None else render_domain_xml(seen.there.domain)
    return before, "" if item.domain is None else render_domain_xml(item.domain)

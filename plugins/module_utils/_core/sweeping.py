# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What removes things that belong to nobody any more: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .addressing import ReleaseAddress
from .attachment import UndefineDomain
from .errors import InvalidRequest, TransitionRefused
from .migration import RemoveDirectory
from .network import Reservation
from .pool_layout import check_pool_path
from .provider import DomainSeen, NetworkSeen
from .steps import Step

_FOLDERS = {"directory": "clones", "staged": ".staging"}
TYPES = (*_FOLDERS, "domain", "reservation")


@dataclasses.dataclass(frozen=True)
class Remains:
    """One thing that nobody has: a clone's directory, something staged, a domain, or a reserved address."""

    type: str
    path: str = ""
    domain: str = ""
    uuid: str = ""
    network: str = ""
    mac: str = ""
    address: str = ""

    @property
    def name(self) -> str:
        """Return what it is called among others."""
        return {"domain": self.domain, "reservation": f"{self.address} on {self.network}"}.get(self.type, self.path)

    @property
    def subject(self) -> str:
        """Return it as errors name it."""
        return f"{self.type} {self.name}"

    @property
    def pool_path(self) -> str:
        """Return the pool that it is in."""
        return self.path.rpartition("/")[0].rpartition("/")[0]


@dataclasses.dataclass(frozen=True)
class RemainsSeen:
    """What there is of it; ``users`` are domains that have a disk in a directory, ``open`` a volume that is open."""

    exists: bool = False
    users: tuple[str, ...] = ()
    open: str = ""
    at_work: bool = False
    domain: DomainSeen | None = None
    network: NetworkSeen | None = None


def read_remains(options: t.Mapping[str, t.Any]) -> Remains:
    """Return what the options of one item name; a path must be where such things are."""
    fields = (field.name for field in dataclasses.fields(Remains))
    item = Remains(**{field: options.get(field) or "" for field in fields})
    if item.type in _FOLDERS:
        folder = item.path.rpartition("/")[0].rpartition("/")[2]
        check_pool_path(item.subject, item.pool_path)
        if folder != _FOLDERS[item.type] or item.path.rpartition("/")[2] in ("", ".", ".."):
            raise InvalidRequest(item.subject, f"it is not in a directory {_FOLDERS[item.type]} of a pool")
    elif not (item.uuid if item.type == "domain" else item.network and item.mac and item.address):
        raise InvalidRequest(item.subject, "it is not named in full")
    return item


def plan_sweep(item: Remains, seen: RemainsSeen) -> list[Step]:
    """Return the steps that remove it. Nothing that runs, is open or is a disk of any domain is ever touched."""
    if item.type == "domain":
        return _plan_domain(item, seen.domain)
    if item.type == "reservation":
        return _plan_reservation(item, seen.network)
    if not seen.exists:
        return []
    problems = {
        "somebody is at work on it": seen.at_work,
        f"domain {', '.join(seen.users)} has a disk in it": bool(seen.users),
        f"{seen.open} is open": bool(seen.open),
    }
    problem = next((text for text, is_so in problems.items() if is_so), "")
    if problem:
        raise TransitionRefused(item.subject, problem, remedy="See who uses it; it may not be nobody's.")
    return [RemoveDirectory(item.path)]


def _plan_domain(item: Remains, seen: DomainSeen | None) -> list[Step]:
    if seen is None or seen.domain.uuid != item.uuid:
        return []
    if seen.active:
        raise TransitionRefused(
            item.subject, "it runs", remedy="See whether anybody misses it, then stop it by hand and verify again."
        )
    return [UndefineDomain(item.domain)]


def _plan_reservation(item: Remains, seen: NetworkSeen | None) -> list[Step]:
    held: t.Iterable[Reservation] = seen.network.reservations if seen is not None else ()
    mine = (item.mac.lower(), item.address)
    return [ReleaseAddress(item.network, one) for one in held if (one.mac.lower(), one.address) == mine]


def report_sweep(item: Remains) -> dict[str, t.Any]:
    """Return what is gone then."""
    return {key: value for key, value in dataclasses.asdict(item).items() if value}

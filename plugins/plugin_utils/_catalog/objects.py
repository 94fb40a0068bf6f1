# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows, leases, operations, history. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses
import time
import typing as t

KINDS = ("master", "clone", "machine", "pool", "provider", "deployment", "volume", "function", "profile")
"""A profile is what a master's record is too small for: the packages in it. It has the master's name."""

Key = tuple[str, str]
"""Kind and name of an object."""

Body = dict[str, t.Any]
"""An object's record: plain JSON types only."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that runs an operation, told apart from any other, also after a reboot or a reused pid."""

    host: str
    boot_id: str
    pid: int
    start_time: int
    user: str
    run: str

    def describe(self) -> str:
        """Return the owner as a phrase for messages."""
        return f"{self.user} ({self.run}, pid {self.pid} on {self.host})"


@dataclasses.dataclass(frozen=True)
class Lease:
    """The hold of an operation on an object; times are seconds of the store's clock since 1970."""

    operation: str
    verb: str
    owner: Owner
    since: float
    until: float

    def describe(self) -> str:
        """Return who holds the object, with which run, since when and until when."""
        since, until = _format_time(self.since), _format_time(self.until)
        return f"{self.verb} by {self.owner.describe()}, since {since}, until {until}"

    def to_record(self) -> dict[str, t.Any]:
        """Return the lease as it stands in ``Conflict.holder``."""
        return {
            "operation": self.operation,
            "verb": self.verb,
            **dataclasses.asdict(self.owner),
            "since": self.since,
            "until": self.until,
        }


@dataclasses.dataclass(frozen=True)
class Row:
    """One object at one revision; ``lease`` is None when no operation holds it or left it with an unknown outcome."""

    kind: str
    name: str
    revision: int
    body: Body
    lease: Lease | None
    updated_at: float

    @property
    def key(self) -> Key:
        """Return kind and name."""
        return (self.kind, self.name)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A journalled operation; ``recovered`` are the operations it took over, whose outcome nobody knows."""

    id: str
    verb: str
    state: str  # running | done | failed
    owner: Owner
    intent: Body
    targets: list[Key]
    since: float
    until: float
    recovered: list[str]

    def to_lease(self) -> Lease:
        """Return the lease that this operation has on each object it holds."""
        return Lease(operation=self.id, verb=self.verb, owner=self.owner, since=self.since, until=self.until)


@dataclasses.dataclass(frozen=True)
class HistoryEntry:
    """One change of one object; ``changes`` maps a path in the record to ``[before, after]``."""

    at: float
    kind: str
    name: str
    revision: int
    verb: str
    operation: str | None
    user: str
    run: str
    changes: dict[str, list[t.Any]]


def describe_key(key: Key) -> str:
    """Return an object's kind and name as the subject of a message."""
    return f"{key[0]} {key[1]}"


def _format_time(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))

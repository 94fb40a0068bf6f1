# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verb says it will do, as values. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t


class Step(t.Protocol):
    """One change of the outside world: a frozen dataclass, made by a pure plan, done by a driver."""

    def describe(self) -> str:
        """Return the step in words for plans and logs, without any secret."""
        raise NotImplementedError


ItemT_contra = t.TypeVar("ItemT_contra", contravariant=True)
SeenT_contra = t.TypeVar("SeenT_contra", contravariant=True)


class Verb(t.Protocol[ItemT_contra, SeenT_contra]):
    """One module's work on a batch of items, in the four parts that the runner puts in order.

    ``lock_kind`` is the kind of object whose names the items are; while a verb performs, no other
    module may work on the same object of this provider.
    """

    lock_kind: str

    def observe(self, items: t.Mapping[str, ItemT_contra]) -> t.Mapping[str, t.Any]:
        """Return what is there for each item: its state, or the error that kept us from looking."""
        raise NotImplementedError

    def plan(self, item: ItemT_contra, seen: SeenT_contra) -> t.Sequence[Step]:
        """Return the steps from ``seen`` to ``item``; pure. Empty when nothing is to be done."""
        raise NotImplementedError

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> t.Mapping[str, t.Any]:
        """Do every step of every item; return None or the error for each item. Never raises for one item."""
        raise NotImplementedError

    def report(self, item: ItemT_contra, seen: SeenT_contra, steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the record's fields as they are once ``steps`` are done on ``seen``; pure."""
        raise NotImplementedError

    def diff(self, item: ItemT_contra, seen: SeenT_contra, steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return (before, after) for Ansible's diff; text or JSON values without secrets; pure."""
        raise NotImplementedError

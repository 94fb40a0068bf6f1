# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which applied items stay as they are when others change. Pure; private to this collection.

An item depends on an earlier one when both write the same path, or one writes above or below what the other does.
"""

from __future__ import annotations

import dataclasses
import typing as t

APPLIED = "applied"


class Wanted(t.Protocol):
    """An item as it is wanted."""

    @property
    def name(self) -> str:
        """Its name."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """What tells it from an earlier form of it."""
        raise NotImplementedError

    @property
    def places(self) -> tuple[str, ...]:
        """Where it writes, as far as that is known."""
        raise NotImplementedError


class Recorded(t.Protocol):
    """An item as a journal has it."""

    @property
    def name(self) -> str:
        """Its name."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """Its digest when it was applied."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """Whether it is known to be in the guest."""
        raise NotImplementedError

    @property
    def paths(self) -> tuple[str, ...]:
        """What it changed."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class _Place:
    """Paths, and when they are written: before (among the recorded) and after (among the wanted)."""

    paths: frozenset[str]
    above: frozenset[str]
    before: t.Optional[int]
    after: t.Optional[int]

    def overlaps(self, other: _Place) -> bool:
        """Tell whether a path is the other's, or above or below one of the other's."""
        return not (
            self.paths.isdisjoint(other.paths)
            and self.above.isdisjoint(other.paths)
            and other.above.isdisjoint(self.paths)
        )

    def precedes(self, other: _Place) -> bool:
        """Tell whether it comes before the other, in what was or in what is wanted."""
        was_first = self.before is not None and other.before is not None and self.before < other.before
        is_first = self.after is not None and other.after is not None and self.after < other.after
        return was_first or is_first


def _place(paths: t.Iterable[str], before: int | None, after: int | None) -> _Place:
    own = frozenset(paths)
    above = {path[:at] for path in own for at, letter in enumerate(path) if letter == "/" and at}
    return _Place(own, frozenset(above), before, after)


def choose_kept(items: t.Sequence[Wanted], entries: t.Sequence[Recorded]) -> set[tuple[str, str]]:
    """Return (name, digest) of what is applied as it is wanted, and builds on nothing that changes."""
    wanted = {(item.name, item.digest): index for index, item in enumerate(items)}
    kept: dict[tuple[str, str], _Place] = {}
    changing: list[_Place] = []
    for index, entry in enumerate(entries):
        key = (entry.name, entry.digest)
        if entry.state == APPLIED and key in wanted:
            kept[key] = _place(entry.paths, index, wanted[key])
        else:
            changing.append(_place(entry.paths, index, wanted.get(key)))
    earlier = {entry.name: entry.paths for entry in entries}
    for key, index in wanted.items():
        if key not in kept:
            changing.append(_place({*items[index].places, *earlier.get(key[0], ())}, None, index))
    _drop_dependents(kept, changing)
    return set(kept)


def _drop_dependents(kept: dict[tuple[str, str], _Place], changing: list[_Place]) -> None:
    """Take out of ``kept`` what builds on something that changes, and so on."""
    for place in kept.values():
        # Two that build on each other and change places are both made anew.
        if any(place.overlaps(other) and place.precedes(other) and other.precedes(place) for other in kept.values()):
            changing.append(place)
    while changing:
        cause = changing.pop()
        for key, place in list(kept.items()):
            if place is cause or (cause.overlaps(place) and cause.precedes(place)):
                del kept[key]
                changing += [place] if place is not cause else []

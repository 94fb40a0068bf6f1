# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each item changes, file by file, as a diff shows it. Pure; private to this collection."""

from __future__ import annotations

import typing as t

from . import identity
from .guest_draft import Draft
from .guest_files import FileState, show_state

TAKEN_BACK = "(taken back)"


class ItemDiff:
    """Files before and after each item; a file's first item shows it as it was in the guest."""

    def __init__(self) -> None:
        self._notes: list[tuple[str, str, FileState]] = []
        self._shown: list[tuple[str, str, t.Any, t.Any]] = []

    def note(self, item: str, paths: t.Iterable[str], draft: Draft) -> None:
        """Note what an item, just drafted, has made of its files."""
        self._notes += [(item, path, draft.read(path)) for path in paths]

    def close(
        self, found: t.Mapping[str, FileState], wanted: t.Mapping[str, FileState], secret_paths: t.Collection[str]
    ) -> None:
        """Turn the notes into what is shown, which holds no secret: neither of the files before nor of those after."""
        before = dict(found)
        steps = [*self._notes, *((TAKEN_BACK, path, state) for path, state in wanted.items())]
        for item, path, after in steps:
            is_secret = identity.is_secret(path) or path in secret_paths
            if path in before and not before[path].is_as(after):
                shown = [show_state(state, secret=is_secret) for state in (before[path], after)]
                if shown[0] != shown[1] or is_secret:
                    self._shown.append((item, path, *shown))
                before[path] = after
        self._notes.clear()

    def describe(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """Return (before, after), each by item and path."""
        before: dict[str, t.Any] = {}
        after: dict[str, t.Any] = {}
        for item, path, old, new in self._shown:
            before.setdefault(item, {})[path] = old
            after.setdefault(item, {})[path] = new
        return before, after

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's files as they are going to be. Pure but for the tree that it is given to read; private to this collection.

What customization has changed before counts as it was before, so that all that is planned starts from the originals.
"""

from __future__ import annotations

import fnmatch
import typing as t

from .errors import NotFound, Unsupported
from .guest_changes import Change
from .guest_files import ABSENT, DIRECTORY, FILE, LINK, OTHER, FileState, GuestTree

_MOST_LINKS = 40  # as many as Linux follows (path_resolution(7))


class Draft:
    """Reads like a guest that nobody customized, and like what the changes applied to it make of that."""

    def __init__(self, tree: GuestTree, kept: t.Mapping[str, FileState], load: t.Callable[[str], FileState]) -> None:
        """``kept`` are the originals of files that were changed, without content; ``load`` gives them with it."""
        self._tree = tree
        self._kept = kept
        self._load = load
        self._found: dict[str, FileState] = {}
        self._originals: dict[str, FileState] = {}
        self._states: dict[str, FileState] = {}
        self._looks: dict[str, tuple[str, str]] = {}

    def read_found(self, path: str) -> FileState:
        """Return what is at a path of the guest now."""
        if path not in self._found:
            self._found[path] = self._tree.read(path)
        return self._found[path]

    def read_original(self, path: str) -> FileState:
        """Return what was at a path before it was customized."""
        if path not in self._kept:
            return self.read_found(path)
        if path not in self._originals:
            self._originals[path] = self._load(path)
        return self._originals[path]

    def read(self, path: str) -> FileState:
        """Return what is going to be at a path."""
        return self._states[path] if path in self._states else self.read_original(path)

    def read_text(self, path: str) -> str | None:
        """Return the text of a file, its links followed; None when there is no file."""
        real = self.resolve(path)
        state = self.read(real) if real is not None and self.look(real)[0] == FILE else None
        return None if state is None else state.content.decode("utf-8", "surrogateescape")

    def look(self, path: str) -> tuple[str, str]:
        """Return (the kind of what is going to be at a path, where it leads if it is a link)."""
        known = self._states.get(path) or self._kept.get(path)
        if known is not None:
            return known.kind, known.target
        if path not in self._looks:
            self._looks[path] = self._tree.look(path)
        return self._looks[path]

    def resolve(self, path: str, *, follow: bool = True) -> str | None:
        """Return the path with its links followed; the last one only with ``follow`` and when it leads somewhere.

        None when the directory it should be in is not there.
        """
        parent, _slash, name = path.rpartition("/")
        real = self._follow(parent or "/")
        if real is None or (real != "/" and self.look(real)[0] != DIRECTORY):
            return None
        found = f"{real.rstrip('/')}/{name}"
        if not follow or self.look(found)[0] != LINK:
            return found
        return self._follow(found) or found

    def list_existing(self, patterns: t.Sequence[str]) -> list[str]:
        """Return the paths that match; those of directories end with a slash."""
        found = set(self._tree.list_existing(patterns))
        for path, state in {**self._kept, **self._states}.items():
            found -= {path, f"{path}/"}
            if state.kind != ABSENT and any(_matches(path, pattern) for pattern in patterns):
                found.add(f"{path}/" if state.kind == DIRECTORY else path)
        return sorted(found)

    def list_below(self, path: str) -> list[str]:
        """Return everything below a directory, at any depth."""
        found = set(self._tree.list_below(path)) if self._tree.look(path)[0] == DIRECTORY else set()
        for place, state in {**self._kept, **self._states}.items():
            if place.startswith(f"{path}/"):
                (found.discard if state.kind == ABSENT else found.add)(place)
        return sorted(found)

    def apply(self, subject: str, path: str, change: Change) -> None:
        """Have a change made at a path, which is resolved already."""
        old = self.read(path)
        new = change.apply(old)
        if new != old:
            self._check(subject, path, old, new)
        self._states[path] = new

    def _check(self, subject: str, path: str, old: FileState, new: FileState) -> None:
        if old.kind == OTHER:
            raise Unsupported(subject, f"{path} inside the guest is no file", remedy="Name a regular file.")
        if old.kind != DIRECTORY or new.kind == DIRECTORY:
            return
        if new.kind != ABSENT or self.list_below(path):
            raise Unsupported(
                subject,
                f"{path} inside the guest is a directory",
                remedy="Name a file, or delete the directory by an item before this one, with recursive: true.",
            )

    def _follow(self, path: str) -> str | None:
        """Return where a path leads; None when that is nowhere."""
        pending, real, links = path.split("/")[::-1], "", 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                real = real.rpartition("/")[0]
                continue
            kind, target = self.look(f"{real}/{part}")
            links += kind == LINK
            if kind == ABSENT or links > _MOST_LINKS:
                return None
            if kind == LINK:
                real = "" if target.startswith("/") else real
                pending += target.split("/")[::-1]
            else:
                real = f"{real}/{part}"
        return real or "/"


def require_place(draft: Draft, subject: str, path: str, *, follow: bool = True) -> str:
    """Return where a path really is; raises :class:`NotFound` when the image has no directory for it."""
    real = draft.resolve(path, follow=follow)
    if real is None:
        raise NotFound(
            subject,
            f"the image has no directory for {path}",
            remedy="Correct the path, or give the item required: false. The clone is unchanged.",
        )
    return real


def _matches(path: str, pattern: str) -> bool:
    """Tell whether glob(7) would find the path, in which a wildcard stops at a slash."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a clone's customization is taken back before it becomes a master. Pure; private to this collection.

What customization has written since may have been changed by hand, on purpose. That is kept, for it is what the new
master is made for; but never the identity, nor what an item has put a secret into.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from .customization import Journal
from .guest_changes import EditHosts
from .guest_files import FILE, FileState
from .identity import HOSTNAME, HOSTS

KEPT, TAKEN_BACK = "kept", "taken back"


@dataclasses.dataclass(frozen=True)
class ChangedByHand:
    """A file that an item wrote and somebody changed since; ``became`` tells what the new master has of it."""

    path: str
    item: str
    became: str

    def to_record(self) -> dict[str, str]:
        """Return it as JSON."""
        return dataclasses.asdict(self)


def digest_state(state: FileState) -> str:
    """Return what tells whether a file is still as it was written; attributes beside owner and mode do not count."""
    head = f"{state.kind} {state.target} {state.mode:o} {state.uid} {state.gid}\n"
    return hashlib.sha256(head.encode() + state.content).hexdigest()


def plan_undo(
    journal: Journal,
    originals: t.Mapping[str, FileState],
    found: t.Mapping[str, FileState],
    written: t.Mapping[str, str],
) -> tuple[dict[str, FileState], list[ChangedByHand]]:
    """Return (the files to write, what was changed by hand); ``written`` are digests by path."""
    own = set(journal.identity.paths) if journal.identity else set()
    items = {path: entry for entry in journal.entries for path in entry.paths}
    wanted: dict[str, FileState] = {}
    by_hand: list[ChangedByHand] = []
    for path, original in originals.items():
        is_untouched = written.get(path) == digest_state(found[path])
        entry = items.get(path)
        if path in own and entry is None:
            wanted.update(_undo_identity(path, originals, found[path], is_untouched=is_untouched))
        elif found[path].is_as(original):
            continue
        elif is_untouched or entry is None:
            wanted[path] = original
        else:
            by_hand.append(ChangedByHand(path, entry.name, TAKEN_BACK if entry.secret else KEPT))
            if entry.secret:
                wanted[path] = original
    return wanted, by_hand


def _undo_identity(
    path: str, originals: t.Mapping[str, FileState], found: FileState, *, is_untouched: bool
) -> dict[str, FileState]:
    """Return the file that holds the master's name again; sealing empties all else that makes an identity."""
    if path == HOSTNAME or (path == HOSTS and (is_untouched or found.kind != FILE)):
        return {path: originals[path]}
    if path == HOSTS:
        master = originals[HOSTNAME].content.decode("utf-8", "replace").strip() if HOSTNAME in originals else ""
        return {path: EditHosts(master or "localhost").apply(found)}
    return {}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One mounted copy of a guest made nobody's: its customization taken back, cleaned, searched. Private to this
collection.
"""

from __future__ import annotations

import typing as t

from .._core import secret_search
from .._core.capture_undo import ChangedByHand, plan_undo
from .._core.guest_changes import Change, EditHosts, SetContent
from .._core.guest_draft import Draft
from .._core.guest_files import ABSENT, DIRECTORY, LINK, NOTHING, FileState, GuestTree
from .._core.identity import DBUS_ID, HOSTNAME, HOSTS
from .._core.sealing import EMPTIED, LOGS, OUR_SCRIPTS, REMOVED, plan_logs
from .._drivers.undo import UndoStore


class Cleaning(t.Protocol):
    """What of a mounted guest goes as a whole, and what is in it."""

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""

    def empty(self, path: str) -> None:
        """Have a file without content."""

    def list_files(self, directory: str) -> dict[str, int]:
        """Return the sizes of the regular files below a directory, by path."""

    def read_small(self, path: str, most_bytes: int) -> bytes:
        """Return the beginning of a file; nothing when it is not there."""

    def trim(self, mountpoints: t.Sequence[str]) -> list[str]:
        """Give back what the file systems do not use; return those that cannot do that."""


def seal_guest(
    tree: GuestTree,
    cleaning: Cleaning,
    store: UndoStore | None,
    mountpoints: t.Sequence[str],
    *,
    hostname: str = "",
) -> dict[str, t.Any]:
    """Seal the copy; return what people have to know of it: paths and kinds, no content.

    It gets ``hostname`` when nobody has kept its master's.
    """
    cleaning.remove(OUR_SCRIPTS)
    by_hand = undo_customization(tree, store) if store else []
    clean_guest(tree, cleaning)
    if hostname:
        rename_guest(tree, hostname)
    secrets = search_secrets(cleaning)
    return {
        "changed_by_hand": [change.to_record() for change in by_hand],
        "secrets": secrets,
        "password_hashes": secret_search.count_password_hashes(
            cleaning.read_small(secret_search.SHADOW, secret_search.MOST_BYTES)
        ),
        "not_trimmed": cleaning.trim(mountpoints),
    }


def clean_guest(tree: GuestTree, cleaning: Cleaning) -> None:
    """Remove what belongs to one server alone."""
    for path in tree.list_existing(REMOVED):
        # Where it only leads to /etc/machine-id, which is emptied, it stays as the distribution made it.
        if path != DBUS_ID or tree.read(path).kind != LINK:
            cleaning.remove(path)
    for path in tree.list_existing(EMPTIED):
        cleaning.empty(resolve_link(tree, path) or path)
    rotated, kept = plan_logs(cleaning.list_files(LOGS))
    for path in rotated:
        cleaning.remove(path)
    for path in kept:
        cleaning.empty(path)


def undo_customization(tree: GuestTree, store: UndoStore) -> list[ChangedByHand]:
    """Take back what customization made of the files; return what somebody has changed since."""
    notebook = store.load()
    originals = {path: store.load_original(saved) for path, saved in notebook.originals.items()}
    found = {path: tree.read(path) for path in originals}
    wanted, by_hand = plan_undo(notebook.journal, originals, found, notebook.written)
    for path in order_writes(wanted):
        tree.write(path, wanted[path])
    return by_hand


def rename_guest(tree: GuestTree, hostname: str) -> None:
    """Give the copy another host name."""
    changes: dict[str, Change] = {HOSTNAME: SetContent(f"{hostname}\n".encode()), HOSTS: EditHosts(hostname)}
    for path, change in changes.items():
        real = resolve_link(tree, path)
        if real is not None:
            tree.write(real, change.apply(tree.read(real)))


def resolve_link(tree: GuestTree, path: str) -> str | None:
    """Return a path with its links followed; None when there is no directory for it."""
    return Draft(tree, {}, lambda _path: NOTHING).resolve(path)


def order_writes(wanted: t.Mapping[str, FileState]) -> list[str]:
    """Return the paths in an order in which a directory comes before what is in it, and goes after."""
    removed = sorted((path for path, state in wanted.items() if state.kind == ABSENT), reverse=True)
    directories = sorted(path for path, state in wanted.items() if state.kind == DIRECTORY)
    return [*removed, *directories, *sorted(wanted.keys() - {*removed, *directories})]


def search_secrets(cleaning: Cleaning) -> list[dict[str, str]]:
    """Return the path and kind of each secret that is found; a place with too many files is named instead."""
    found: list[dict[str, str]] = []
    for place in secret_search.PLACES:
        sizes = cleaning.list_files(place)
        paths = sorted(path for path, size in sizes.items() if secret_search.is_worth_reading(size))
        if len(paths) > secret_search.MOST_FILES:
            kind = f"not searched to the end: it holds {len(paths)} files"
            found.append({"path": place, "kind": kind})
        for path in paths[: secret_search.MOST_FILES]:
            kinds = secret_search.find_secrets(path, cleaning.read_small(path, secret_search.MOST_BYTES))
            found += [{"path": path, "kind": kind} for kind in kinds]
    return found

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clone's customization, in its mounted files and its undo journal. Private to this collection.

Order is everything: originals and journal to the disk, then the guest, then read back, then the journal again.
"""

from __future__ import annotations

import dataclasses
import secrets
import typing as t

from .._core import firstboot, identity
from .._core.capture_undo import digest_state
from .._core.customization import (
    APPLIED,
    BEGUN,
    ApplyItem,
    CloneRequest,
    Entry,
    IdentityEntry,
    Journal,
    RestoreIdentity,
    SetIdentity,
    count_kept,
)
from .._core.customization_items import FIRSTBOOT, Item, plan_item_changes, refuse_reserved
from .._core.customization_journal import Notebook
from .._core.errors import NotFound, ToolFailed
from .._core.guest_changes import Change, MakeLink
from .._core.guest_files import ABSENT, DIRECTORY, NOTHING, FileState, GuestTree, require_restorable, show_state
from .._core.identity import Identity, KeyPair, Material
from .._core.steps import Step
from .._drivers.undo import UndoStore

MakeKey = t.Callable[[str], KeyPair]
Chain = list[Change]
"""The changes of one file, in order."""


class GuestCustomizing:
    """Brings one clone's files to what its steps ask for."""

    def __init__(self, request: CloneRequest, steps: t.Sequence[Step], store: UndoStore, make_key: MakeKey) -> None:
        self._request = request
        self._store = store
        self._make_key = make_key
        self._notebook = store.load()
        self._sets_identity = any(isinstance(step, SetIdentity) for step in steps)
        self._drops_identity = any(isinstance(step, RestoreIdentity) for step in steps)
        applied = [step.item for step in steps if isinstance(step, ApplyItem)]
        # The items before the first that is applied or taken back are kept as they are.
        self._kept = count_kept(request.items, self._notebook.journal.entries)
        if len(request.items) - self._kept != len(applied):
            raise ToolFailed(request.subject, "its journal changed while it was being customized")
        self._survey: frozenset[str] = frozenset()
        self._expected: Identity | None = None
        self._changed: dict[str, tuple[FileState, FileState, bool]] = {}

    def write(self, tree: GuestTree) -> None:
        """Write what the steps ask for; the guest is not touched when anything of it cannot be done."""
        self._survey = self._survey_original(tree)
        material = self._make_material(tree) if self._sets_identity else None
        chains, entries = self._plan_changes(tree, material)
        stale = self._list_stale(entries)
        originals, found = self._read_originals(tree, stale)
        wanted = {path: _apply_changes(originals[path], chains.get(path, [])) for path in stale}
        for path in stale:
            require_restorable(self._request.subject, path, originals[path], wanted[path])
        written = {path: digest_state(state) for path, state in wanted.items()}
        self._notebook = dataclasses.replace(self._notebook, written={**self._notebook.written, **written})
        self._begin(originals, entries, material)
        self._write_files(tree, found, wanted)
        self._note_changes(found, wanted)

    def verify(self, tree: GuestTree) -> None:
        """Read the identity back; raise unless it is what was written, and nobody else's."""
        if self._expected is None:
            return
        subject, originals = self._request.subject, self._notebook.originals

        def read(path: str) -> FileState:
            return tree.read(tree.resolve(path) or path)

        def read_original(path: str) -> FileState:
            saved = originals.get(tree.resolve(path) or path)
            return self._store.load_original(saved) if saved else NOTHING

        found = identity.read_identity(read, self._survey)
        identity.require_identity(subject, self._expected, found)

        shared = identity.list_shared_traits(found, identity.read_identity(read_original, self._survey))
        if shared:
            raise ToolFailed(subject, f"it shares {', '.join(shared)} with its master", remedy="Give it others.")

    def finish(self) -> None:
        """Record that what was begun is in the guest; call it once that is on the disk."""
        journal, originals = self._notebook.journal, self._notebook.originals
        wanted = journal.entries[: len(self._request.items)]
        entries = tuple(dataclasses.replace(entry, state=APPLIED) for entry in wanted)
        own = None if self._drops_identity else journal.identity
        if own is not None:
            own = dataclasses.replace(own, state=APPLIED)
        used = {path for entry in entries for path in entry.paths} | set(own.paths if own else ())
        kept = {path: saved for path, saved in originals.items() if path in used}
        written = {path: digest for path, digest in self._notebook.written.items() if path in kept}
        self._store.replace(Notebook(Journal(own, entries, journal.seed_digest), kept, written))

    def describe_changes(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """Return the files that changed, by path, before and after; secrets are left out."""
        before = {path: show_state(old, secret=secret) for path, (old, _new, secret) in self._changed.items()}
        after = {path: show_state(new, secret=secret) for path, (_old, new, secret) in self._changed.items()}
        return before, after

    def _survey_original(self, tree: GuestTree) -> frozenset[str]:
        """Return what the image held of the files that decide what is to be done, before we changed any."""
        survey = set(tree.list_existing((*identity.SURVEY, *firstboot.SURVEY)))
        for path, saved in self._notebook.originals.items():
            survey.discard(path)
            survey.discard(f"{path}/")
            if saved.state.kind != ABSENT:
                survey.add(f"{path}/" if saved.state.kind == "directory" else path)
        return frozenset(survey)

    def _make_material(self, tree: GuestTree) -> Material:
        """Return the identity to write: what an interrupted run has written of it already, else anew."""
        earlier = self._notebook.journal.identity
        known = earlier.identity if earlier else Identity()
        keys = {}
        for kind in identity.choose_key_types(self._survey):
            pair = KeyPair(*(tree.read(path).content for path in identity.key_paths(kind)))
            is_ours = pair.fingerprint is not None and pair.fingerprint == known.host_keys.get(kind)
            keys[kind] = pair if is_ours else self._make_key(kind)
        seed = None
        for path in identity.list_seeds(self._survey)[:1]:
            seed = tree.read(path).content
            if known.random_seed_sha256 is None or identity.hash_seed(seed) != known.random_seed_sha256:
                seed = secrets.token_bytes(identity.RANDOM_SEED_BYTES)
        return Material(self._request.hostname, self._request.machine_id, seed, keys)

    def _plan_changes(
        self, tree: GuestTree, material: Material | None
    ) -> tuple[dict[str, Chain], tuple[list[str], list[Entry]]]:
        """Return the changes of each file, and (the identity's paths, the entries of all wanted items)."""
        chains: dict[str, Chain] = {}
        own: list[str] = []
        if self._request.present:
            # Of an identity that stays, only names are ever computed again: no item may touch the rest.
            stays = material or Material(self._request.hostname, self._request.machine_id)
            for path, change in identity.plan_identity(stays, self._survey).items():
                real = self._resolve_own(tree, path)
                if real is not None:
                    chains.setdefault(real, []).append(change)
                    own.append(real)
        entries = []
        for position, item in enumerate(self._request.items):
            changes, starter = self._plan_item(tree, item, position)
            for path, change in changes.items():
                chains.setdefault(path, []).append(change)
            entries.append(Entry(item.name, item.digest, BEGUN, tuple(changes), starter, item.secret))
        return chains, (own, entries)

    def _resolve_own(self, tree: GuestTree, path: str) -> str | None:
        """Return where a file of the identity really is; None for one that only leads to another of them."""
        real = tree.resolve(path)
        return None if path == identity.DBUS_ID and real != path else real

    def _plan_item(self, tree: GuestTree, item: Item, position: int) -> tuple[dict[str, Change], str | None]:
        subject = f"{self._request.subject}: customization item {item.name}"
        starter = firstboot.choose_starter(subject, self._survey) if item.type == FIRSTBOOT else None
        if item.path:
            real = self._place(tree, item, subject)
            if real is None:
                return {}, None
            item = dataclasses.replace(item, path=real)
        planned = plan_item_changes(self._request.name, item, position, starter=starter, survey=self._survey)
        changes = {
            tree.resolve(path, follow=not isinstance(change, MakeLink)) or path: change
            for path, change in planned.items()
        }
        return changes, starter

    def _place(self, tree: GuestTree, item: Item, subject: str) -> str | None:
        """Return where an item's file really is; None when its directory lacks and the item is not required."""
        real = tree.resolve(item.path)
        if real is None:
            if not item.required:
                return None
            raise NotFound(
                subject,
                f"the image has no directory for {item.path}",
                remedy="Correct the path, or give the item required: false. The clone is unchanged.",
            )
        refuse_reserved(subject, real)
        return real

    def _list_stale(self, planned: tuple[list[str], list[Entry]]) -> list[str]:
        """Return the files to bring up to date: those of what is applied anew and of what is taken back."""
        own, entries = planned
        journal = self._notebook.journal
        stale = {path for entry in (*journal.entries[self._kept :], *entries[self._kept :]) for path in entry.paths}
        if self._sets_identity or self._drops_identity:
            stale.update(own, journal.identity.paths if journal.identity else ())
        return sorted(stale)

    def _read_originals(
        self, tree: GuestTree, paths: t.Sequence[str]
    ) -> tuple[dict[str, FileState], dict[str, FileState]]:
        """Return each file's (original, present state). What the journal does not name we have never touched."""
        found = {path: tree.read(path) for path in paths}
        kept = self._notebook.originals
        originals = {path: self._store.load_original(kept[path]) if path in kept else found[path] for path in paths}
        return originals, found

    def _begin(
        self,
        originals: t.Mapping[str, FileState],
        planned: tuple[list[str], list[Entry]],
        material: Material | None,
    ) -> None:
        """Have the originals and the intent on the disk."""
        own, entries = planned
        journal = self._notebook.journal
        earlier = [dataclasses.replace(entry, state=BEGUN) for entry in journal.entries[self._kept :]]
        doubtful = [entry for entry in earlier if entry not in entries]
        identity_entry = journal.identity
        if material is not None:
            self._expected = material.describe()
            paths = sorted({*own, *(journal.identity.paths if journal.identity else ())})
            identity_entry = IdentityEntry(self._expected, BEGUN, tuple(paths))
        elif identity_entry is not None and self._drops_identity:
            identity_entry = dataclasses.replace(identity_entry, state=BEGUN)
        kept = dict(self._notebook.originals)
        kept.update({p: self._store.save_original(p, state) for p, state in originals.items() if p not in kept})
        wanted = (*journal.entries[: self._kept], *entries[self._kept :])
        noted = Journal(identity_entry, (*wanted, *doubtful), journal.seed_digest)
        self._notebook = Notebook(noted, kept, self._notebook.written)
        self._store.replace(self._notebook)

    def _write_files(
        self, tree: GuestTree, found: t.Mapping[str, FileState], wanted: t.Mapping[str, FileState]
    ) -> None:
        pending = {path: state for path, state in wanted.items() if not found[path].is_as(state)}

        def growth_bytes(path: str) -> int:
            return len(pending[path].content) - len(found[path].content)

        # What frees room comes first: an earlier run may have filled the file system. A directory comes before what is
        # in it, and goes after.
        removed = sorted((path for path in pending if pending[path].kind == ABSENT), reverse=True)
        directories = sorted(path for path in pending if pending[path].kind == DIRECTORY)
        others = sorted(pending.keys() - {*removed, *directories}, key=lambda path: (growth_bytes(path), path))
        for path in (*removed, *directories, *others):
            tree.write(path, pending[path])

    def _note_changes(self, found: t.Mapping[str, FileState], wanted: t.Mapping[str, FileState]) -> None:
        """Keep what a diff may show; a secret may also stand in what an item of an earlier run has left."""
        secret_paths = {path for entry in self._notebook.journal.entries if entry.secret for path in entry.paths}
        for path, new in wanted.items():
            old = found[path]
            if not old.is_as(new):
                self._changed[path] = (old, new, identity.is_secret(path) or path in secret_paths)


def _apply_changes(original: FileState, chain: Chain) -> FileState:
    state = original
    for change in chain:
        state = change.apply(state)
    return state

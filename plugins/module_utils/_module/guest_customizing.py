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
    BEGUN,
    ApplyItem,
    CloneRequest,
    Entry,
    IdentityEntry,
    Journal,
    RestoreIdentity,
    SetIdentity,
    narrow_request,
)
from .._core.customization_items import FIRSTBOOT
from .._core.customization_journal import Notebook
from .._core.dependencies import APPLIED, choose_kept
from .._core.errors import ToolFailed
from .._core.guest_draft import Draft
from .._core.guest_files import ABSENT, DIRECTORY, NOTHING, FileState, GuestTree, require_restorable
from .._core.identity import Identity, KeyPair, Material
from .._core.item_changes import Surroundings, plan_item
from .._core.item_diff import ItemDiff
from .._core.kernel_items import Rebuild
from .._core.steps import Step
from .._drivers.undo import UndoStore

MakeKey = t.Callable[[str], KeyPair]
IDENTITY = "(identity)"


class GuestCustomizing:
    """Brings one clone's files to what its steps ask for."""

    def __init__(self, request: CloneRequest, steps: t.Sequence[Step], store: UndoStore, make_key: MakeKey) -> None:
        self._store = store
        self._make_key = make_key
        self._notebook = store.load()
        journal = self._notebook.journal
        self._request = narrow_request(request, journal)
        self._sets_identity = any(isinstance(step, SetIdentity) for step in steps)
        self._drops_identity = any(isinstance(step, RestoreIdentity) for step in steps)
        kept = choose_kept(self._request.items, journal.entries)
        self._kept = {(entry.name, entry.digest): entry for entry in journal.entries if _key(entry) in kept}
        applied = [_key(step.item) for step in steps if isinstance(step, ApplyItem)]
        if [_key(item) for item in self._request.items if _key(item) not in kept] != applied:
            raise ToolFailed(request.subject, "its journal changed while it was being customized")
        self._survey: frozenset[str] = frozenset()
        self._expected: Identity | None = None
        self._rebuilds: dict[str, Rebuild] = {}
        self._diff = ItemDiff()

    def write(self, tree: GuestTree) -> None:
        """Write what the steps ask for; the guest is not touched when anything of it cannot be done.

        What a program of the guest makes comes last. When it fails, the items count as begun.
        """
        kept = {path: saved.state for path, saved in self._notebook.originals.items()}
        draft = Draft(tree, kept, lambda path: self._store.load_original(self._notebook.originals[path]))
        self._survey = frozenset(draft.list_existing((*identity.SURVEY, *firstboot.SURVEY)))
        material = self._make_material(tree) if self._sets_identity else None
        own = self._draft_identity(draft, material)
        entries = self._draft_items(draft)
        stale = self._list_stale(own, entries)
        wanted = {path: draft.read(path) for path in stale}
        for path in stale:
            require_restorable(self._request.subject, path, draft.read_original(path), wanted[path])
        written = {path: digest_state(wanted[path]) for path in stale if path not in self._rebuilds}
        self._notebook = dataclasses.replace(self._notebook, written={**self._notebook.written, **written})
        self._begin({path: draft.read_original(path) for path in stale}, (own, entries), material)
        found = {path: draft.read_found(path) for path in stale}
        self._write_files(tree, found, {path: wanted[path] for path in stale if path not in self._rebuilds})
        for path in stale:
            if path in self._rebuilds:
                self._rebuild(tree, self._rebuilds[path])
        secret = {path for entry in self._notebook.journal.entries if entry.secret for path in entry.paths}
        self._diff.close(found, wanted, secret)

    def verify(self, tree: GuestTree) -> None:
        """Read the identity back; raise unless it is what was written, and nobody else's."""
        if self._expected is None:
            return
        subject, originals = self._request.subject, self._notebook.originals
        draft = Draft(tree, {}, lambda _path: NOTHING)

        def read(path: str) -> FileState:
            return draft.read(draft.resolve(path) or path)

        def read_original(path: str) -> FileState:
            saved = originals.get(draft.resolve(path) or path)
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
        """Return the files that changed, by item and path, before and after; secrets are left out."""
        return self._diff.describe()

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

    def _draft_identity(self, draft: Draft, material: Material | None) -> list[str]:
        """Draft the identity; return where its files really are."""
        if not self._request.present:
            return []
        own = []
        # Of an identity that stays, only names are ever computed again: no item may touch the rest.
        stays = material or Material(self._request.hostname, self._request.machine_id)
        for path, change in identity.plan_identity(stays, self._survey).items():
            real = draft.resolve(path)
            # One id may only lead to the other.
            if real is not None and (path != identity.DBUS_ID or real == path):
                draft.apply(self._request.subject, real, change)
                own.append(real)
        if self._sets_identity:
            self._diff.note(IDENTITY, own, draft)
        return own

    def _draft_items(self, draft: Draft) -> list[Entry]:
        """Draft all wanted items in order; return their entries, of items that stay as the journal has them."""
        mountpoints = tuple(mount.mountpoint for mount in self._request.mounts)
        entries, rank = [], 0
        for item in self._request.items:
            around = Surroundings(self._request.name, mountpoints, self._survey, rank)
            rank += item.type == FIRSTBOOT
            plan = plan_item(item, draft, around)
            for path, change in plan.changes.items():
                draft.apply(around.name(item), path, change)
            self._rebuilds.update({rebuild.path: rebuild for rebuild in plan.rebuilds})
            entry = Entry(item.name, item.digest, BEGUN, tuple(plan.changes), plan.starter, item.secret)
            if _key(item) not in self._kept:
                self._diff.note(item.name, entry.paths, draft)
            entries.append(self._kept.get(_key(item), entry))
        return entries

    def _list_stale(self, own: t.Sequence[str], entries: t.Sequence[Entry]) -> list[str]:
        """Return the files to bring up to date: those of what is applied anew and of what is taken back."""
        journal = self._notebook.journal
        changing = [entry for entry in (*journal.entries, *entries) if entry not in self._kept.values()]
        stale = {path for entry in changing for path in entry.paths}
        if self._sets_identity or self._drops_identity:
            stale.update(own, journal.identity.paths if journal.identity else ())
        return sorted(stale)

    def _begin(
        self,
        originals: t.Mapping[str, FileState],
        planned: tuple[t.Sequence[str], t.Sequence[Entry]],
        material: Material | None,
    ) -> None:
        """Have the originals and the intent on the disk."""
        own, entries = planned
        journal = self._notebook.journal
        earlier = [
            dataclasses.replace(entry, state=BEGUN) for entry in journal.entries if _key(entry) not in self._kept
        ]
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
        noted = Journal(identity_entry, (*entries, *doubtful), journal.seed_digest)
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
        touched = {path.rpartition("/")[0] for path in (*removed, *directories, *others)}
        for path in sorted(touched.intersection(wanted), reverse=True):
            if wanted[path].kind == DIRECTORY and wanted[path].mtime_ns is not None:
                tree.write(path, wanted[path])  # what was written into it has changed its time

    def _rebuild(self, tree: GuestTree, rebuild: Rebuild) -> None:
        tree.run(rebuild.command)
        missing = rebuild.list_missing(tree.run(rebuild.listing))
        if missing:
            raise ToolFailed(
                self._request.subject,
                f"{rebuild.path} was made anew, but holds no module {', '.join(missing)}",
                remedy="Run it again; if it happens again, make the initrd in the image of the master.",
            )


def _key(item: t.Any) -> tuple[str, str]:
    """Return what an item and its entry have in common."""
    return item.name, item.digest

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The undo directory: what is in it is whole and on the disk, or counts as not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.customization import Entry, Journal
from ansible_collections.encompass.images.plugins.module_utils._core.customization_journal import Notebook, Saved
from ansible_collections.encompass.images.plugins.module_utils._core.errors import NotFound, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, LINK, FileState
from ansible_collections.encompass.images.plugins.module_utils._drivers.undo import UndoStore

ORIGINAL = FileState(kind=FILE, content=b"secret of the master", mode=0o600, uid=1, gid=2, xattrs=(), mtime_ns=3)


@pytest.fixture
def store(tmp_path: Path) -> UndoStore:
    return UndoStore(str(tmp_path), "clone c")


def test_nothing_kept_is_an_empty_notebook_and_no_directory(store: UndoStore, tmp_path: Path) -> None:
    assert store.load() == Notebook()
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_found_again(store: UndoStore) -> None:
    saved = store.save_original("/etc/f", ORIGINAL)
    notebook = Notebook(Journal(entries=(Entry("a", "1", paths=("/etc/f",)),)), {"/etc/f": saved})
    store.replace(notebook)
    assert store.load() == notebook
    assert store.load_original(store.load().originals["/etc/f"]) == ORIGINAL
    link = FileState(kind=LINK, target="x")
    assert store.load_original(store.save_original("/etc/l", link)) == link


def test_originals_that_are_not_named_any_more_go(store: UndoStore, tmp_path: Path) -> None:
    saved = {path: store.save_original(path, ORIGINAL) for path in ("/etc/a", "/etc/b")}
    store.replace(Notebook(originals=saved))
    store.replace(Notebook(originals={"/etc/b": saved["/etc/b"]}))
    assert sorted(path.name for path in (tmp_path / "undo").iterdir()) == sorted(
        ["journal.json", saved["/etc/b"].stored]
    )
    store.replace(Notebook())
    assert not (tmp_path / "undo").exists()


def test_a_draft_of_a_killed_run_is_overwritten(store: UndoStore, tmp_path: Path) -> None:
    store.save_original("/etc/f", FileState(kind=FILE, content=b"older"))
    (tmp_path / "undo" / "journal.new").write_bytes(b"{half")
    assert store.load() == Notebook()
    saved = store.save_original("/etc/f", ORIGINAL)
    store.replace(Notebook(originals={"/etc/f": saved}))
    assert store.load_original(saved).content == ORIGINAL.content


def test_a_damaged_journal_is_an_error_with_a_remedy(store: UndoStore, tmp_path: Path) -> None:
    (tmp_path / "undo").mkdir()
    for damaged in (b"{", b"{}", b'{"format": 9}'):
        (tmp_path / "undo" / "journal.json").write_bytes(damaged)
        with pytest.raises(ToolFailed, match="cannot be understood"):
            store.load()


def test_a_clone_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    store = UndoStore(str(tmp_path / "none"), "clone c")
    with pytest.raises(NotFound, match="is not there"):
        store.replace(Notebook(originals={"/f": Saved(FileState())}))
    assert not (tmp_path / "none").exists()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept beside a clone so that its customization can be taken back. Private to this collection.

``<clone>/undo/journal.json`` is replaced as a whole; contents of originals are files of their own beside it, written
before the journal that names them. Everything is on the disk before a guest is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import typing as t

from .._core.customization_journal import Notebook, Saved, dump_notebook, load_notebook
from .._core.errors import NotFound, ToolFailed
from .._core.guest_files import FILE, FileState
from .._core.os_errors import explain_os_error


class UndoStore:
    """The undo directory of one clone."""

    def __init__(self, clone_directory: str, subject: str) -> None:
        self._clone = pathlib.Path(clone_directory)
        self._home = self._clone / "undo"
        self._journal = self._home / "journal.json"
        self._subject = subject

    def load(self) -> Notebook:
        """Return what is kept; an empty notebook when there is nothing."""
        try:
            return load_notebook(json.loads(self._journal.read_bytes()))
        except FileNotFoundError:
            return Notebook()
        except OSError as exc:
            raise explain_os_error(self._subject, "read its undo journal", exc) from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise ToolFailed(
                self._subject,
                f"its undo journal {self._journal} cannot be understood ({type(exc).__name__})",
                remedy="Delete the clone and make it again.",
            ) from exc

    def save_original(self, path: str, state: FileState) -> Saved:
        """Keep a file's original; it counts once a notebook that names it is written."""
        if state.kind != FILE:
            return Saved(state)
        name = hashlib.sha256(path.encode()).hexdigest()[:32]
        with self._explained("keep what it replaces"):
            self._require_home()
            self._write_file(self._home / name, state.content)
        return Saved(FileState(**{**vars(state), "content": b""}), name)

    def load_original(self, saved: Saved) -> FileState:
        """Return a file's original, content and all."""
        if saved.stored is None:
            return saved.state
        with self._explained("read what it replaced"):
            content = (self._home / saved.stored).read_bytes()
        return FileState(**{**vars(saved.state), "content": content})

    def replace(self, notebook: Notebook) -> None:
        """Have the notebook on the disk, and nothing that it does not name; an empty one leaves nothing at all."""
        if notebook == Notebook():
            self._remove()
        else:
            self._write(notebook)

    def _write(self, notebook: Notebook) -> None:
        with self._explained("write its undo journal"):
            self._require_home()
            staged = self._home / "journal.new"
            self._write_file(staged, json.dumps(dump_notebook(notebook), indent=1).encode())
            self._flush_home()  # the originals' names, before a journal that counts on them
            staged.replace(self._journal)
            self._flush_home()
            named = {saved.stored for saved in notebook.originals.values()} | {self._journal.name}
            for path in self._home.iterdir():
                if path.name not in named:
                    path.unlink()

    def _remove(self) -> None:
        with self._explained("delete its undo journal"):
            if self._home.is_dir():
                # First, for it names the rest: half of it would promise what cannot be taken back.
                self._journal.unlink(missing_ok=True)
                self._flush_home()
                shutil.rmtree(self._home)

    def _require_home(self) -> None:
        if not self._clone.is_dir():
            raise NotFound(self._subject, f"its directory {self._clone} is not there", remedy="Make the clone first.")
        self._home.mkdir(mode=0o700, exist_ok=True)

    def _flush_home(self) -> None:
        for directory in (self._home, self._clone):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @staticmethod
    def _write_file(path: pathlib.Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _explained(self, action: str) -> t.Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise explain_os_error(self._subject, action, exc) from exc

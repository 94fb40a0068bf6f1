# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose files are in memory; for tests."""

from __future__ import annotations

import dataclasses
import fnmatch
import posixpath
import re

from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import (
    ABSENT,
    DIRECTORY,
    FILE,
    LINK,
    NOTHING,
    FileState,
)


class Killed(BaseException):
    """The process is gone: nothing after this happens."""


@dataclasses.dataclass
class MemoryGuest:
    """Files by path. After ``writes_left`` writes the process dies; None means never."""

    files: dict[str, FileState]
    writes_left: int | None = None
    writes: list[str] = dataclasses.field(default_factory=list)
    commands: list[list[str]] = dataclasses.field(default_factory=list)
    output: str = ""

    @classmethod
    def make(cls, contents: dict[str, bytes | None], links: dict[str, str] | None = None) -> MemoryGuest:
        """Return a guest with these files (None is a directory) and the directories they need."""
        files: dict[str, FileState] = {}
        for path, content in contents.items():
            for parent in _parents(path):
                files.setdefault(parent, FileState(kind=DIRECTORY, mode=0o755))
            directory = FileState(kind=DIRECTORY, mode=0o755)
            plain = FileState(kind=FILE, content=content or b"", mode=0o644, uid=1, gid=2, xattrs=(), mtime_ns=7)
            files[path] = directory if content is None else plain
        for path, target in (links or {}).items():
            files[path] = FileState(kind=LINK, target=target)
        return cls(files)

    def list_existing(self, patterns: list[str]) -> list[str]:
        """Return the paths that match; those of directories end with a slash."""
        return [
            f"{path}/" if state.kind == DIRECTORY else path
            for path, state in self.files.items()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
        ]

    def look(self, path: str) -> tuple[str, str]:
        """Return the kind of what is at a path, and where it leads."""
        state = self.files.get(path, NOTHING)
        return state.kind, state.target

    def list_below(self, path: str) -> list[str]:
        """Return everything below a directory."""
        return [place for place in self.files if place.startswith(f"{path}/")]

    def read(self, path: str) -> FileState:
        """Return what is at a path."""
        return self.files.get(path, NOTHING)

    def run(self, command: list[str]) -> str:
        """Run a program of the guest."""
        self.commands.append(list(command))
        return self.output

    def write(self, path: str, state: FileState) -> None:
        """Make what is at a path, or die."""
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Killed
            self.writes_left -= 1
        self.writes.append(path)
        if state.kind != DIRECTORY:
            assert not self.list_below(path), f"{path} is not empty"
        if state.kind == ABSENT:
            self.files.pop(path, None)
            return
        assert not re.search("//|/$", path)
        assert posixpath.dirname(path) in (*self.files, "/"), f"no directory for {path}"
        old = self.files.get(path, NOTHING)
        kept = old.xattrs if old.kind == state.kind else ()
        self.files[path] = dataclasses.replace(
            state,
            xattrs=(kept if state.xattrs is None else state.xattrs) if state.kind == FILE else state.xattrs,
            mtime_ns=99 if state.mtime_ns is None and state.kind == FILE else state.mtime_ns,
        )


def _parents(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]

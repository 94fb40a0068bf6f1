# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file inside a guest as a value, and what an offline change makes of it. Private to this collection."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from .errors import Unsupported

ABSENT, FILE, LINK, DIRECTORY, OTHER = "absent", "file", "link", "directory", "other"

SELINUX_LABEL = "security.selinux"

MOST_SHOWN = 1 << 14
"""Characters of one file that a diff shows."""


@dataclasses.dataclass(frozen=True)
class FileState:
    """What there is at a path.

    ``mode`` holds the permission bits only; a link has none. ``mtime_ns`` None means whatever the writing leaves, as
    always for links. ``xattrs`` None means those that are there, or for a new file the security label of its
    directory, as a kernel would choose.
    """

    kind: str = ABSENT
    content: bytes = dataclasses.field(default=b"", repr=False)
    target: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    xattrs: t.Optional[tuple[tuple[str, bytes], ...]] = None
    mtime_ns: t.Optional[int] = None

    def is_as(self, wanted: FileState) -> bool:
        """Tell whether nothing is to be done for ``wanted``; only what it says is compared."""
        found = dataclasses.replace(
            self,
            xattrs=self.xattrs if wanted.xattrs is not None else None,
            mtime_ns=self.mtime_ns if wanted.mtime_ns is not None else None,
        )
        return found == wanted


NOTHING = FileState()


class GuestTree(t.Protocol):
    """The files of one guest, reached without the host ever resolving a path of it.

    Paths are absolute and inside the guest. Each method raises :class:`EncompassError`.
    """

    def list_existing(self, patterns: t.Sequence[str]) -> list[str]:
        """Return the paths that match; those of directories end with a slash."""
        raise NotImplementedError

    def look(self, path: str) -> tuple[str, str]:
        """Return (the kind of what is at a path, where it leads if it is a link); the path's links are not followed."""
        raise NotImplementedError

    def list_below(self, path: str) -> list[str]:
        """Return everything below a directory, at any depth."""
        raise NotImplementedError

    def read(self, path: str) -> FileState:
        """Return what is at a path; nothing there is a state too."""
        raise NotImplementedError

    def write(self, path: str, state: FileState) -> None:
        """Make what is at a path as ``state`` says."""
        raise NotImplementedError

    def run(self, command: t.Sequence[str]) -> str:
        """Run a program of the guest in the appliance, which has no network; return what it prints."""
        raise NotImplementedError


def replace_content(old: FileState, content: bytes, *, mode: int | None, uid: int | None, gid: int | None) -> FileState:
    """Return a file with other content; mode and owner stay what they are unless given (0644, root when new).

    A file that would not change stays as it is, its time of change included.
    """
    kept = old if old.kind == FILE else FileState(kind=FILE, mode=0o644)
    new = dataclasses.replace(
        kept,
        content=content,
        mode=kept.mode if mode is None else mode,
        uid=kept.uid if uid is None else uid,
        gid=kept.gid if gid is None else gid,
    )
    return old if new == old else dataclasses.replace(new, mtime_ns=None)


def require_restorable(subject: str, path: str, old: FileState, new: FileState) -> None:
    """Refuse a change that could not be undone.

    A file that is only rewritten keeps its attributes; one that is removed loses them, and libguestfs can set only
    such values again as hold no zero byte (but for one at the end, which security labels have).
    """
    if old.kind == new.kind != LINK:
        return
    for name, value in old.xattrs or ():
        if b"\0" in value.rstrip(b"\0"):
            raise Unsupported(
                subject,
                f"{path} inside the guest has the extended attribute {name}, which could not be put back",
                remedy="Remove the attribute in the master, or leave the file alone.",
            )


def show_state(state: FileState, *, secret: bool) -> t.Any:
    """Return a file as JSON for a person to read, by lines; the content of a secret one is left out."""
    if state.kind == ABSENT:
        return None
    if state.kind == LINK:
        return {"link": "(secret)" if secret else state.target}
    shown: dict[str, t.Any] = {"mode": f"{state.mode:04o}", "owner": f"{state.uid}:{state.gid}"}
    return shown if state.kind == DIRECTORY else {**shown, "content": show_content(state.content, secret=secret)}


def show_content(content: bytes, *, secret: bool) -> t.Any:
    """Return a content's lines, or in words what it is."""
    if secret:
        return "(secret)"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return f"({len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()})"
    lines = text[:MOST_SHOWN].splitlines()
    return lines if len(text) <= MOST_SHOWN else [*lines, f"({len(text) - MOST_SHOWN} more characters)"]

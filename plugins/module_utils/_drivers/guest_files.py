# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a guest that libguestfs has mounted. Private to this collection."""

from __future__ import annotations

import stat
import typing as t

from .._core.guest_files import ABSENT, DIRECTORY, FILE, LINK, NOTHING, OTHER, SELINUX_LABEL, FileState
from .._core.guestfs_errors import explain_guestfs_error, explained, says_not_there

_CHUNK_BYTES = 1 << 20  # a message of the appliance's protocol holds less than 4 MiB


class GuestFiles:
    """The files of a mounted guest. Every path is resolved inside the appliance, in the guest's own root."""

    def __init__(self, handle: t.Any, subject: str) -> None:
        self._handle = handle
        self._subject = subject

    def list_existing(self, patterns: t.Sequence[str]) -> list[str]:
        """Return the paths that match; those of directories end with a slash."""
        with explained(self._subject):
            # Each call costs a round trip, so all patterns go in one; the library needs the slash in front.
            joined = ",".join(pattern.lstrip("/") for pattern in patterns)
            return sorted(set(self._handle.glob_expand(f"/{{{joined}}}")))

    def look(self, path: str) -> tuple[str, str]:
        """Return (the kind of what is at a path, where it leads if it is a link); the path's links are not followed."""
        kind, _status = self._stat(path)
        return kind, self._call("readlink", path) if kind == LINK else ""

    def list_below(self, path: str) -> list[str]:
        """Return everything below a directory, at any depth."""
        # The library gives names with a slash in front, but for those in the root.
        return [f"{path.rstrip('/')}/{name.lstrip('/')}" for name in self._call("find", path)]

    def run(self, command: t.Sequence[str]) -> str:
        """Run a program of the guest in the appliance; return what it prints. It is killed with the appliance."""
        return str(self._call("command", list(command)))

    def read(self, path: str) -> FileState:
        """Return what is at a path; nothing there is a state too."""
        kind, status = self._stat(path)
        if kind == ABSENT:
            return NOTHING
        return FileState(
            kind=kind,
            content=self._read_content(path, status["st_size"]) if kind == FILE else b"",
            target=self._call("readlink", path) if kind == LINK else "",
            mode=stat.S_IMODE(status["st_mode"]) if kind != LINK else 0,
            uid=status["st_uid"],
            gid=status["st_gid"],
            xattrs=self._read_xattrs(path),
            mtime_ns=status["st_mtime_sec"] * 10**9 + status["st_mtime_nsec"] if kind in (FILE, DIRECTORY) else None,
        )

    def write(self, path: str, state: FileState) -> None:
        """Make what is at a path as ``state`` says. A file that is there is rewritten and keeps its attributes."""
        kind, _status = self._stat(path)
        if kind != ABSENT and (kind != state.kind or kind == LINK):
            self._remove(path, kind)  # ln -sf would follow a link to a directory, and write in there
            kind = ABSENT
        if state.kind == FILE:
            self._write_content(path, state.content)
        elif state.kind == DIRECTORY and kind != DIRECTORY:
            self._call("mkdir", path)
        elif state.kind == LINK:
            self._call("ln_s", state.target, path)
        if state.kind != ABSENT:
            self._set_attributes(path, state, is_new=kind != state.kind)

    def _stat(self, path: str) -> tuple[str, dict[str, int]]:
        try:
            status = self._handle.lstatns(path)
        except RuntimeError as exc:
            if says_not_there(exc):
                return ABSENT, {}
            raise explain_guestfs_error(self._subject, exc) from exc
        kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIRECTORY}
        return kinds.get(stat.S_IFMT(status["st_mode"]), OTHER), status

    def _read_content(self, path: str, size: int) -> bytes:
        # download and read_file take 0.2 s under TCG however small the file is; pread takes 2 ms.
        chunks: list[bytes] = []
        while size > 0:
            chunk = self._call("pread", path, min(size, _CHUNK_BYTES), sum(map(len, chunks)))
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _read_xattrs(self, path: str) -> tuple[tuple[str, bytes], ...] | None:
        try:
            found = self._handle.lgetxattrs(path)
        except RuntimeError as exc:
            if "not supported" in str(exc):  # vfat has none
                return None
            raise explain_guestfs_error(self._subject, exc) from exc
        return tuple(sorted((entry["attrname"], bytes(entry["attrval"])) for entry in found))

    def _write_content(self, path: str, content: bytes) -> None:
        self._call("write", path, content[:_CHUNK_BYTES])
        at = _CHUNK_BYTES
        while at < len(content):
            at += self._call("pwrite", path, content[at : at + _CHUNK_BYTES], at)

    def _set_attributes(self, path: str, state: FileState, *, is_new: bool) -> None:
        _kind, status = self._stat(path)
        if (state.uid, state.gid) != (status["st_uid"], status["st_gid"]):
            self._call("lchown", state.uid, state.gid, path)
            status = self._stat(path)[1]  # a change of owner may clear bits of the mode
        if state.kind != LINK and state.mode != stat.S_IMODE(status["st_mode"]):
            self._call("chmod", state.mode, path)
        if state.xattrs is not None:
            self._set_xattrs(path, dict(state.xattrs))
        elif is_new:
            self._inherit_label(path)
        if state.mtime_ns is not None and state.kind != LINK:  # the library can set no link's
            seconds, rest_ns = divmod(state.mtime_ns, 10**9)
            self._call("utimens", path, seconds, rest_ns, seconds, rest_ns)

    def _set_xattrs(self, path: str, wanted: t.Mapping[str, bytes]) -> None:
        found = dict(self._read_xattrs(path) or ())
        for name in found.keys() - wanted.keys():
            self._call("lremovexattr", name, path)
        for name, value in wanted.items():
            if found.get(name) != value:
                text = value.rstrip(b"\0").decode("utf-8", "surrogateescape")
                self._call("lsetxattr", name, text, len(value.rstrip(b"\0")), path)

    def _inherit_label(self, path: str) -> None:
        parent = self._read_xattrs(path.rpartition("/")[0] or "/")
        label = dict(parent or ()).get(SELINUX_LABEL)
        if label:
            self._set_xattrs(path, {**dict(self._read_xattrs(path) or ()), SELINUX_LABEL: label})

    def _remove(self, path: str, kind: str) -> None:
        if kind != DIRECTORY:
            self._call("rm_f", path)
            return
        try:
            self._handle.rmdir(path)
        except RuntimeError as exc:
            if "not empty" not in str(exc):  # what others have put there is theirs
                raise explain_guestfs_error(self._subject, exc) from exc

    def _call(self, name: str, *arguments: t.Any) -> t.Any:
        with explained(self._subject):
            return getattr(self._handle, name)(*arguments)

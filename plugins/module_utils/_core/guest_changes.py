# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that customization makes to a file of a guest, each a function of what was there. Pure; private.

A file's final state is its original with the changes of identity and items applied in order. So nothing can be
applied twice, and only originals have to be kept.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .errors import InvalidRequest
from .guest_files import ABSENT, DIRECTORY, FILE, LINK, NOTHING, FileState, replace_content


class Change(t.Protocol):
    """What one item, or the identity, does to one file."""

    def apply(self, old: FileState) -> FileState:
        """Return the file as it is after the change."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SetContent:
    """Give a file this content."""

    content: bytes = dataclasses.field(repr=False)
    mode: t.Optional[int] = None
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None

    def apply(self, old: FileState) -> FileState:
        """Return the file with the content; what is no file is replaced by one."""
        return replace_content(old, self.content, mode=self.mode, uid=self.uid, gid=self.gid)


@dataclasses.dataclass(frozen=True)
class Substitute:
    """Replace what a pattern matches; ``^`` and ``$`` match at each line."""

    subject: str
    path: str
    pattern: str
    replacement: str = dataclasses.field(repr=False)
    required: bool = True
    mode: t.Optional[int] = None
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None

    def apply(self, old: FileState) -> FileState:
        """Return the file with every match replaced; raises :class:`InvalidRequest` when a required one lacks."""
        if old.kind != FILE:
            return self._miss(old, f"{self.path} is not there to be edited")
        # Latin-1 would break \w and classes on UTF-8 text; surrogates keep every other byte as it is.
        text = old.content.decode("utf-8", "surrogateescape")
        edited, matches = self._substitute(text)
        if not matches:
            return self._miss(old, f"the pattern {self.pattern!r} matches nothing in {self.path}")
        content = edited.encode("utf-8", "surrogateescape")
        return replace_content(old, content, mode=self.mode, uid=self.uid, gid=self.gid)

    def _substitute(self, text: str) -> tuple[str, int]:
        try:
            return re.subn(self.pattern, self.replacement, text, flags=re.MULTILINE)
        except (re.error, IndexError) as exc:
            # The text of the exception may quote the replacement, which may be a secret.
            raise InvalidRequest(
                self.subject, f"the replacement for the pattern {self.pattern!r} does not fit it"
            ) from exc

    def _miss(self, old: FileState, problem: str) -> FileState:
        if self.required:
            raise InvalidRequest(
                self.subject, problem, remedy="Correct the item, or give it required: false. The clone is unchanged."
            )
        return old


@dataclasses.dataclass(frozen=True)
class MakeDirectory:
    """Have a directory."""

    mode: int = 0o755

    def apply(self, old: FileState) -> FileState:
        """Return the directory; one that is there stays as it is."""
        return old if old.kind == DIRECTORY else FileState(kind=DIRECTORY, mode=self.mode)


@dataclasses.dataclass(frozen=True)
class MakeLink:
    """Have a symbolic link."""

    target: str

    def apply(self, old: FileState) -> FileState:
        """Return the link."""
        return old if (old.kind, old.target) == (LINK, self.target) else FileState(kind=LINK, target=self.target)


@dataclasses.dataclass(frozen=True)
class SetAttributes:
    """Give what is there a mode or an owner; ``mode`` is a file's, a directory can also be entered by who may read."""

    mode: t.Optional[int] = None
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None
    in_tree: bool = False

    def apply(self, old: FileState) -> FileState:
        """Return it with the attributes; a link has no mode."""
        mode = self.mode
        if mode is not None and old.kind == DIRECTORY and self.in_tree:
            mode |= (mode & 0o444) >> 2
        return dataclasses.replace(
            old,
            mode=old.mode if mode is None or old.kind == LINK else mode,
            uid=old.uid if self.uid is None else self.uid,
            gid=old.gid if self.gid is None else self.gid,
        )


@dataclasses.dataclass(frozen=True)
class CallAtEnd:
    """Have a shell script run a program as the last thing it does."""

    program: str

    def apply(self, old: FileState) -> FileState:
        """Return the script with the call before its final ``exit``; one that has it already stays as it is."""
        lines = old.content.decode("utf-8", "surrogateescape").splitlines(keepends=True) or ["#!/bin/sh\n"]
        call = f"{self.program}\n"
        if call in lines:
            return old
        if not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        at = len(lines)
        for index in range(len(lines) - 1, -1, -1):
            if lines[index].strip():
                at = index if re.fullmatch(r"exit( 0)?", lines[index].strip()) else at
                break
        content = "".join([*lines[:at], call, *lines[at:]]).encode("utf-8", "surrogateescape")
        return replace_content(old, content, mode=(old.mode | 0o755), uid=None, gid=None)


@dataclasses.dataclass(frozen=True)
class EditHosts:
    """Have a host's own name at 127.0.1.1, as Debian does."""

    hostname: str

    def apply(self, old: FileState) -> FileState:
        """Return the file with that line, in the place of an old one or behind 127.0.0.1."""
        if old.kind != FILE:
            return old
        short = self.hostname.partition(".")[0]
        names = self.hostname if short == self.hostname else f"{self.hostname} {short}"
        lines = old.content.decode("utf-8", "surrogateescape").splitlines()
        own = [index for index, line in enumerate(lines) if re.match(r"\s*127\.0\.1\.1(\s|$)", line)]
        local = [index for index, line in enumerate(lines) if re.match(r"\s*127\.0\.0\.1(\s|$)", line)]
        at = own[0] if own else (local[0] + 1 if local else 0)
        kept = [line for index, line in enumerate(lines) if index not in own]
        content = "\n".join([*kept[:at], f"127.0.1.1\t{names}", *kept[at:]]) + "\n"
        return replace_content(old, content.encode("utf-8", "surrogateescape"), mode=None, uid=None, gid=None)


@dataclasses.dataclass(frozen=True)
class Remove:
    """Have nothing at a path."""

    def apply(self, old: FileState) -> FileState:
        """Return nothing."""
        return old if old.kind == ABSENT else NOTHING

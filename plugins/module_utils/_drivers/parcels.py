# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone's directory as a list of files, and back. Private to this collection."""

from __future__ import annotations

import os
import pathlib
import stat
import typing as t

from .._core.errors import NotFound
from .._core.os_errors import explain_os_error
from .._core.transfer import FileEntry


def list_files(directory: str, subject: str) -> tuple[FileEntry, ...]:
    """Return every regular file below a clone's directory, by path. Raises :class:`NotFound` when it is not there."""
    root = pathlib.Path(directory)
    if not root.is_dir():
        raise NotFound(subject, f"its directory {directory} is not there", remedy="Run encompass.images.deploy.")
    try:
        found = ((path, path.lstat()) for path in sorted(root.rglob("*")))
        return tuple(
            FileEntry(
                path=str(path.relative_to(root)),
                size_bytes=status.st_size,
                fingerprint=f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}",
                mode=stat.S_IMODE(status.st_mode),
            )
            for path, status in found
            if stat.S_ISREG(status.st_mode)
        )
    except OSError as exc:
        raise explain_os_error(subject, f"list the files in {directory}", exc) from exc


def unpack(arrival: str, staged: pathlib.Path, files: t.Sequence[FileEntry], subject: str) -> None:
    """Give files that arrived flat their paths in a directory that has no name yet."""
    try:
        staged.mkdir(mode=0o700)
        for entry in files:
            target = staged / entry.path
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            pathlib.Path(arrival, entry.flat_name).rename(target)
            target.chmod(entry.mode)
            _flush(target)
    except OSError as exc:
        raise explain_os_error(subject, "unpack what arrived", exc) from exc


def _flush(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

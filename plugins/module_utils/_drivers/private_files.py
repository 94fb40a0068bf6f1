# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short-lived directories that only we can read, in memory where the host has a tmpfs. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import typing as t

from .._core.os_errors import explain_os_error

_PREFIX = "encompass-private-"
_MEMORY = "/dev/shm"  # noqa: S108 - the directories below it are made with mode 0700 and a random name


@contextlib.contextmanager
def private_directory() -> t.Iterator[pathlib.Path]:
    """Make a directory with mode 0700; it is gone with all that is in it when the block ends.

    What killed processes left is removed as well.
    """
    _remove_leftovers()
    home = _MEMORY if pathlib.Path(_MEMORY).is_dir() else None
    process = f"{_namespace()}-{os.getpid()}-"
    try:
        directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{process}", dir=home))
    except OSError as exc:
        raise explain_os_error("the provider's memory", "make a private directory", exc) from exc
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_leftovers() -> None:
    own_names = re.compile(rf"{_PREFIX}{_namespace()}-(\d+)-.*")
    for path in pathlib.Path(_MEMORY).glob(f"{_PREFIX}*"):
        named = own_names.fullmatch(path.name)
        if named and not pathlib.Path("/proc", named[1]).exists():
            shutil.rmtree(path, ignore_errors=True)


def _namespace() -> str:
    """Return what tells our process ids from those of a container that shares the directory."""
    return re.sub(r"\D", "", str(pathlib.Path("/proc/self/ns/pid").readlink()))

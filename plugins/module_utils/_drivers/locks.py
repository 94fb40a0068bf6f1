# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at work on what: byte-range locks in one file for a provider's objects, and in one for a pool's contents.
Private to this collection.

A module may outlive the connection that started it. Its locks say "still running" to the next one, and the
kernel drops them with the process, whatever way it ends. One file serves all objects, so that a batch of
thousands needs one descriptor. In a pool they hold against all the providers that reach it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import threading
import time
import typing as t

from .._core.errors import EncompassError, StillRunning
from .._core.os_errors import explain_os_error

LOCK_FILE = pathlib.Path("/run/lock/encompass-images.lock")
WAIT_S = 20.0

# The first thread of a process that closes a file drops the locks that all of them have in it.
_ONE_THREAD = threading.Lock()


@contextlib.contextmanager
def hold_objects(
    kind: str, names: t.Sequence[str], *, wait_s: float = WAIT_S, lock_file: pathlib.Path | None = None
) -> t.Iterator[dict[str, EncompassError]]:
    """Hold the objects' locks; yield the errors of those that somebody else still holds after ``wait_s``."""
    with _hold(lock_file or LOCK_FILE, kind, names, wait_s=wait_s, subject=f"{kind} {', '.join(names)}") as busy:
        yield {
            name: StillRunning(
                f"{kind} {name}",
                "an earlier operation on it is still running on this provider",
                remedy="Wait for it to end and run again.",
            )
            for name in busy
        }


@contextlib.contextmanager
def hold_contents(
    lock_file: str, digests: t.Iterable[str], subject: str, *, wait_s: float = WAIT_S
) -> t.Iterator[None]:
    """Hold the files of a pool that are named by these digests; raise :class:`StillRunning` after ``wait_s``.

    Masters of the same content have the same file, and whoever publishes or deletes it has to see who else has it.
    """
    names = sorted(set(digests))
    with _ONE_THREAD, _hold(pathlib.Path(lock_file), "content", names, wait_s=wait_s, subject=subject) as busy:
        if busy:
            raise StillRunning(
                subject,
                "a master with the same content is just being published or deleted",
                remedy="Wait for that to end and run again.",
            )
        yield


@contextlib.contextmanager
def _hold(
    lock_file: pathlib.Path, kind: str, names: t.Sequence[str], *, wait_s: float, subject: str
) -> t.Iterator[list[str]]:
    """Hold the locks of these names; yield those that somebody else still holds after ``wait_s``."""
    descriptor = _open(lock_file, subject)
    try:
        deadline = time.monotonic() + wait_s
        try:
            busy = [name for name in names if not _lock_before(descriptor, _offset_of(kind, name), deadline)]
        except OSError as exc:  # a network's file system may have no locks
            raise explain_os_error(subject, "lock it", exc) from exc
        yield busy
    finally:
        os.close(descriptor)


def _open(lock_file: pathlib.Path, subject: str) -> int:
    try:
        if lock_file == LOCK_FILE:  # a pool's directories are never made in passing
            lock_file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise explain_os_error(subject, "lock it", exc) from exc


def _offset_of(kind: str, name: str) -> int:
    digest = hashlib.sha256(f"{kind}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _lock_before(descriptor: int, offset: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        else:
            return True

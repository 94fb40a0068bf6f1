# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at work on which object of this provider: byte-range locks in one file. Private to this collection.

A module may outlive the connection that started it. Its locks say "still running" to the next one, and the
kernel drops them with the process, whatever way it ends. One file serves all objects, so that a batch of
thousands needs one descriptor.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import time
import typing as t

from .._core.errors import EncompassError, StillRunning
from .._core.os_errors import explain_os_error

LOCK_FILE = pathlib.Path("/run/lock/encompass-images.lock")
WAIT_S = 20.0


@contextlib.contextmanager
def hold_objects(
    kind: str, names: t.Sequence[str], *, wait_s: float = WAIT_S, lock_file: pathlib.Path | None = None
) -> t.Iterator[dict[str, EncompassError]]:
    """Hold the objects' locks; yield the errors of those that somebody else still holds after ``wait_s``."""
    path = lock_file or LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise explain_os_error(f"{kind} {', '.join(names)}", "lock it", exc) from exc
    try:
        deadline = time.monotonic() + wait_s
        busy: dict[str, EncompassError] = {}
        for name in names:
            if not _lock_before(descriptor, _offset_of(kind, name), deadline):
                busy[name] = StillRunning(
                    f"{kind} {name}",
                    "an earlier operation on it is still running on this provider",
                    remedy="Wait for it to end and run again.",
                )
        yield busy
    finally:
        os.close(descriptor)


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

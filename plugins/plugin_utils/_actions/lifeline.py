# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's module ends with the run that forked the worker, and with its lease. Private to this collection.

Workers lead sessions of their own, so a run that is killed leaves them behind: they would wait for their modules and
hold their leases for it, and the next run would find everything busy on behalf of nobody. And a run that was frozen
may go on after another one has taken over what it was about to change.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import typing as t
from pathlib import Path

from .._catalog.owner import find_run

_LOOK_EVERY_S = 0.5
_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def end_with_run() -> t.Iterator[None]:
    """While inside: once the parent process is gone, end the children (the connections), then this process."""
    left = threading.Event()
    watch = threading.Thread(target=_watch, args=(left, find_run()), name="lifeline", daemon=True)
    watch.start()
    try:
        yield
    finally:
        left.set()
        watch.join()


def _watch(left: threading.Event, parent: int) -> None:
    while not left.wait(_LOOK_EVERY_S):
        if os.getppid() != parent:
            end_connections()
            os._exit(1)


def end_connections() -> None:
    """End the children of this process. A module that has not begun to work sees that nobody waits for it."""
    for pid in _list_children():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)


def _list_children() -> list[int]:
    """List the children of all threads; none where the kernel does not tell."""
    pids: list[int] = []
    for path in _TASKS.glob("*/children"):
        with contextlib.suppress(OSError):
            pids += map(int, path.read_text().split())
    return pids

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands and remember processes so exactly that nothing else is ever killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot be built or used; the text says why and what to do."""


def run(
    *argv: str | os.PathLike[str], stdin: str | None = None, timeout_s: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in the C locale; raise LabError with its last words when it fails."""
    words = [os.fspath(word) for word in argv]
    done = subprocess.run(
        words,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if check and done.returncode:
        raise LabError(f"{' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done


def wait_until(condition: t.Callable[[], bool], *, timeout_s: float, what: str, every_s: float = 0.02) -> None:
    """Poll until the condition holds; raise LabError after the time limit."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout_s:g} s")
        time.sleep(every_s)


def read_boot_id() -> str:
    """Return the id of the machine's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_start_time(pid: int) -> int | None:
    """Return the process's start in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot: a pid alone may be handed out again."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Identify a living process; LabError when it is already gone."""
        start_time = read_start_time(pid)
        if start_time is None:
            raise LabError(f"process {pid} ended before it could be recorded")
        return cls(pid, start_time, read_boot_id())

    def is_alive(self) -> bool:
        return self.boot_id == read_boot_id() and read_start_time(self.pid) == self.start_time

    def kill(self) -> None:
        """Send SIGKILL to this very process, or do nothing when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)

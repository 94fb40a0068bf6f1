# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs an operation, and whether that process is certainly dead. Private to this collection; reads /proc."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import platform
import re
import sys
import typing as t
from pathlib import Path

from .objects import Owner

_PROC = Path("/proc")
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h
_PLAYBOOK = re.compile(r".*\.ya?ml|\w+\.\w+\.\w+")  # a file, or a playbook of a collection
_OPTIONS_WITH_VALUE = ("-i", "--inventory", "-e", "--extra-vars", "-l", "--limit")
_DEAD_STATES = ("Z", "X", "x")


class _Process(t.NamedTuple):
    state: str
    start_time: int


def current_owner(pid: int | None = None, run: str | None = None) -> Owner:
    """Return the owner for this process, or for another one of this host (a worker's parent, say).

    ``run`` is what the user knows the run by; it is guessed from the command line, or from AWX's job id.
    """
    pid = os.getpid() if pid is None else pid
    process = _read_process(pid)
    return Owner(
        host=_read_host(),
        boot_id=_read_boot_id(),
        pid=pid,
        start_time=process.start_time if process else 0,
        user=_read_user(),
        run=run or _guess_run(),
    )


def find_run() -> int:
    """Return the pid of the run that forked this worker, also when it is gone: the kernel names who adopted us then."""
    parent = multiprocessing.parent_process()
    return os.getppid() if parent is None or parent.pid is None else parent.pid


def is_certainly_dead(owner: Owner) -> bool:
    """Tell whether the owner cannot be running any more; False whenever this host cannot know."""
    if owner.host != _read_host():
        return False
    if owner.boot_id != _read_boot_id():
        return True
    if not (_PROC / "self" / "stat").exists():
        return not _answers_signal(owner.pid)
    process = _read_process(owner.pid)
    return process is None or process.state in _DEAD_STATES or process.start_time != owner.start_time


def _read_host() -> str:
    # Two containers may share a host name, and a pid means nothing outside its namespace.
    try:
        namespace = os.readlink(_PROC / "self" / "ns" / "pid")  # noqa: PTH115 - Path.readlink cannot read a magic link's text
    except OSError:
        namespace = _INITIAL_PID_NAMESPACE
    name = platform.node()
    return name if namespace == _INITIAL_PID_NAMESPACE else f"{name}/{namespace}"


def _read_boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _read_process(pid: int) -> _Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command name stands in parentheses and may hold spaces and parentheses itself: proc(5).
    fields = text.rpartition(")")[2].split()
    return _Process(state=fields[0], start_time=int(fields[19]))


def _answers_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without an account, as in many containers
        return f"uid {os.getuid()}"


def _guess_run() -> str:
    job = os.environ.get("JOB_ID")  # set by AWX for each of its jobs
    if job and os.environ.get("AWX_PRIVATE_DATA_DIR"):
        return f"AWX job {job}"
    words = zip(sys.argv, sys.argv[1:])
    names = [word for before, word in words if before not in _OPTIONS_WITH_VALUE and _PLAYBOOK.fullmatch(word)]
    return Path((names or sys.argv)[0] or "python").name

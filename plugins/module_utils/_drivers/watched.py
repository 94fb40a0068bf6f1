# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of work in child processes that can be stopped. Private to this collection.

A library that blocks for ever cannot be interrupted from within; a process can. Each batch has a child that leads
a process group of its own, so that what it started ends with it.
"""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import threading
import time
import typing as t

from .._core import errors
from .._core.errors import EncompassError, NoSpace, ToolFailed

Send = t.Callable[[t.Any], None]
Work = t.Callable[[str], t.Any]
Serve = t.Callable[[t.Sequence[str], t.Callable[[str, Work], bool]], None]
"""Serves a batch, in the child: ``serve(names, run)``; ``run(name, work)`` does one name's work and reports it."""

Diagnose = t.Callable[[t.Sequence[str], str], t.Optional[t.Mapping[str, EncompassError]]]
"""Names the culprits when a batch ended (for the reason given) before any of its names was begun.

None when nothing more can be found out, so that all fail; else the batch is tried again without the culprits.
"""

FindFull = t.Callable[[], str]
"""Returns a pool that has no room left, "" when all have. What writes to it stands still, and nothing tells of that."""

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 3.0
_FULL_FOR_S = 15.0
_MOST_ATTEMPTS = 3

# A child forked by another thread meanwhile would hold this one's pipe open, so that its end went unseen.
_ONE_FORKS = threading.Lock()

_REMEDY = "See whether its pool is full or its disk fails, and run again."


@dataclasses.dataclass
class _Batch:
    names: tuple[str, ...]
    attempt: int = 1


def run_batches(
    batches: t.Sequence[t.Sequence[str]],
    serve: Serve,
    *,
    describe: t.Callable[[str], str],
    timeout_s: float,
    lanes: int = 1,
    diagnose: Diagnose = lambda _names, _reason: None,
    find_full: FindFull = lambda: "",
) -> dict[str, t.Any]:
    """Run every batch in a child of its own, ``lanes`` at a time; return each name's result or EncompassError.

    A child that dies or takes longer than ``timeout_s`` costs only the name that it was working on; a pool that is
    full, and stays so for a while, ends them all. ``describe`` turns a name into the subject of an error.
    """
    fullness = _Fullness(find_full)
    waiting = collections.deque(_Batch(tuple(batch)) for batch in batches if batch)
    children: list[_Child] = []
    results: dict[str, t.Any] = {}
    try:
        while waiting or children:
            while waiting and len(children) < max(1, lanes):
                children.append(_Child(waiting.popleft(), serve, timeout_s))
            _wait_for_any(children)
            full = fullness.look()
            if full:
                left = [name for child in children for name in child.left]
                left += [name for batch in waiting for name in batch.names]
                return {**results, **{name: _describe_full(describe(name), full) for name in left}}
            for child in [child for child in children if child.has_ended(results)]:
                children.remove(child)
                waiting.extend(_settle(child, results, diagnose, describe))
    finally:
        for child in children:
            child.stop()
    return results


def run_alone(subject: str, work: t.Callable[[], t.Any], *, timeout_s: float) -> t.Any:
    """Do one thing in a child of its own; return its result, or raise its EncompassError."""

    def serve(names: t.Sequence[str], run: t.Callable[[str, Work], bool]) -> None:
        run(names[0], lambda _name: work())

    result = run_batches([[subject]], serve, describe=str, timeout_s=timeout_s)[subject]
    if isinstance(result, EncompassError):
        raise result
    return result


class _Child:
    """One child at work, as its parent sees it."""

    def __init__(self, batch: _Batch, serve: Serve, timeout_s: float) -> None:
        self.batch = batch
        self.left = list(batch.names)
        self.begun: str | None = None
        self.reason = "the process that worked on it ended"
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        context = multiprocessing.get_context("fork")
        with _ONE_FORKS:
            self.receiver, sender = context.Pipe(duplex=False)
            self._process = context.Process(target=_live, args=(batch.names, serve, sender, os.getpid()))
            self._process.start()
            sender.close()

    def has_ended(self, results: dict[str, t.Any]) -> bool:
        """Read what the child says; true once there is no more to come."""
        try:
            while self.receiver.poll():
                self._take(self.receiver.recv(), results)
        except (EOFError, OSError):
            self.stop()
            return True
        if time.monotonic() < self.deadline:
            return False
        self.reason = f"it did not end within {self.timeout_s:g} s and was stopped"
        self.stop()
        return True

    def stop(self) -> None:
        """End the child and all that it started."""
        pid = self._process.pid
        if pid is not None:
            for end in (os.killpg, os.kill):
                try:
                    end(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self._process.join()
        self.receiver.close()

    def _take(self, message: t.Any, results: dict[str, t.Any]) -> None:
        kind, name, value = message
        if kind == "begin":
            self.begun = name
        elif kind == "lost":
            self.reason = value
        else:
            results[name] = _load_error(value) if kind == "error" else value
            self.left.remove(name)
            self.begun = None


class _Fullness:
    """How long a pool has been full: what frees room, or needs none, may go on for a moment."""

    def __init__(self, find_full: FindFull) -> None:
        self._find_full = find_full
        self._since: float | None = None

    def look(self) -> str:
        """Return the pool that has been full for too long, "" when there is none."""
        full = self._find_full()
        if not full:
            self._since = None
            return ""
        self._since = self._since or time.monotonic()
        return full if time.monotonic() - self._since >= _FULL_FOR_S else ""


def _describe_full(subject: str, pool: str) -> NoSpace:
    problem = f"the pool at {pool} got full while it was worked on, so that it could not get further"
    return NoSpace(subject, problem, remedy="Free room in the pool, and run again.")


def _wait_for_any(children: t.Sequence[_Child]) -> None:
    wait_s = max(0.0, min(child.deadline for child in children) - time.monotonic())
    wait_s = min(wait_s, _LOOK_EVERY_S)
    multiprocessing.connection.wait([child.receiver for child in children], timeout=wait_s)


def _settle(
    child: _Child, results: dict[str, t.Any], diagnose: Diagnose, describe: t.Callable[[str], str]
) -> list[_Batch]:
    """Return what of an ended child's batch is to be tried again; the rest has its results."""
    left = child.left
    if child.begun is not None:
        results[child.begun] = ToolFailed(describe(child.begun), child.reason, remedy=_REMEDY)
        left = [name for name in left if name != child.begun]
    elif left and len(left) == len(child.batch.names):
        culprits = diagnose(left, child.reason) if child.batch.attempt < _MOST_ATTEMPTS else None
        if culprits is None:
            results.update({name: ToolFailed(describe(name), child.reason, remedy=_REMEDY) for name in left})
            return []
        results.update(culprits)
        left = [name for name in left if name not in culprits]
    attempt = child.batch.attempt + 1 if len(left) == len(child.batch.names) else 1
    return [_Batch(tuple(left), attempt)] if left else []


def _live(names: t.Sequence[str], serve: Serve, sender: t.Any, parent: int) -> None:
    """Be the child: end with the parent, say nothing but through the pipe."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    guard = _Guard()
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)

    def run(name: str, work: Work) -> bool:
        sender.send(("begin", name, None))
        try:
            result = work(name)
        except EncompassError as exc:
            sender.send(("error", name, _dump_error(exc)))
            return False
        sender.send(("done", name, result))
        return True

    try:
        serve(names, run)
    except EncompassError as exc:
        sender.send(("lost", None, exc.problem))
    except Exception as exc:  # the parent has to be told, whatever it was
        sender.send(("lost", None, f"the process that worked on it failed ({type(exc).__name__})"))
    finally:
        guard.dismiss()


class _Guard:
    """Has all that this process started end with it, even when whoever kills it kills every Python process.

    libguestfs leaves a process behind to do that, which is a fork of ours and dies in the same blow; its appliance
    would hold the volumes for ever.
    """

    # read ends when a line comes, or when the last process that holds the pipe is gone.
    _SCRIPT = 'read -r _ || kill -s KILL -- "-$1"'

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT, "encompass-guard", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Let the guard go, because this process ends by itself."""
        self._shell.communicate(b"\n")


def _dump_error(error: EncompassError) -> tuple[str, str, str, str]:
    """Return an error for the pipe: exceptions with keyword arguments cannot be pickled."""
    return type(error).__name__, error.subject, error.problem, error.remedy


def _load_error(dumped: tuple[str, str, str, str]) -> EncompassError:
    kind, subject, problem, remedy = dumped
    error: EncompassError = getattr(errors, kind)(subject, problem, remedy=remedy)
    return error

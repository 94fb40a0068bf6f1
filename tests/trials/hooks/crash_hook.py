# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put into Python from outside: note each step of ours that changes something, and kill somebody at one of them.

A folder tells what to do and takes the notes. ``order`` names who is watched (the controller or the module, each once),
a pattern, which of the points that match is meant, and who dies there; without an order nothing is watched.
A module dies whole, also where one of its children is at work; the ``peer`` is the libvirtd of the other hosts.
``trace`` gets a line for each point, from all processes, in the order in which they come; the first word is who.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.machinery
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import typing as t
from pathlib import Path

_OURS = "ansible_collections.encompass.images.plugins."
_RUNNER = f"{_OURS}module_utils._module.runner"
_STORES = "/srv/"
"""Only files below it are a provider's state; modules are unpacked and locked elsewhere."""
_LIBVIRTD = Path("/run/libvirtd.pid")

_LIBVIRT_CHANGES = re.compile(
    r"(create|define|delete|destroy|undefine|update|upload|migrate\d*|attach|shutdown|resume|backupBegin|abort"
    r"|blockCommit|setAutostart|pMWakeup|networkDefine|storagePool(Create|Define)|sparseSendAll|fs(Freeze|Thaw))"
    r"(XML|Flags|ToURI\d*|Job|Device)*"
)
_LIBVIRT_CLASSES = ("virConnect", "virDomain", "virNetwork", "virStoragePool", "virStorageVol", "virStream")
_GUESTFS_CHANGES = re.compile(r"launch|umount_all|sync|shutdown")
_FILE_CHANGES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.symlink", "os.chmod", "os.chown")
_MAKING_OR_REMOVING = ("os.mkdir", "os.rmdir", "os.remove")
_WRITES = os.O_WRONLY | os.O_RDWR

_RENEWAL = "lease"
"""The thread that renews leases: it commits by the clock, so its commits would number the others differently."""

_inside = threading.local()


class Point(t.NamedTuple):
    """Who is killed where: at the ``number``-th point of ``who`` that matches."""

    who: str
    pattern: str
    number: int
    victim: str


class Notes:
    """The folder of a trial, as a process that is watched sees it."""

    def __init__(self, folder: Path, point: Point) -> None:
        self._trace = folder / "trace"
        self._point = point
        self._main_pid = os.getpid()  # the run or the module itself: what works for it is forked after this

    def take(self, what: str) -> None:
        """Note that something is about to change or has just changed, and kill if this is the point."""
        if getattr(_inside, "notes", False):
            return
        _inside.notes = True
        try:
            if self._count(what) == self._point.number and re.search(self._point.pattern, what):
                self._kill()
        finally:
            _inside.notes = False

    def _count(self, what: str) -> int:
        """Append a line; return how many of ours match by now."""
        with self._trace.open("a+", encoding="utf-8") as trace:
            fcntl.flock(trace, fcntl.LOCK_EX)
            trace.write(f"{self._point.who} {what}\n")
            trace.flush()
            trace.seek(0)
            ours = [line.split(" ", 1)[1] for line in trace.read().splitlines() if line.startswith(self._point.who)]
        return sum(1 for line in ours if re.search(self._point.pattern, line))

    def _kill(self) -> None:
        if self._point.victim == "libvirtd":
            os.kill(int(_LIBVIRTD.read_text(encoding="ascii")), signal.SIGKILL)
            return
        if self._point.victim == "peer":
            kill_peers()
            return
        if self._point.victim == "controller":
            kill_run(self._main_pid)
        else:
            os.kill(self._main_pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def kill_run(pid: int) -> None:
    """Kill a run and its workers, which lead sessions of their own; the caller dies last when it is one of them."""
    workers = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    for one in [pid, *workers]:
        if one != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


def kill_peers() -> None:
    """Kill the libvirtd of every other host of the lab that this one is in."""
    own = socket.gethostname()
    known = Path("/etc/hosts").read_text(encoding="ascii").split()
    for name in {word for word in known if word.rpartition("h")[0] == own.rpartition("h")[0]} - {own}:
        kill = f"kill -KILL $(cat {_LIBVIRTD})"
        subprocess.run(["ssh", "-o", "BatchMode=yes", name, kill], check=True, timeout=30, capture_output=True)


def install(folder: Path) -> None:
    """Watch this process as the order says; do nothing when there is none."""
    watches = {"controller": watch_commits, "module": watch_module}
    here = "module" if folder.is_relative_to(_STORES) else "controller"
    with contextlib.suppress(FileNotFoundError):
        for point in json.loads((folder / "order").read_text(encoding="utf-8")):
            if point["who"] == here:
                watches[here](Notes(folder, Point(**point)))


def watch_commits(notes: Notes) -> None:
    """Take notes of every commit that changes a catalog, before and after it."""

    class Connection(sqlite3.Connection):
        changes_before = 0

        def execute(self, statement: str, *values: t.Any) -> sqlite3.Cursor:
            if statement.startswith("BEGIN"):
                self.changes_before = self.total_changes
            if statement != "COMMIT" or self.total_changes == self.changes_before:
                return super().execute(statement, *values)
            work = find_action()
            if work == _RENEWAL:
                return super().execute(statement, *values)
            notes.take(f"{work} before COMMIT")
            cursor = super().execute(statement, *values)
            notes.take(f"{work} after COMMIT")
            return cursor

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]


def find_action() -> str:
    """Return the name of the collection's action that this thread is in, else that of the thread."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        module = type(frame.f_locals.get("self")).__module__
        if module.startswith(f"{_OURS}action."):
            return module.rpartition(".")[2]
        frame = frame.f_back
    return threading.current_thread().name.split()[0]


def watch_module(notes: Notes) -> None:
    """Take notes of all that a module changes: files of the pools, tools that start, libvirt, libguestfs."""

    def take_audited(event: str, values: tuple[t.Any, ...]) -> None:
        what = describe_change(event, values)
        if what and _RUNNER in sys.modules:
            notes.take(f"{name_module()} {what}")

    sys.addaudithook(take_audited)
    sys.meta_path.insert(0, Wrapping(notes))


def name_module() -> str:
    """Return the name of the module that this process runs."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return str(spec.name if spec else "module").rpartition(".")[2]


def describe_change(event: str, values: tuple[t.Any, ...]) -> str:
    """Return what an audited event changes, empty when it changes nothing of a provider's."""
    if event == "subprocess.Popen":
        # What comes before the tool's path sets limits for it.
        return f"starts {next((word for word in map(str, values[1]) if word.startswith('/')), values[0])}"
    if event == "open":
        path, _mode, flags = values
        return f"opens {path}" if isinstance(path, (str, os.PathLike)) and is_state(path) and flags & _WRITES else ""
    if event not in _FILE_CHANGES or not any(isinstance(value, (str, os.PathLike)) for value in values[:2]):
        return ""
    paths = [os.fspath(value) for value in values[:2] if isinstance(value, (str, os.PathLike))]
    if event in _MAKING_OR_REMOVING and _is_so(paths[0], there=event == "os.mkdir"):
        return ""
    return f"{event} {' '.join(paths)}" if any(map(is_state, paths)) else ""


def _is_so(path: str, *, there: bool) -> bool:
    """Tell whether a path is, or is not, there already; of one that is relative nobody says to which folder."""
    return path.startswith("/") and os.path.lexists(path) == there


def is_state(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is of a pool; one that is not absolute is below a folder of a pool, unless Ansible's own."""
    text = os.fspath(path)
    return isinstance(text, str) and (text.startswith(_STORES) or not text.startswith(("/", "ansible_")))


class Wrapping:
    """Finds libvirt and guestfs as ever, and has the calls of theirs noted that change something."""

    def __init__(self, notes: Notes) -> None:
        self._wraps = {"libvirt": self._wrap_libvirt, "guestfs": self._wrap_guestfs}
        self._notes = notes

    def find_spec(self, name: str, path: t.Any = None, _target: t.Any = None) -> t.Any:
        wrap = self._wraps.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path) if wrap else None
        if wrap and spec and spec.loader:
            execute = spec.loader.exec_module

            def load(module: types.ModuleType) -> None:
                execute(module)
                wrap(module)

            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec

    def _wrap_libvirt(self, library: t.Any) -> None:
        for name in _LIBVIRT_CLASSES:
            self._wrap(getattr(library, name), _LIBVIRT_CHANGES)

    def _wrap_guestfs(self, library: t.Any) -> None:
        self._wrap(library.GuestFS, _GUESTFS_CHANGES)

    def _wrap(self, kind: t.Any, pattern: re.Pattern[str]) -> None:
        for name in [name for name in vars(kind) if pattern.fullmatch(name)]:
            setattr(kind, name, self._noted(getattr(kind, name), f"{kind.__name__}.{name}"))

    def _noted(self, method: t.Callable[..., t.Any], what: str) -> t.Callable[..., t.Any]:
        @functools.wraps(method)
        def call(*values: t.Any, **named: t.Any) -> t.Any:
            self._notes.take(f"{name_module()} before {what}")
            result = method(*values, **named)
            self._notes.take(f"{name_module()} after {what}")
            return result

        return call

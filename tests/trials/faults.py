# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that fails: the Nth call that writes below a directory, in a module or in any tool that it starts.

`FailingDisk` says which call, `Workshop` is the process in which modules then run; see `faults.c`.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PROJECT = _HERE.parents[1]
_STATE = struct.Struct("=5Q1024s2048s")  # struct state of faults.c

# Where KVM hangs, libguestfs would only find out after its time limit.
_ENVIRONMENT = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


@dataclass(frozen=True)
class Fault:
    """Which call fails, with which error, and whether all that come after it fail too."""

    number: int
    error: int
    is_lasting: bool = False


@dataclass(frozen=True)
class Told:
    """How many calls there were, and the first that failed: its name and path; empty when none did."""

    count: int
    failed: str


class FailingDisk:
    """The library, and the memory that it shares with us."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "faults.so"
        self.path = folder / "faults.state"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O2", "-o", self.library, _HERE / "faults.c", "-ldl"], check=True, timeout=120
        )
        self.path.write_bytes(bytes(_STATE.size))
        with self.path.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), _STATE.size)

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process needs to suffer from it."""
        return {"LD_PRELOAD": str(self.library), "ENCOMPASS_TEST_FAULTS": str(self.path)}

    def fail(self, directory: Path, fault: Fault) -> None:
        """Begin to count the calls that can fail so, and fail the one with this number; none has the number 0."""
        place = str(directory).encode()
        self._memory[:] = _STATE.pack(0, fault.number, fault.error, fault.is_lasting, len(place), place, b"")

    def heal(self) -> Told:
        """Fail no more; return what happened."""
        count, *_rest, failed = _STATE.unpack(self._memory[:])
        self._memory[:] = bytes(_STATE.size)
        return Told(count, failed.rstrip(b"\0").decode(errors="replace"))


@dataclass(frozen=True)
class Answer:
    """What a run in the workshop left: its exit code, and what it printed."""

    code: int
    output: str
    errors: str

    @property
    def result(self) -> dict[str, t.Any]:
        """Return the module's result; where there is none, one that says what Ansible would call a module failure."""
        if self.output.strip().startswith("{"):
            return t.cast("dict[str, t.Any]", json.loads(self.output))
        return {"failed": True, "msg": f"MODULE FAILURE {self.errors[-1500:]}", "subject": "", "remedy": "none"}


class Workshop:
    """A process that has everything loaded, and does each task in a child of its own, as a provider would."""

    def __init__(self, disk: FailingDisk, collections: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trials.workshop", collections],
            cwd=_PROJECT,
            env={**os.environ, **_ENVIRONMENT, **disk.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(self, task: str, options: t.Mapping[str, t.Any]) -> Answer:
        """Run a module, or a function of `tests.trials.tasks`, to its end."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([task, options]) + "\n")
        self._process.stdin.flush()
        return Answer(*json.loads(self._process.stdout.readline()))

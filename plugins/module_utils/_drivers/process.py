# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run external tools: always a list, always a time limit, never a secret in it. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import shutil
import subprocess
import typing as t

from .._core.errors import ToolFailed, Unsupported
from .._core.os_errors import explain_os_error, explain_tool_error

# A killed module must not leave its tools at work: setpriv (util-linux) has the kernel end them with us.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_MAX_PRINTED_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class ToolLimits:
    """What a tool that reads a stranger's bytes may take: time of a CPU, address space, and bytes of one file.

    Its words are limited too.
    """

    cpu_s: float
    memory_bytes: int
    file_bytes: int

    def to_argv(self) -> list[str]:
        """Return the command (util-linux) that sets the limits before it becomes the tool."""
        sizes = {"cpu": int(self.cpu_s) + 1, "as": self.memory_bytes, "fsize": self.file_bytes, "core": 0}
        return ["prlimit", *(f"--{name}={size}" for name, size in sizes.items()), "--"]


def _run_limited(
    command: t.Sequence[str], *, env: t.Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a command without input; one that prints without end is killed."""
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        ) as process,
        concurrent.futures.ThreadPoolExecutor(2) as readers,
    ):
        streams = [t.cast("t.IO[bytes]", stream) for stream in (process.stdout, process.stderr)]
        printed = [readers.submit(_read_limited, stream, process) for stream in streams]
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, code, *(one.result() for one in printed))


def _read_limited(stream: t.IO[bytes], process: subprocess.Popen[bytes]) -> bytes:
    printed = stream.read(_MAX_PRINTED_BYTES)
    if len(printed) == _MAX_PRINTED_BYTES:
        process.kill()
    return printed


def run_tool(
    argv: t.Sequence[str],
    *,
    subject: str,
    timeout_s: float,
    stdin: bytes | None = None,
    env: t.Mapping[str, str] | None = None,
    limits: ToolLimits | None = None,
    is_silent: bool = False,
) -> str:
    """Run a tool to its end and return its standard output.

    Raises :class:`Unsupported` when it is not installed, :class:`NoSpace` when it met a full disk, and
    :class:`ToolFailed` (with the last line it printed) when it failed or took longer than ``timeout_s``. One that
    ``is_silent`` when all is well has also failed when it complained.
    """
    command = find_tool(argv, subject, limits)
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = (
            _run_limited(command, env=environment, timeout_s=timeout_s)
            if limits
            else subprocess.run(
                command,
                input=stdin if stdin is not None else b"",
                capture_output=True,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        )
    except subprocess.TimeoutExpired as exc:
        problem = f"{argv[0]} did not end within {timeout_s:g} s and was stopped"
        raise ToolFailed(subject, problem, remedy="See what slows the provider down and run again.") from exc
    except OSError as exc:
        raise explain_os_error(subject, f"start {argv[0]}", exc) from exc
    printed = done.stderr.decode(errors="replace")
    if done.returncode != 0 or (is_silent and _holds_complaint(printed)):
        raise explain_tool_error(subject, f"{argv[0]} failed (exit {done.returncode})", printed)
    return done.stdout.decode(errors="replace")


def _holds_complaint(printed: str) -> bool:
    return any(line.strip() and " warning: " not in line for line in printed.splitlines())


def find_tool(argv: t.Sequence[str], subject: str, limits: ToolLimits | None = None) -> list[str]:
    """Return the command that ends with this thread. Raises :class:`Unsupported` when the tool is not installed."""
    tool = shutil.which(argv[0])
    if tool is None:
        raise Unsupported(
            subject, f"the program {argv[0]} is not installed here", remedy="Run encompass.images.hypervisor."
        )
    return [*_WITH_PARENT, *(limits.to_argv() if limits else ()), tool, *argv[1:]]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session at a donor: ssh with the donor's script at its other end, asked and answered. Private to this collection.

Whatever happens to the session, the donor thaws by itself what it had frozen.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import subprocess
import tempfile
import time
import typing as t

from .._core.disk_passes import measure_chunk
from .._core.donor_script import GREETING
from .._core.errors import Conflict, NotFound, ToolFailed, Unsupported
from .._core.ssh_login import CONNECT_S, SshLogin, explain_ending, lose_connection, render_login
from .process import find_tool

# A donor that is silent for so long has stopped: it has one chunk to read, or what it wrote last to put on its disk.
_SILENCE_S = 120.0
_MOST_LINE_BYTES = 1 << 16
_MOST_LINES = 10_000
_PIECE_BYTES = 1 << 20

# So many chunks are asked for ahead of the answers. Their requests fit into a pipe, so that asking never blocks.
_AHEAD = 16


class Chunk(t.NamedTuple):
    """A chunk that is not as it was said to be: its digest there, and what came; both differ when it was written to."""

    number: int
    digest: str
    content: bytes


class DonorSession:
    """The donor at the other end; each answer has a time limit."""

    def __init__(self, process: subprocess.Popen[bytes], words: t.IO[bytes], subject: str) -> None:
        self._process = process
        self._input, self._output = _pipes_of(process)
        self._words = words
        self._subject = subject
        self._buffer = bytearray()
        self._has_begun = False
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._deadline = float("inf")

    def greet(self) -> None:
        """Wait until the script runs; what a login prints before is passed over."""
        self._deadline = time.monotonic() + 2 * CONNECT_S
        while self._read_line() != GREETING:
            pass
        self._has_begun = True
        self._deadline = float("inf")

    def limit(self, duration_s: float) -> None:
        """Have all that follows end within a time."""
        self._deadline = time.monotonic() + duration_s

    # What is asked

    def look(self) -> list[str]:
        """Return what the donor says of its devices and file systems."""
        self._send("look")
        lines: list[str] = []
        while (line := self._read_line()) != "end":
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise self._refuse_answer()
        return lines

    def count_used_bytes(self, mountpoint: str) -> int:
        """Return how much a file system holds."""
        self._send(f"used {mountpoint}")
        answer = self._read_line()
        return int(answer) << 10 if answer.isdigit() else 0

    def open_disk(self, path: str) -> tuple[str, int]:
        """Have a disk read from now on, as it is now; return the kernel's name for it and its size in bytes."""
        self._send(f"disk {path}")
        name, _space, sectors = self._read_line().partition(" ")
        if name == "missing":
            raise NotFound(self._subject, f"it has no disk {path}", remedy="Look at lsblk there.")
        if name == "unreadable":
            raise ToolFailed(
                self._subject, f"{path} cannot be read there", remedy="Log in as root, or give become: true."
            )
        if name == "stale" or not sectors.isdigit():
            raise Unsupported(
                self._subject,
                f"its dd reads {path} only as its kernel remembers it",
                remedy="Install coreutils there, or blockdev of util-linux.",
            )
        return name, int(sectors) * 512

    def hash_chunks(self, count: int) -> dict[int, str]:
        """Return the digests of the disk's chunks."""
        self._send(f"hashes {count}")
        found: dict[int, str] = {}
        while (line := self._read_line()) != "end":
            number, _space, digest = line.partition(" ")
            if not number.isdigit() or int(number) >= count:
                raise self._refuse_answer()
            found[int(number)] = digest
        return found

    def exchange(self, size_bytes: int, requests: collections.deque[tuple[int, str]]) -> t.Iterator[Chunk | None]:
        """Yield, for each (chunk, its digest here) asked for, what came; None when it is the same there.

        More may be asked for meanwhile.
        """
        sent: collections.deque[int] = collections.deque()
        while requests or sent:
            while requests and len(sent) < _AHEAD:
                number, digest = requests.popleft()
                self._send(f"chunk {number} {digest}")
                sent.append(number)
            number = sent.popleft()
            yield self._read_chunk(number, measure_chunk(size_bytes, number))

    def freeze(self, places: t.Sequence[str], limit_s: float) -> str:
        """Freeze file systems, for a limited time; return why it was not done, empty when it was."""
        for place in places:
            self._send(f"place {place}")
        self._send(f"freeze {int(limit_s)}")
        answer, _space, reason = self._read_line().partition(" ")
        return "" if answer == "frozen" else reason[:200] or "fsfreeze failed"

    def thaw(self) -> bool:
        """Thaw what is frozen; tell whether all of it had been frozen until now."""
        self._send("thaw")
        return self._read_line().strip() == "thawed"

    # Lines and bytes

    def _send(self, line: str) -> None:
        try:
            os.write(self._input.fileno(), f"{line}\n".encode())
        except OSError:
            raise self._explain() from None

    def _read_chunk(self, number: int, length: int) -> Chunk | None:
        told, _space, digest = self._read_line().partition(" ")
        if told == str(number) and digest == "same":
            return None
        content = self._read(length) if told == str(number) else b""
        if self._read_line() != f"{number} end":
            raise Conflict(
                self._subject,
                "its disk gives less than its size, or other things than were asked for",
                remedy="See in its kernel's log whether the disk fails or changed its size. What was copied is kept.",
            )
        return Chunk(number, digest, content)

    def _read_line(self) -> str:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MOST_LINE_BYTES:
                raise self._refuse_answer()
            self._fill()
        line = self._take(self._buffer.index(b"\n") + 1)
        return line[:-1].decode(errors="replace")

    def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._fill()
        return self._take(length)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _fill(self) -> None:
        wait_s = min(_SILENCE_S, self._deadline - time.monotonic())
        if wait_s <= 0 or not self._poll.poll(wait_s * 1000):
            raise self._explain() if self._process.poll() is not None else lose_connection(self._subject)
        piece = os.read(self._output.fileno(), _PIECE_BYTES)
        if not piece:
            raise self._explain()
        self._buffer += piece

    def _refuse_answer(self) -> Exception:
        return ToolFailed(self._subject, "its answer is not understood", remedy="See what its login prints.")

    def _explain(self) -> Exception:
        """Return why the session ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._words.seek(0)
        words = self._words.read(_MOST_LINE_BYTES).decode(errors="replace")
        return explain_ending(self._subject, code=self._process.returncode, words=words, has_begun=self._has_begun)


@contextlib.contextmanager
def open_session(login: SshLogin, subject: str) -> t.Iterator[DonorSession]:
    """Yield a session that was greeted; it ends with this thread."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            find_tool(render_login(login), subject),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env={**os.environ, "LC_ALL": "C"},
            bufsize=0,
        )
        try:
            session = DonorSession(process, words, subject)
            session.greet()
            yield session
        finally:
            _end(process)


def _pipes_of(process: subprocess.Popen[bytes]) -> tuple[t.IO[bytes], t.IO[bytes]]:
    return t.cast("t.IO[bytes]", process.stdin), t.cast("t.IO[bytes]", process.stdout)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a session: its script ends with its input."""
    for pipe in _pipes_of(process):
        pipe.close()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

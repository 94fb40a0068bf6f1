# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that asks servers ten times a second, and tells for how long each of them was silent."""

from __future__ import annotations

import threading
import time
import typing as t
import urllib.request
from dataclasses import dataclass, field

EVERY_S = 0.1
TIMEOUT_S = 0.5


@dataclass
class Silence:
    """What one server did while it was watched."""

    asked: int = 0
    answers: list[tuple[float, str]] = field(default_factory=list)
    """When it answered (monotonic), and what."""

    @property
    def failures(self) -> int:
        return self.asked - len(self.answers)

    @property
    def longest_s(self) -> float:
        """Return the longest time between two answers."""
        times = [when for when, _text in self.answers]
        return max((after - before for before, after in zip(times, times[1:])), default=float("inf"))


class Watcher:
    """Watches servers while it is entered: each by a thread of its own, so that a silent one delays no other."""

    def __init__(self, addresses: t.Mapping[str, str], path: str = "/", *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self.seen = {name: Silence() for name in addresses}
        self._urls = {name: f"http://{address}{path}" for name, address in addresses.items()}
        self._left = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in addresses]

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        for thread in self._threads:
            thread.join()

    def describe(self) -> str:
        """Return one line: the longest silence of each server."""
        return ", ".join(f"{name} {seen.longest_s:.1f} s" for name, seen in sorted(self.seen.items()))

    def _watch(self, name: str) -> None:
        seen = self.seen[name]
        while not self._left.is_set():
            started = time.monotonic()
            seen.asked += 1
            try:
                with urllib.request.urlopen(self._urls[name], timeout=self._timeout_s) as answer:
                    seen.answers.append((time.monotonic(), answer.read().decode()))
            except OSError:
                pass
            self._left.wait(max(0.0, started + EVERY_S - time.monotonic()))

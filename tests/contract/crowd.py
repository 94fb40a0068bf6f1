# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes that meet at one catalog."""

from __future__ import annotations

import multiprocessing

fork = multiprocessing.get_context("fork")
TIMEOUT_S = 60


class Crowd:
    """Processes that all start their work at the same moment and report into one queue."""

    def __init__(self, count, work, *args):
        self._gate = fork.Barrier(count)
        self._answers = fork.Queue()
        self._processes = [fork.Process(target=self._run, args=(work, number, *args)) for number in range(count)]
        for process in self._processes:
            process.start()

    def _run(self, work, number, *args):
        self._gate.wait(TIMEOUT_S)
        self._answers.put(work(number, *args))

    def collect(self):
        """Return what the processes reported; none may have failed."""
        answers = [self._answers.get(timeout=TIMEOUT_S) for _process in self._processes]
        for process in self._processes:
            process.join(TIMEOUT_S)
        assert [process.exitcode for process in self._processes] == [0] * len(self._processes)
        return answers

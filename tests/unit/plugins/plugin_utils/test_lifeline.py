# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker whose run is killed ends, with its connections; one whose run goes on is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._actions.lifeline import end_with_run

# A run that forks a worker, which leads a session of its own and waits for a connection, perhaps after its run's end.
RUN = """
import multiprocessing, os, subprocess, sys, time
from ansible_collections.encompass.images.plugins.plugin_utils._actions.lifeline import end_with_run

def work():
    os.setsid()
    connection = subprocess.Popen(["sleep", "60"])
    print(os.getpid(), connection.pid, flush=True)
    while "late" in sys.argv and os.getppid() == multiprocessing.parent_process().pid:
        time.sleep(0.01)
    with end_with_run():
        connection.wait()

multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("when", ["in time", "late"])
def test_a_worker_ends_with_its_run_and_takes_its_connection_along(when: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, when],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    ) as run:
        assert run.stdout
        worker, connection = map(int, run.stdout.readline().split())
        assert is_alive(worker)
        assert is_alive(connection)
        run.kill()
    deadline = time.monotonic() + 10
    while (is_alive(worker) or is_alive(connection)) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = [pid for pid in (worker, connection) if is_alive(pid)]
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    assert alive == []


def test_what_is_done_in_time_is_left_alone() -> None:
    with end_with_run():
        children = subprocess.run(["true"], check=False).returncode
    assert children == 0

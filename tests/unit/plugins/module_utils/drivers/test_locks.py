# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks of objects on a provider: exclusive between processes, and gone with the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import NotFound, StillRunning
from ansible_collections.encompass.images.plugins.module_utils._drivers.locks import hold_contents, hold_objects

HOLDER = """
import pathlib, sys, time
sys.path[:0] = {path!r}
from ansible_collections.encompass.images.plugins.module_utils._drivers.locks import hold_contents, hold_objects
with {lock}:
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(lock: str) -> subprocess.Popen[bytes]:
    """Have a process hold a lock."""
    code = textwrap.dedent(HOLDER).format(path=sys.path, lock=lock)
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert t.cast("t.IO[bytes]", holder.stdout).readline() == b"held\n"
    return holder


def test_a_held_object_is_busy_until_its_holder_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with start_holder(f"hold_objects('clone', ['a'], lock_file=pathlib.Path({str(lock)!r}))") as holder:
        with hold_objects("clone", ["a", "b"], wait_s=0.2, lock_file=lock) as busy:
            assert set(busy) == {"a"}
            assert "still running" in str(busy["a"])
        with hold_objects("machine", ["a"], wait_s=0, lock_file=lock) as busy:
            assert not busy
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with hold_objects("clone", ["a"], wait_s=1, lock_file=lock) as busy:
            assert not busy


def test_many_objects_need_one_descriptor(tmp_path: Path) -> None:
    with hold_objects("clone", [f"c{n}" for n in range(3000)], lock_file=tmp_path / "lock") as busy:
        assert not busy


def test_a_content_is_held_against_other_processes_and_no_other_content_is(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with start_holder(f"hold_contents({lock!r}, ['d1'], 'master a')") as holder:
        refused = pytest.raises(StillRunning, match=r"^master b: a master with the same content is just being")
        with refused, hold_contents(lock, ["d2", "d1"], "master b", wait_s=0.2):
            pass
        with hold_contents(lock, ["d2"], "master b", wait_s=0):
            holder.kill()
            holder.wait()
    with hold_contents(lock, ["d1"], "master b", wait_s=1):
        pass


def test_a_content_is_held_against_other_threads(tmp_path: Path) -> None:
    lock, seen = str(tmp_path / "lock"), []

    def note() -> None:
        with hold_contents(lock, ["d1"], "master b"):
            seen.append("second")

    with hold_contents(lock, ["d1"], "master a"):
        second = threading.Thread(target=note)
        second.start()
        time.sleep(0.2)
        seen.append("first")
    second.join()
    assert seen == ["first", "second"]


def test_a_pool_that_is_gone_is_not_made_to_be_locked(tmp_path: Path) -> None:
    lock = tmp_path / "pool" / "lock"
    with pytest.raises(NotFound, match=r"^master a: "), hold_contents(str(lock), ["d1"], "master a"):
        pass
    assert not lock.parent.exists()

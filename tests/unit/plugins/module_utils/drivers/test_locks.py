# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks of objects on a provider: exclusive between processes, and gone with the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from ansible_collections.encompass.images.plugins.module_utils._drivers.locks import hold_objects

HOLDER = """
import pathlib, sys, time
sys.path[:0] = {path!r}
from ansible_collections.encompass.images.plugins.module_utils._drivers.locks import hold_objects
with hold_objects("clone", ["a"], lock_file=pathlib.Path({lock!r})) as busy:
    print(len(busy), flush=True)
    time.sleep(60)
"""


def test_a_held_object_is_busy_until_its_holder_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = textwrap.dedent(HOLDER).format(path=sys.path, lock=str(lock))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"0\n"
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

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools that want more than they may take: real processes, ended by the kernel."""

from __future__ import annotations

import sys

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._drivers import qemu_img
from ansible_collections.encompass.images.plugins.module_utils._drivers.process import ToolLimits, run_tool

from tests.contract.pools import MIB, make_raw

LIMITS = ToolLimits(cpu_s=0, memory_bytes=1 << 30, file_bytes=MIB)

GREEDY = {
    "time": "while True: pass",
    "memory": "bytes(1 << 31)",
    "words": "while True: print('x' * 1000)",
    "errors": "import sys\nwhile True: print('x' * 1000, file=sys.stderr)",
    "a file": "open({path!r}, 'wb').write(bytes(1 << 21))",
}


@pytest.mark.parametrize("kind", GREEDY)
def test_a_tool_gets_no_more_than_it_may_take(kind, tmp_path):
    program = GREEDY[kind].format(path=str(tmp_path / "file"))
    with pytest.raises(ToolFailed, match=r"failed \(exit"):
        run_tool([sys.executable, "-c", program], subject="tool x", timeout_s=30, limits=LIMITS)


def test_a_conversion_that_outgrows_what_was_measured_is_ended(tmp_path):
    raw = make_raw(tmp_path / "raw", data_bytes=4 * MIB, virtual_bytes=8 * MIB)
    limits = qemu_img.limit_stranger(timeout_s=30, file_bytes=MIB)
    target = str(tmp_path / "target")
    with pytest.raises(ToolFailed, match="File too large"):
        qemu_img.convert(str(raw), "raw", target, subject="image x", timeout_s=30, limits=limits)
    qemu_img.convert(
        str(raw),
        "raw",
        target,
        subject="image x",
        timeout_s=30,
        limits=qemu_img.limit_stranger(timeout_s=30, file_bytes=8 * MIB),
    )

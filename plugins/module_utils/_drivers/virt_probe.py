# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove KVM by booting a kernel under it. Private to this collection; may change without notice.

/dev/kvm may be there and open without errors, and yet every guest kernel hangs (nested and emulated KVM are known for
it), while firmware and boot loaders still run. Only what a kernel prints proves anything.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import select
import shutil
import subprocess
import time
import typing as t

from .._core.virt_type import Proof

DEVICE = pathlib.Path("/dev/kvm")
BOOT = pathlib.Path("/boot")
LIMIT_S = 4.0

# printk's time stamp and first words; what comes before (firmware, decompressor) is not the kernel proper.
_FIRST_LINE = re.compile(rb"Linux version \S+")
_MAX_OUTPUT_BYTES = 1 << 20


def prove_kvm(emulator: str, *, limit_s: float = LIMIT_S, boot: pathlib.Path = BOOT) -> Proof:
    """Boot this host's newest kernel under KVM and wait for its first line."""
    if not DEVICE.exists():
        return Proof(False, f"{DEVICE} is not there")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Proof(False, f"{DEVICE} is there, but may not be opened")
    if shutil.which(emulator) is None:
        return Proof(False, f"{DEVICE} is there, but {emulator} is not")
    kernel = find_kernel(boot)
    if kernel is None:
        return Proof(False, f"{DEVICE} is there, but no readable kernel in {boot} to prove it with")
    return _boot(emulator, kernel, limit_s)


def find_kernel(boot: pathlib.Path) -> pathlib.Path | None:
    """Return the newest kernel that we may read; None when there is none."""
    kernels = [path for path in boot.glob("vmlinuz-*") if "rescue" not in path.name and os.access(path, os.R_OK)]
    return max(kernels, key=_version_key, default=None)


def _version_key(path: pathlib.Path) -> list[tuple[int, str]]:
    """Return what sorts 6.1.0-10 after 6.1.0-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _boot(emulator: str, kernel: pathlib.Path, limit_s: float) -> Proof:
    # setpriv (util-linux): the guest must not outlive us, however we end.
    argv = ["setpriv", "--pdeathsig", "KILL", "--", emulator]
    argv += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-accel", "kvm"]
    argv += ["-m", "256", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as guest:
        started = time.monotonic()
        try:
            output = _read_until_first_line(t.cast("t.IO[bytes]", guest.stdout), started + limit_s)
            took_s = time.monotonic() - started
        finally:
            guest.kill()
        complaint = t.cast("t.IO[bytes]", guest.stderr).read(_MAX_OUTPUT_BYTES).decode(errors="replace").strip()
    if _FIRST_LINE.search(output):
        return Proof(True, f"a kernel booted under {DEVICE} and printed its first line after {took_s:.1f} s")
    if complaint and took_s < limit_s:
        return Proof(False, f"{DEVICE} is there, but QEMU cannot use it: {complaint.splitlines()[-1][:200]}")
    return Proof(False, f"{DEVICE} is there, but a kernel printed nothing within {limit_s:g} s")


def _read_until_first_line(stream: t.IO[bytes], deadline: float) -> bytes:
    """Return what the guest printed until its kernel's first line, its end or the deadline."""
    output = b""
    while not _FIRST_LINE.search(output) and len(output) < _MAX_OUTPUT_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
            break
        block = b""
        with contextlib.suppress(OSError):
            block = os.read(stream.fileno(), 65536)
        if not block:
            break
        output += block
    return output

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ssh-keygen: makes host keys for guests. Private to this collection."""

from __future__ import annotations

import pathlib

from .._core.errors import ToolFailed
from .._core.identity import KeyPair
from .._core.os_errors import explain_os_error
from .process import run_tool


def make_host_key(kind: str, directory: pathlib.Path, *, comment: str, subject: str) -> KeyPair:
    """Return a new key of a type. It passes through ``directory``, which is to be private and short-lived."""
    private, public = directory / "key", directory / "key.pub"
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(private)]
    try:
        run_tool(argv, subject=subject, timeout_s=60)
        pair = KeyPair(private.read_bytes(), public.read_bytes())
        private.unlink()
        public.unlink()
    except OSError as exc:
        raise explain_os_error(subject, "make an ssh host key", exc) from exc
    if pair.fingerprint is None:
        raise ToolFailed(subject, f"ssh-keygen made an {kind} key of an unknown format")
    return pair

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detached signatures, verified by the tools that made them known. Private to this collection."""

from __future__ import annotations

from .._core.errors import ImageRefused, ToolFailed, Unsupported
from .process import ToolLimits, run_tool

# A whole image is read: minisign's older signatures want it in memory, and nothing is written.
_LIMITS = ToolLimits(cpu_s=600, memory_bytes=8 << 30, file_bytes=0)


def verify_signature(kind: str, path: str, signature: str, *, key: str, subject: str) -> None:
    """Raise :class:`ImageRefused` unless the key's owner signed the file's very bytes.

    gpgv trusts every key of the keyring, also one that is expired; minisign's file holds one key.
    """
    commands = {
        "openpgp": ["gpgv", "--homedir", "/nonexistent", "--keyring", key, "--", signature, path],
        "minisign": ["minisign", "-V", "-q", "-p", key, "-x", signature, "-m", path],
    }
    command = commands[kind]
    try:
        run_tool(command, subject=subject, timeout_s=_LIMITS.cpu_s, limits=_LIMITS)
    except Unsupported as exc:
        raise Unsupported(subject, exc.problem, remedy=f"Install {command[0]} on the provider.") from exc
    except ToolFailed as exc:
        raise ImageRefused(
            subject,
            f"its signature does not hold: {exc.problem}",
            remedy="Fetch image and signature again, or look at the key.",
            reason="signature",
        ) from exc

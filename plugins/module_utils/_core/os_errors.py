# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating system's errors as ours. Private to this collection; may change without notice."""

from __future__ import annotations

import errno
import typing as t

from .errors import EncompassError, NoSpace, NotFound, ToolFailed


class _Reason(t.NamedTuple):
    """An error of the system that people can do something about, as tools print it in the C locale."""

    words: str
    remedy: str
    kind: type[EncompassError] = ToolFailed


_FREE_ROOM = "Free room in the pool and run again."
_REASONS = {
    errno.ENOSPC: _Reason("No space left on device", _FREE_ROOM, NoSpace),
    errno.EDQUOT: _Reason("Disk quota exceeded", _FREE_ROOM, NoSpace),
    errno.ENOENT: _Reason("No such file or directory", "See whether its disk is mounted and run again.", NotFound),
    errno.EIO: _Reason("Input/output error", "Look for errors of the disk in the host's kernel log and run again."),
    errno.EROFS: _Reason("Read-only file system", "See why its disk was made read-only, mount it writable, run again."),
}
_OTHER = _Reason("", "Put that right and run again.")
_MOST_CHARACTERS = 300


def explain_os_error(subject: str, action: str, error: OSError) -> EncompassError:
    """Return the error in our family; ``action`` says in words what was being done (``write it``)."""
    where = f" ({error.filename})" if error.filename else ""
    reason = f"cannot {action}{where}: {error.strerror or error}"
    known = _REASONS.get(error.errno or 0, _OTHER)
    return known.kind(subject, reason, remedy=known.remedy)


def explain_tool_error(subject: str, what: str, printed: str) -> EncompassError:
    """Return the error of a tool that printed this; ``what`` says in words what it did (``cp failed``)."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    known = next((reason for reason in _REASONS.values() if reason.words in printed), _OTHER)
    last = _shorten(lines[-1]) if lines else "it printed no reason"
    return (NoSpace if known.kind is NoSpace else ToolFailed)(subject, f"{what}: {last}", remedy=known.remedy)


def _shorten(text: str) -> str:
    """Leave out the middle of a long line: it begins with what was done, and ends with the reason."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} ... {text[-half:]}"

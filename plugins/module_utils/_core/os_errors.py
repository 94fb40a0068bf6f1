# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operating system's errors as ours. Private to this collection; may change without notice."""

from __future__ import annotations

import errno

from .errors import EncompassError, NoSpace, NotFound, ToolFailed

_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain_os_error(subject: str, action: str, error: OSError) -> EncompassError:
    """Return the error in our family; ``action`` says in words what was being done (``write it``)."""
    where = f" ({error.filename})" if error.filename else ""
    reason = f"cannot {action}{where}: {error.strerror or error}"
    if error.errno in _FULL:
        return NoSpace(subject, reason, remedy="Free room in the pool and run again.")
    if error.errno == errno.ENOENT:
        return NotFound(subject, reason)
    return ToolFailed(subject, reason)

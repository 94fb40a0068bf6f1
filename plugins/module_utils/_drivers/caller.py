# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anybody still waits for this module's result. Private to this collection; may change without notice."""

from __future__ import annotations

import select

_STDOUT = 1


def is_gone(descriptor: int = _STDOUT) -> bool:
    """Tell whether the other end of the pipe or socket that takes the result is closed; False when nobody can know."""
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups are always told
    return any(events & (select.POLLERR | select.POLLHUP) for _descriptor, events in poll.poll(0))

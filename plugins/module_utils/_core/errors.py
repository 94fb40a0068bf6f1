# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one family of exceptions. Private to this collection; may change without notice.

Every error names its subject, says what failed and what to do next. Drivers raise these at their
edge; only the runner and the entry points of plugins turn them into a failed task.
"""

from __future__ import annotations

import typing as t


class EncompassError(Exception):
    """Something an operator has to know about, in one sentence.

    ``subject`` is the object's kind and name (``clone web-server-v1-3``), ``problem`` what happened to it,
    ``remedy`` what to do next; neither may hold a secret or a server's whole answer.
    """

    def __init__(self, subject: str, problem: str, *, remedy: str = "") -> None:
        super().__init__(subject, problem, remedy)
        self.subject = subject
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        sentence = f"{self.subject}: {self.problem}"
        return f"{sentence}. {self.remedy}" if self.remedy else sentence

    def to_record(self) -> dict[str, t.Any]:
        """Return the error as it stands in a result or in an object's ``last_error``."""
        return {"msg": str(self), "subject": self.subject, "problem": self.problem, "remedy": self.remedy}


class InvalidRequest(EncompassError):
    """The request itself is wrong; nothing was touched."""


class ImageRefused(InvalidRequest):
    """An image is not fit to be imported; ``reason`` is the class of what is wrong with it."""

    def __init__(self, subject: str, problem: str, *, remedy: str = "", reason: str = "") -> None:
        super().__init__(subject, problem, remedy=remedy)
        self.reason = reason


class NotFound(EncompassError):
    """A named object does not exist."""


class Unsupported(EncompassError):
    """The provider, pool or tool cannot do what was asked."""


class TransitionRefused(EncompassError):
    """The life cycle forbids this operation in the object's state."""


class Conflict(EncompassError):
    """Somebody else holds the object, or its revision has moved on.

    ``holder`` describes the lease in the way (operation, user, run, since, until); None when only the revision moved.
    """

    def __init__(self, subject: str, problem: str, *, remedy: str = "", holder: dict[str, t.Any] | None = None) -> None:
        super().__init__(subject, problem, remedy=remedy)
        self.holder = holder


class StillRunning(EncompassError):
    """An earlier operation on this object has not ended on the provider."""


class MasterChanged(EncompassError):
    """A master's published file is not what was registered."""


class NoSpace(EncompassError):
    """A pool or file system has no room for what was asked."""


class ToolFailed(EncompassError):
    """An external tool, library or daemon failed or did not answer in time."""


class NotReady(EncompassError):
    """A server did not answer within its time limit."""


class StoreUnavailable(EncompassError):
    """The catalog cannot be opened, read or written."""

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A catalog that moved to another store stays behind, and says where it went. Private to this collection; pure."""

from __future__ import annotations

import time
import typing as t

from ...module_utils._core.errors import StoreUnavailable
from .json import from_text, to_text


class StoreMoved(StoreUnavailable):
    """The catalog is in another store now; ``destination`` says which."""

    def __init__(self, subject: str, destination: str, since: float) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
        remedy = "Name that one in ansible.cfg or ENCOMPASS_CATALOG_URL."
        super().__init__(subject, f"moved to {destination} on {moment}", remedy=remedy)
        self.destination = destination


def describe_move(destination: str, now: float) -> str:
    """Return the setting ``moved`` of a catalog that is somewhere else from now on."""
    return to_text({"to": destination, "since": now})


def refuse_moved(subject: str, setting: str) -> None:
    """Raise StoreMoved when the setting ``moved`` says so."""
    if setting:
        moved: dict[str, t.Any] = from_text(setting)
        raise StoreMoved(subject, moved["to"], moved["since"])

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's list of items as requests by name. Private to this collection."""

from __future__ import annotations

import typing as t

from .._core.errors import InvalidRequest


class _Named(t.Protocol):
    @property
    def name(self) -> str:
        """Return the object's name."""
        raise NotImplementedError


NamedT = t.TypeVar("NamedT", bound=_Named)


def collect_by_name(kind: str, requests: t.Sequence[NamedT]) -> dict[str, NamedT]:
    """Return the requests by name; a name that is given twice is refused, for only one of them could hold."""
    collected: dict[str, NamedT] = {}
    for request in requests:
        if request.name in collected:
            raise InvalidRequest(f"{kind} {request.name}", "it is given twice", remedy="Give each name once.")
        collected[request.name] = request
    return collected

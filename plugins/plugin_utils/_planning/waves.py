# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many servers change together, wave after wave. Pure; private to this collection."""

from __future__ import annotations

import math
import re
import typing as t

from ...module_utils._core.errors import InvalidRequest

Wave = t.Union[int, float]
"""A number of servers, or as a float their share of all."""

_PERCENTAGE = re.compile(r"(\d{1,3})\s*%")


def parse_waves(declared: t.Any) -> tuple[Wave, ...]:
    """Return the sizes of the waves from numbers and percentages, as in a play's ``serial``."""
    sizes = declared if isinstance(declared, list) else [declared]
    return tuple(_parse_wave(size) for size in sizes) or (1.0,)


def _parse_wave(size: t.Any) -> Wave:
    text = str(size).strip()
    percentage = _PERCENTAGE.fullmatch(text)
    if percentage and 1 <= int(percentage[1]) <= 100:
        return int(percentage[1]) / 100
    if not isinstance(size, bool) and text.isdigit() and int(text) > 0:
        return int(text)
    raise InvalidRequest(
        "the waves", f"{size!r} is neither a number of servers nor a percentage", remedy='Write them like [1, "50%"].'
    )


def split_waves(servers: t.Sequence[str], sizes: t.Sequence[Wave]) -> tuple[tuple[str, ...], ...]:
    """Return the servers of each wave; the last size is repeated until all servers have their turn."""
    waves: list[tuple[str, ...]] = []
    first = 0
    while first < len(servers):
        size = sizes[min(len(waves), len(sizes) - 1)]
        count = max(1, math.floor(size * len(servers))) if isinstance(size, float) else size
        waves.append(tuple(servers[first : first + count]))
        first += count
    return tuple(waves)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items of a batch, several at a time. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import typing as t

from .._core.errors import EncompassError
from .._core.steps import Step


def perform_each(
    plans: t.Mapping[str, t.Sequence[Step]],
    perform: t.Callable[[str, Step], None],
    *,
    workers: int,
) -> dict[str, EncompassError | None]:
    """Perform each item's steps in order, ``workers`` items at a time; an item stops at its first error."""

    def perform_item(name: str) -> EncompassError | None:
        try:
            for step in plans[name]:
                perform(name, step)
        except EncompassError as exc:
            return exc
        return None

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(workers, len(plans)))) as pool:
        return dict(zip(plans, pool.map(perform_item, plans)))

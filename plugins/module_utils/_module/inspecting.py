# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a system image holds, found out where a hostile one can do no harm. Private to this collection."""

from __future__ import annotations

import typing as t

from .._drivers import guestfs
from .._drivers.watched import run_alone


def inspect_image(
    path: str, format: str, timeout_s: float, *, others: t.Sequence[guestfs.Image] = (), virt_type: str | None = None
) -> dict[str, t.Any]:
    """Return what ``guestfs.inspect_image`` does; raise :class:`ToolFailed` when it takes longer than ``timeout_s``."""
    told: dict[str, t.Any] = run_alone(
        f"image {path}",
        lambda: guestfs.inspect_image(path, format, others=others, virt_type=virt_type),
        timeout_s=timeout_s,
    )
    return told

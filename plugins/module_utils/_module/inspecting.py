# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a system image holds, found out where a hostile one can do no harm. Private to this collection."""

from __future__ import annotations

import typing as t

from .._drivers.guestfs import Image, open_appliance
from .._drivers.system_inspection import inspect_system
from .._drivers.watched import run_alone


def inspect_image(
    path: str, format: str, timeout_s: float, *, others: t.Sequence[Image] = (), virt_type: str | None = None
) -> dict[str, t.Any]:
    """Return what ``inspect_system`` does, of an image that is opened read-only.

    ``others`` are its volumes beside the one with the operating system. Raises :class:`ToolFailed` when it takes longer
    than ``timeout_s``.
    """
    subject = f"image {path}"
    guests = {"image": [Image(path, format), *others]}

    def inspect() -> dict[str, t.Any]:
        with open_appliance(guests, virt_type=virt_type, subject=subject, read_only=True) as appliance:
            return inspect_system(appliance.handle, subject)

    told: dict[str, t.Any] = run_alone(subject, inspect, timeout_s=timeout_s)
    return told

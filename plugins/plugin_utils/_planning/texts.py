# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists as they are declared, and as surveys and the command line give them. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

from ...module_utils._core.errors import InvalidRequest


def parse_list(subject: str, problem: str, value: t.Any) -> list[t.Any]:
    """Return the entries of a list; a text holds them on lines of their own, or with commas between."""
    if isinstance(value, str):
        return [part.strip() for part in re.split(r"[,\n]", value) if part.strip()]
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not value:
        return []
    if not isinstance(value, (list, tuple)):
        raise InvalidRequest(subject, problem)
    return list(value)

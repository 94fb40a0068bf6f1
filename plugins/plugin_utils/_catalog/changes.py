# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference of two records, as history keeps it. Private to this collection; pure."""

from __future__ import annotations

import typing as t

KEEP_ENTRIES = 50
"""Entries kept per object."""

KEEP_S = 400 * 86400.0
"""Age in seconds beyond which entries are dropped: somewhat more than a year, so that yearly work can be compared."""


def diff(before: t.Any, after: t.Any, path: str = "") -> dict[str, list[t.Any]]:
    """Return ``{path: [before, after]}``; lists of the same length are compared item by item, others as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        return _diff_dicts(before, after, path)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return _merge(diff(one, other, f"{path}[{n}]") for n, (one, other) in enumerate(zip(before, after)))
    return {} if before == after and type(before) is type(after) else {path: [before, after]}


def _diff_dicts(before: dict[str, t.Any], after: dict[str, t.Any], path: str) -> dict[str, list[t.Any]]:
    names = sorted(set(before) | set(after))
    return _merge(diff(before.get(name), after.get(name), f"{path}.{name}" if path else name) for name in names)


def _merge(parts: t.Iterable[dict[str, list[t.Any]]]) -> dict[str, list[t.Any]]:
    return {path: change for part in parts for path, change in part.items()}

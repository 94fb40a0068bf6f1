# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two masters. Pure; private to this collection."""

from __future__ import annotations

import typing as t

Body = t.Mapping[str, t.Any]
Packages = t.Optional[t.Mapping[str, str]]


def compare_masters(before: Body, after: Body, packages: tuple[Packages, Packages]) -> dict[str, t.Any]:
    """Return what the second master has otherwise than the first; pairs are ``[first, second]``.

    The packages' difference is None where those of one of them are not known.
    """
    first, second = packages
    software = [body.get("software") or {} for body in (before, after)]
    kernels = [list(one.get("kernels") or ()) for one in software]
    return {
        "packages": None if first is None or second is None else _compare_mappings(first, second),
        "kernels": {
            "added": [kernel for kernel in kernels[1] if kernel not in kernels[0]],
            "removed": [kernel for kernel in kernels[0] if kernel not in kernels[1]],
        },
        "software": _compare_fields(*({**one, "kernels": None} for one in software)),
        "hardware": _compare_fields(before.get("hardware") or {}, after.get("hardware") or {}),
        "virtual_bytes": _compare_sizes(before, after, "virtual_bytes"),
        "allocated_bytes": _compare_sizes(before, after, "allocated_bytes"),
        "items": _compare_named(before.get("items") or (), after.get("items") or ()),
        "inputs": _compare_named(before.get("inputs") or (), after.get("inputs") or ()),
    }


def _compare_mappings(before: Body, after: Body) -> dict[str, dict[str, t.Any]]:
    return {
        "added": {name: after[name] for name in sorted(set(after) - set(before))},
        "removed": {name: before[name] for name in sorted(set(before) - set(after))},
        "changed": {
            name: [before[name], after[name]]
            for name in sorted(set(before) & set(after))
            if before[name] != after[name]
        },
    }


def _compare_fields(before: Body, after: Body) -> dict[str, list[t.Any]]:
    pairs = {name: [before.get(name), after.get(name)] for name in sorted({*before, *after})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _compare_sizes(before: Body, after: Body, field: str) -> dict[str, int]:
    sizes = [sum(volume.get(field) or 0 for volume in body.get("volumes") or ()) for body in (before, after)]
    return {"before": sizes[0], "after": sizes[1], "difference": sizes[1] - sizes[0]}


def _compare_named(before: t.Sequence[Body], after: t.Sequence[Body]) -> dict[str, t.Any]:
    """Compare lists of things with names, in which the order counts."""
    first, second = ({entry["name"]: entry for entry in entries} for entries in (before, after))
    both = [name for name in first if name in second]
    return {
        "added": [name for name in second if name not in first],
        "removed": [name for name in first if name not in second],
        "changed": {name: _compare_fields(first[name], second[name]) for name in both if first[name] != second[name]},
        "reordered": both != [name for name in second if name in first],
    }

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as an aligned table of text. Pure; private to this collection."""

from __future__ import annotations

import typing as t


def format_table(rows: t.Sequence[t.Mapping[str, t.Any]], columns: t.Sequence[str]) -> list[str]:
    """Return a line of headings and a line for each row; what is missing or None is a dash."""
    cells = [[column.replace("_", " ").upper() for column in columns]]
    cells += [[_show(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]


def _show(value: t.Any) -> str:
    return "-" if value in (None, "") else str(value)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables a release can use, whatever store they are in. Private to this collection; pure."""

from __future__ import annotations

import typing as t


class SchemaMismatch(Exception):
    """What is there is not a catalog that this release can use."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def check_version(version: int, migrations: t.Sequence[str]) -> None:
    """Raise SchemaMismatch for tables of a newer release."""
    if version > len(migrations):
        raise SchemaMismatch(
            f"was written by a newer release of encompass.images (schema {version}, known here: {len(migrations)})",
            "Use the newer release.",
        )

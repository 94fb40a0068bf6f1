# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules share. Private to this collection."""

from __future__ import annotations

import typing as t

OPERATIONS: dict[str, dict[str, t.Any]] = {"operations": {"type": "list", "elements": "str", "default": []}}
"""Mirrored by the doc fragment ``operations``; the action plugin keeps it to itself."""

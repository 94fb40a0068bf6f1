# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of all modules that work on a libvirt host. Private to this collection."""

from __future__ import annotations

import typing as t

LIBVIRT_OPTIONS: dict[str, dict[str, t.Any]] = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "timeout_s": {"type": "int", "default": 60},
}
"""Mirrored by the doc fragment ``libvirt``."""

WORKERS_OPTION: dict[str, dict[str, t.Any]] = {"workers": {"type": "int", "default": 4}}
"""Mirrored by the doc fragment ``libvirt.workers``."""

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a customization item that modules ``master`` and ``customize`` share. Private to this collection."""

from __future__ import annotations

import typing as t

from .._core.customization_items import ITEM_TYPES
from .._core.services import STATES

_WORDS = {"type": "list", "elements": "str"}

ITEM_OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True, "choices": list(ITEM_TYPES)},
    "volume": {"type": "str", "default": "auto"},
    "path": {"type": "str"},
    "pattern": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "int"},
    "group": {"type": "int"},
    "required": {"type": "bool", "default": True},
    "target": {"type": "str"},
    "recursive": {"type": "bool", "default": False},
    "service": {"type": "str"},
    "state": {"type": "str", "choices": list(STATES)},
    "default": {"type": "str"},
    "arguments": {
        "type": "dict",
        "options": {"add": {**_WORDS, "default": []}, "remove": {**_WORDS, "default": []}},
    },
    "initrd_modules": _WORDS,
    "description": {"type": "str"},
}

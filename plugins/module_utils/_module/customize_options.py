# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module ``customize`` takes of a clone. Private to this collection."""

from __future__ import annotations

from .item_options import ITEM_OPTIONS

VOLUME = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "format": {"type": "str", "required": True},
}
MOUNT = {
    "device": {"type": "str", "required": True},
    "mountpoint": {"type": "str", "required": True},
    "filesystem": {"type": "str"},
}
LAYOUT = {
    "mounts": {"type": "list", "elements": "dict", "default": [], "options": MOUNT},
    "batchable": {"type": "bool", "default": False},
}
ITEM = {
    **ITEM_OPTIONS,
    # Values of no_log options are cut out of the whole result wherever they occur. Texts without a secret in them are
    # often short words, which names and paths hold as well; so only secret ones are treated like that.
    "content": {"type": "str", "no_log": False},
    "secret_content": {"type": "str", "no_log": True},
    "replacement": {"type": "str", "no_log": False},
    "secret_replacement": {"type": "str", "no_log": True},
    "secret": {"type": "bool", "default": False, "no_log": False},
    "digest": {"type": "str"},
    "inputs": {"type": "list", "elements": "str", "default": []},
}
SEED = {
    "meta_data": {"type": "str"},
    "user_data": {"type": "str", "no_log": True},
    "network_config": {"type": "str"},
}
CLONE = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "str"},
    "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME},
    "layout": {"type": "dict", "options": LAYOUT},
    "hostname": {"type": "str"},
    "machine_id": {"type": "str"},
    "items": {"type": "list", "elements": "dict", "default": [], "options": ITEM},
    "seed": {"type": "dict", "options": SEED},
    "inputs": {"type": "dict", "default": {}},
    "secrets_given": {"type": "list", "elements": "str", "default": [], "no_log": False},
}

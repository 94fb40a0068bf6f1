# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show masters."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.info import InfoAction


class ActionModule(InfoAction):
    """Reads the records of masters."""

    kind = "master"
    filters: t.Mapping[str, str] = {"function": "str", "version": "int", "state": "str"}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show machines."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.info import InfoAction
from ..plugin_utils._catalog.objects import Row


class ActionModule(InfoAction):
    """Reads the records of machines, and tells which operation holds them."""

    kind = "machine"
    filters: t.Mapping[str, str] = {
        "function": "str",
        "deployment": "str",
        "provider": "str",
        "server": "str",
        "clone": "str",
    }

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return a machine's record with the operation that holds it."""
        return {**row.body, "lease": row.lease.to_record() if row.lease else None}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show data volumes."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.data_disks import find_holder
from ..plugin_utils._actions.info import InfoAction
from ..plugin_utils._catalog.objects import Row


class ActionModule(InfoAction):
    """Reads the records of data volumes, and tells which machines have them."""

    kind = "volume"
    filters: t.Mapping[str, str] = {
        "server": "str",
        "deployment": "str",
        "provider": "str",
        "pool": "str",
        "stage": "str",
    }

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return a volume's record, and whether its server's machine has it."""
        return {**row.body, "attached": find_holder(self.catalog, row) is not None}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move the catalog to another store."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ..module_utils._core.errors import InvalidRequest
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._catalog.connect import find_url
from ..plugin_utils._catalog.location import describe_url
from ..plugin_utils._catalog.moving import move_catalog


class ActionModule(CatalogAction):
    """Moves everything that a catalog holds; in check mode from a scratch copy to another."""

    only_reads = True

    def perform(self) -> dict[str, t.Any]:
        """Move, and return how much."""
        if not self._task.args.get("target"):
            raise InvalidRequest("option target", "it is missing", remedy="Say where the catalog goes to.")
        source, target = (find_url(self._task.args.get(option)) for option in ("source", "target"))
        moved = move_catalog(self.connect, source, target)
        counts = {table: moved.counts[table] for table in ("object", "history", "operation", "fact")}
        told = ", ".join(f"{table} {count}" for table, count in counts.items())
        Display().display(f"catalog {describe_url(target)}: {told}")
        return {"changed": moved.changed, **{f"{table}_count": count for table, count in counts.items()}}

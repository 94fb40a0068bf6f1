# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show clones."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.info import InfoAction
from ..plugin_utils._catalog.index import tags_of
from ..plugin_utils._catalog.objects import Row
from ..plugin_utils._planning.versions import find_current


class ActionModule(InfoAction):
    """Reads the records of clones, and tells which are not of their function's current master."""

    kind = "clone"
    filters: t.Mapping[str, str] = {
        "function": "str",
        "version": "int",
        "master": "str",
        "provider": "str",
        "pool": "str",
        "stage": "str",
        "metastate": "str",
        "machine": "str",
        "deployment": "str",
    }

    def perform(self) -> dict[str, t.Any]:
        """Return the records that the options select."""
        masters = {row.name: row.body for row in self.catalog.find("master")}
        functions = {row.name: row.body for row in self.catalog.find("function")}
        names = {body["function"] for body in masters.values()}
        self._current = {function: find_current(function, masters, functions) for function in names}
        self._deployments = {row.name: row.body.get("deployment") for row in self.catalog.find("machine")}
        return super().perform()

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return a clone's record with its deployment and whether another version of its master is current."""
        tags = tags_of(self.kind, row.body)
        current = self._current.get(str(tags.get("function")))
        return {
            **row.body,
            "deployment": self._deployments.get(str(row.body.get("machine"))),
            "stale": current is not None and str(current) != tags.get("version"),
        }

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show clones."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.info import InfoAction
from ..plugin_utils._catalog.index import tags_of
from ..plugin_utils._catalog.objects import Row


class ActionModule(InfoAction):
    """Reads the records of clones, and tells which are not of their function's newest master."""

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
        self._newest: dict[str, int] = {}
        for row in self.catalog.find("master", state="available"):
            function, version = row.body["function"], row.body["version"]
            self._newest[function] = max(version, self._newest.get(function, version))
        self._deployments = {row.name: row.body.get("deployment") for row in self.catalog.find("machine")}
        return super().perform()

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return a clone's record with its deployment and whether a newer version of its master is available."""
        tags = tags_of(self.kind, row.body)
        newest = self._newest.get(str(tags.get("function")))
        return {
            **row.body,
            "deployment": self._deployments.get(str(row.body.get("machine"))),
            "stale": newest is not None and str(newest) != tags.get("version"),
        }

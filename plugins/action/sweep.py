# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what verify found to be nobody's."""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import Conflict
from ..plugin_utils._actions.base import CatalogAction


class ActionModule(CatalogAction):
    """Runs the module on what the catalog still knows nothing of."""

    only_reads = True

    def perform(self) -> dict[str, t.Any]:
        """Refuse what belongs to somebody by now, and have the provider remove the rest.

        A new server may get the address of one that is gone, and with it what is just removed: so that is told.
        """
        remains = self.get_list("remains")
        if not remains:
            return {"changed": False, "objects": []}
        for item in remains:
            self._require_nobodys(item)
        result: dict[str, t.Any] = self._execute_module(
            module_name="encompass.images.sweep", module_args=dict(self._task.args), task_vars=self.task_vars
        )
        for item in remains:
            self._require_nobodys(item, since=" since it was to be removed, and may lack it")
        return result

    def _require_nobodys(self, item: t.Mapping[str, t.Any], since: str = "") -> None:
        owner = ""
        if item.get("type") == "directory":
            name = str(item.get("path")).rpartition("/")[2]
            owner = f"clone {name}" if self.catalog.get("clone", name) else ""
        else:
            owner = next((f"machine {row.name}" for row in self.catalog.find("machine") if _has(row.body, item)), "")
        if owner:
            what = item.get("path") or item.get("domain") or item.get("address")
            raise Conflict(f"{item.get('type')} {what}", f"it belongs to {owner}{since}", remedy="Verify again.")


def _has(machine: t.Mapping[str, t.Any], item: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a domain or a reserved address is a machine's."""
    if item.get("type") == "domain":
        return bool(machine["uuid"] == item.get("uuid"))
    mac = str(item.get("mac") or "").lower()
    return item.get("type") == "reservation" and mac in [nic["mac"].lower() for nic in machine["nics"]]

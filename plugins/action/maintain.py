# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move clones to maintenance."""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import InvalidRequest, NotFound
from ..module_utils._core.lifecycle import settle_event
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._actions.naming import require_clone
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Reading, Writing


class ActionModule(CatalogAction):
    """The life cycle's reconfigure, on a batch of clones: only their records change, all of them or none."""

    def perform(self) -> dict[str, t.Any]:
        """Move the clones, and say where their servers are."""
        before: list[Body] = []
        after: list[Body] = []
        with self.catalog.transaction() as tx:
            wanted = self._find_clones(tx)
            for name, deployment in wanted.items():
                before.append(tx.require("clone", name).body)
                after.append(self._move(tx, name, before[-1], deployment))
            servers = [self._describe(tx, name) for name in wanted]
        changes = [
            {"before_header": f"clone {name}", "after_header": f"clone {name}", "before": old, "after": new}
            for name, old, new in zip(wanted, before, after)
            if old != new
        ]
        return {"changed": bool(changes), "servers": servers, "diff": changes}

    def _find_clones(self, reading: Reading) -> dict[str, str | None]:
        """Return the clones, each with the deployment that is there for its maintenance alone."""
        found: dict[str, str | None] = {}
        for name in self.get_list("deployments"):
            machines = reading.find("machine", deployment=str(name))
            if not machines:
                raise NotFound(f"deployment {name}", "it has no servers", remedy="Deploy it first.")
            found.update({str(row.body["clone"]): str(name) for row in machines})
        found.update({require_clone(reading, str(name)).name: None for name in self.get_list("clones")})
        if not found:
            raise InvalidRequest("maintain", "neither clones nor deployments are given")
        return found

    def _move(self, tx: Writing, name: str, body: Body, deployment: str | None) -> Body:
        after = settle_event(name, body, "reconfigure") or {}
        if deployment is not None:
            after["maintenance_deployment"] = deployment
        tx.put("clone", name, after, verb="reconfigure", owner=self.task_owner())
        return after

    def _describe(self, reading: Reading, name: str) -> dict[str, t.Any]:
        clone = reading.require("clone", name).body
        machine = reading.require("machine", clone["machine"]).body if clone["machine"] else {}
        nics = machine.get("nics") or [{}]
        return {
            "clone": name,
            "server": machine.get("server"),
            "address": nics[0].get("address"),
            "provider": clone["provider"],
            "master": clone["master"],
            "stage": clone["stage"],
        }

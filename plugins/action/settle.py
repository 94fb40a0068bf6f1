# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End what place began."""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import NotFound
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._catalog.objects import Body, Key, Operation


class ActionModule(CatalogAction):
    """Releases deployments, and fails when servers of theirs are not what was planned."""

    def perform(self) -> dict[str, t.Any]:
        """Release every operation, then say which servers are not active."""
        known = {operation.id: operation for operation in self.catalog.operations("running")}
        problems: list[str] = []
        for identifier in self.get_list("operations"):
            if identifier not in known:
                raise NotFound(f"operation {identifier}", "it does not run any more", remedy="Run the playbook again.")
            problems += self._settle(known[identifier])
        result: dict[str, t.Any] = {"changed": False, "problems": problems}
        if problems:
            result.update(failed=True, msg="; ".join(problems))
        return result

    def _settle(self, operation: Operation) -> list[str]:
        name = next(name for kind, name in operation.targets if kind == "deployment")
        machines = self.catalog.find("machine", deployment=name)
        bodies: dict[Key, Body | None] = {}
        if operation.verb == "retire":
            if not machines:
                bodies[("deployment", name)] = None
            problems = [f"server {row.body['server']} is still there" for row in machines]
        else:
            wanted = {target[1] for target in operation.targets if target[0] == "machine"}
            problems = [self._describe_problem(row.body) for row in machines if row.name in wanted]
        self.catalog.commit(operation.id, bodies)
        return [problem for problem in problems if problem]

    def _describe_problem(self, machine: Body) -> str:
        clone = self.catalog.require("clone", machine["clone"]).body
        if clone["stage"] == "active":
            return ""
        error = clone.get("last_error") or {}
        return str(error.get("msg") or f"server {machine['server']}: its clone is {clone['stage']}, not active")

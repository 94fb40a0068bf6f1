# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End what place began, or look whether it goes as planned."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils._core.errors import NotFound
from ..plugin_utils._actions.base import DEPLOYMENT_LEASE_S, CatalogAction
from ..plugin_utils._actions.data_disks import list_data_disks
from ..plugin_utils._catalog.objects import Body, Key, Operation, Row

Problems = dict[str, str]
"""Machine (or clone or data volume without one) -> what is wrong, in a sentence."""


class ActionModule(CatalogAction):
    """Releases deployments, and fails when servers of theirs are not what was planned."""

    def perform(self) -> dict[str, t.Any]:
        """Release the operations and say which servers are not as planned; with ``expected`` only if there are such."""
        operations = [self.catalog.renew(name, DEPLOYMENT_LEASE_S) for name in self.get_list("operations")]
        expected = self._task.args.get("expected")
        problems: Problems = {}
        if expected is not None:
            problems = self._examine_clones(expected)
        if expected is None or problems:
            for operation in operations:
                found = self._settle(operation)
                problems = problems or found
            problems = {**(self._task.args.get("refused") or {}), **problems}
        result: dict[str, t.Any] = {
            "changed": False,
            "problems": list(problems.values()),
            "unsettled": sorted(problems),
        }
        if problems and not boolean(self._task.args.get("tolerate", False)):
            result.update(failed=True, msg="; ".join(problems.values()))
        return result

    def _examine_clones(self, expected: t.Mapping[str, str]) -> Problems:
        problems: Problems = {}
        for name, stage in expected.items():
            clone = self.catalog.require("clone", name).body
            data = self._find_missing_data(clone["machine"])
            if clone["stage"] != stage or clone.get("last_error") or data:
                problems[clone["machine"] or name] = data or _describe_problem(name, clone, stage)
        return problems

    def _find_missing_data(self, machine_name: str | None) -> str:
        """Return why a data volume of a machine is not there; "" when all are."""
        machine = self.catalog.get("machine", machine_name) if machine_name else None
        try:
            if machine is not None:
                list_data_disks(self.catalog, machine.body)
        except NotFound as exc:
            return str(exc)
        return ""

    def _settle(self, operation: Operation) -> Problems:
        name = next(name for kind, name in operation.targets if kind == "deployment")
        machines = self.catalog.find("machine", deployment=name)
        bodies = self._drop_leaving(name)
        problems: Problems = {}
        if operation.verb == "retire":
            left = self._list_leaving(name)
            if not machines and not left:
                bodies[("deployment", name)] = None
            problems = {row.name: f"server {row.body['server']} is still there" for row in machines}
            problems.update({row.name: f"clone {row.name} is still there" for row in left if not row.body["machine"]})
            kept = [row for row in self.catalog.find("volume", deployment=name) if self._has_failed(row.body)]
            problems.update({row.name: row.body["last_error"]["msg"] for row in kept})
        else:
            wanted = {target[1] for target in operation.targets if target[0] == "machine"}
            for row in machines:
                clone = self.catalog.require("clone", row.body["clone"]).body
                if row.name in wanted and (clone["stage"] != "active" or self._has_failed(clone)):
                    data = self._find_missing_data(row.name)
                    problems[row.name] = data or _describe_problem(row.body["clone"], clone, "active")
        self.catalog.commit(operation.id, bodies)
        return problems

    def _list_leaving(self, deployment: str) -> list[Row]:
        """Return the clones that were to be deleted with their servers and are still there."""
        record = self.catalog.get("deployment", deployment)
        leaving = (record.body.get("leaving") or ()) if record else ()
        return list(self.catalog.get_some([("clone", name) for name in leaving]).values())

    def _drop_leaving(self, deployment: str) -> dict[Key, Body | None]:
        """Return the deployment's record without the clones that are gone; nothing when it named none."""
        record = self.catalog.get("deployment", deployment)
        if record is None or "leaving" not in record.body:
            return {}
        left = [row.name for row in self._list_leaving(deployment)]
        body = {key: value for key, value in record.body.items() if key != "leaving"}
        return {("deployment", deployment): {**body, "leaving": left} if left else body}

    def _has_failed(self, body: Body) -> bool:
        """Tell whether something failed on a clone or data volume in these very operations, though it is there."""
        return (body.get("last_error") or {}).get("operation") in self.get_list("operations")


def _describe_problem(name: str, clone: Body, stage: str) -> str:
    error = clone.get("last_error") or {}
    machine = f"server {clone['machine']}" if clone["machine"] else "no server"
    return str(error.get("msg") or f"{machine}: its clone {name} is {clone['stage']}, not {stage}")

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have captured masters prove themselves."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils._core.errors import InvalidRequest
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._actions.library import Library
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Writing
from ..plugin_utils._planning.versions import UNPROVEN


class ActionModule(CatalogAction):
    """Makes a master available when servers of it are active, by the catalog's own records."""

    def perform(self) -> dict[str, t.Any]:
        """Look at the proof of each master, or end it."""
        return self._end() if boolean(self._task.args.get("ended", False)) else self._judge()

    def _end(self) -> dict[str, t.Any]:
        """Forget the deployments that are gone; they were needed until then by a run after one that was cut off."""
        owner, changed = self.task_owner(), False
        with self.catalog.transaction() as tx:
            for proof in self.get_list("proofs"):
                row = tx.get("master", str(proof["master"]))
                if row and row.body.get("proved_by") and not tx.get("deployment", row.body["proved_by"]):
                    kept = {key: value for key, value in row.body.items() if key != "proved_by"}
                    tx.put("master", row.name, kept, verb="prove", owner=owner)
                    changed = True
        return {"changed": changed, "problems": []}

    def _judge(self) -> dict[str, t.Any]:
        """Make masters available; one without a proof stays as it is, with the reason."""
        problems: list[str] = []
        changed = False
        for proof in self.get_list("proofs"):
            with self.catalog.transaction() as tx:
                row = tx.require("master", str(proof["master"]))
                if row.body["state"] != UNPROVEN:
                    continue
                problem = find_problem(tx, row.name, str(proof["deployment"]))
                owner = self.task_owner()
                if problem:
                    tx.put("master", row.name, {**row.body, "last_error": problem}, verb="prove", owner=owner)
                else:
                    Library(tx, self.host, owner).publish(row.name, "prove", proved_by=str(proof["deployment"]))
                changed |= tx.require("master", row.name).body != row.body
            problems += [f"master {row.name}: {problem['msg']}"] if problem else []
        result: dict[str, t.Any] = {"changed": changed, "problems": problems}
        if problems:
            result.update(failed=True, msg="; ".join(problems))
        return result


def find_problem(tx: Writing, master: str, deployment: str) -> Body | None:
    """Return why the deployment's servers prove nothing of the master; None when they do."""
    machines = tx.find("machine", deployment=deployment)
    clones = [tx.require("clone", row.body["clone"]).body for row in machines if row.body.get("clone")]
    if not clones:
        error = InvalidRequest(
            f"deployment {deployment}", "it has no servers, so nothing is proved", remedy="Deploy it first."
        )
        return error.to_record()
    for clone in clones:
        if clone["master"] != master:
            return InvalidRequest(f"deployment {deployment}", f"its servers are of {clone['master']}").to_record()
        if clone["stage"] != "active":
            error = InvalidRequest(
                f"deployment {deployment}", f"its server did not become active, it is {clone['stage']}"
            )
            return clone.get("last_error") or error.to_record()
    return None

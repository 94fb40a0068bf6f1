# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what a capture needs besides the capture itself."""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import InvalidRequest
from ..module_utils._core.lifecycle import Metastate, Stage, State, advance, is_done, read_state
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._actions.capturing import name_clones
from ..plugin_utils._actions.naming import require_clone
from ..plugin_utils._catalog.objects import Body, Row
from ..plugin_utils._planning.captured import can_prove_itself, is_proof_of, plan_proof


class ActionModule(CatalogAction):
    """Refuses, before any guest is stopped, what cannot be captured; says what is to be stopped, proved and retired."""

    only_reads = True

    def perform(self) -> dict[str, t.Any]:
        """Return the work of each provider, the proofs that are due, and the deployments that are done with."""
        items, gone = name_clones(self.catalog, [str(name) for name in self.get_list("clones")])
        rows = [require_clone(self.catalog, str(item["name"])) for item in items]
        clones = {row.name: row.body for row in rows}
        work: dict[str, dict[str, list[Body]]] = {}
        for name, clone in clones.items():
            self._add_work(work.setdefault(clone["provider"], {"deactivate": [], "capture": []}), name, clone)
        spent = [clone for clone in clones.values() if clone["metastate"] == "spent"]
        masters = [row for row in self.catalog.find("master") if self._comes_of(row.body, row.name, clones, gone)]
        return {
            "changed": False,
            "work": work,
            "masters": {row.body["captured_from"]: row.name for row in masters},
            "proofs": self._plan_proofs([(row.name, row.body) for row in masters], clones),
            "left": [self._find_left(row) for row in masters if row.body.get("proved_by")],
            "retire": sorted({clone.get("maintenance_deployment") or "" for clone in spent} - {""}),
        }

    def _comes_of(self, master: Body, name: str, clones: t.Mapping[str, Body], gone: t.Mapping[str, str]) -> bool:
        return master.get("captured_from") in clones or name in gone.values()

    def _add_work(self, work: dict[str, list[Body]], name: str, clone: Body) -> None:
        """Have the clone captured, and stopped before when it runs; raise unless the life cycle lets it."""
        state = read_state(clone)
        if state == State(Metastate.MAINTENANCE, Stage.ACTIVE):
            work["deactivate"].append({"name": clone["machine"]})
        elif not is_done(state, "capture"):
            advance(f"clone {name}", state, "capture")
        work["capture"].append({"name": name})

    def _plan_proofs(self, masters: t.Sequence[tuple[str, Body]], clones: t.Mapping[str, Body]) -> list[Body]:
        wanted = self._task.args.get("proof") or {}
        if not isinstance(wanted, dict):
            raise InvalidRequest("option proof", "it is not a dictionary")
        proofs = []
        for name, master in masters:
            if can_prove_itself(master):
                clone = clones.get(master["captured_from"], {})
                declared = plan_proof(master, self._find_spec(clone), wanted)
                proofs.append({"master": name, "deployment": declared["name"], "declared": declared})
        return proofs

    def _find_left(self, master: Row) -> Body:
        """Return the proof of a master that has proved itself, and whether its servers have yet to be taken away."""
        name = str(master.body["proved_by"])
        there = self.catalog.get("deployment", name)
        is_there = bool(there and is_proof_of(there.body["spec"], master.body))
        return {"master": master.name, "deployment": name, "is_there": is_there}

    def _find_spec(self, clone: Body) -> Body:
        """Return what the deployment of the clone's server was declared as; empty when it is of none."""
        machine = self.catalog.get("machine", str(clone.get("machine")))
        deployment = self.catalog.get("deployment", str(machine.body.get("deployment"))) if machine else None
        return t.cast(Body, deployment.body["spec"]) if deployment else {}

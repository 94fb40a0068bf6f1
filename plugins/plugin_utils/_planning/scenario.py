# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run is asked to plan. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import InvalidRequest
from .ledger import Ledger, Snapshot
from .migrations import plan_migrations
from .planner import plan_deployment, plan_retirement
from .plans import DeploymentPlan, Key
from .reassignments import plan_reassignments, plan_restoration
from .request import DeploymentRequest, MigrationRequest, ReassignRequest
from .updates import plan_rollback, plan_update
from .waves import Wave
from .whereabouts import locate_machines


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Deployments as they are declared, and what is to be done with them or with others by name."""

    deployments: t.Sequence[DeploymentRequest] = ()
    retire: t.Sequence[str] = ()
    update: bool = False
    """Whether the servers of ``deployments`` move to another version; else the deployments are brought about."""
    only: t.Sequence[str] = ()
    """Names of the deployments to update; all when empty."""
    rollback: t.Sequence[str] = ()
    reassign: t.Sequence[ReassignRequest] = ()
    restore: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Machine -> the clone that it shall serve again."""
    migrate: t.Sequence[MigrationRequest] = ()
    waves: t.Sequence[Wave] = (1.0,)

    @property
    def is_halting(self) -> bool:
        """Whether a server that does not come up ends the work; else that server alone goes back."""
        return not self.reassign and not self.restore

    @property
    def _has_others(self) -> bool:
        """Whether something else is to be done than to bring about what is declared."""
        return bool(self.rollback or self.reassign or self.restore or self.migrate)

    def plan(self, ledger: Ledger) -> list[DeploymentPlan]:
        """Return the plans, in the order in which they may take things from each other."""
        locate_machines(ledger)
        plans = [plan_retirement(ledger, name) for name in self.retire]
        plans += [plan_rollback(ledger, name, self.waves) for name in self.rollback]
        plans += plan_reassignments(ledger, self.reassign)
        plans += plan_restoration(ledger, self.restore)
        if self.update:
            return plans + [plan_update(ledger, request, self.waves) for request in self._select_updated()]
        plans += plan_migrations(ledger, self.migrate)
        if self._has_others:
            return plans  # the deployments are there for their inputs alone
        return plans + [plan_deployment(ledger, request) for request in self.deployments]

    def list_concerned(self, snapshot: Snapshot) -> dict[Key, str]:
        """Return the deployments that are planned and all that is theirs, each with its provider, "" for deployments.

        What was seen of them must not have changed since.
        """
        names = self._list_deployments(snapshot)
        machines = [name for name, body in snapshot.machines.items() if body.get("deployment") in names]
        clones = [name for name, body in snapshot.clones.items() if body["machine"] in machines]
        volumes = [name for name, body in snapshot.volumes.items() if body.get("deployment") in names]
        concerned = {"machine": machines, "clone": clones, "volume": volumes}
        places = {
            (kind, name): str(getattr(snapshot, f"{kind}s")[name]["provider"])
            for kind, found in concerned.items()
            for name in found
        }
        return {**{("deployment", name): "" for name in names}, **places}

    def verb_of(self, plan: DeploymentPlan) -> str:
        """Return what the journal calls the work of a plan."""
        if plan.body is None:
            return "retire"
        if self.update:
            return "update"
        if self.rollback:
            return "rollback"
        if self.migrate:
            return "migrate"
        return "reassign" if self.reassign or self.restore else "deploy"

    def _list_deployments(self, snapshot: Snapshot) -> list[str]:
        moved: list[ReassignRequest | MigrationRequest] = [*self.reassign, *self.migrate]
        machines = [*self.restore, *(name for request in moved for name in request.machines)]
        homes = [snapshot.machines[name].get("deployment") for name in machines if name in snapshot.machines]
        named = [*self.retire, *self.rollback, *(request.deployment for request in moved), *homes]
        if self.update:
            named += [request.name for request in self._select_updated()]
        elif not self._has_others:
            named += [request.name for request in self.deployments]
        return list(dict.fromkeys(name for name in named if name))

    def _select_updated(self) -> list[DeploymentRequest]:
        declared = {request.name: request for request in self.deployments}
        unknown = [name for name in self.only if name not in declared]
        if unknown:
            raise InvalidRequest(
                f"deployment {unknown[0]}",
                "it is not declared",
                remedy=f"encompass_deployments declares {', '.join(declared) or 'none'}.",
            )
        return [request for name, request in declared.items() if not self.only or name in self.only]

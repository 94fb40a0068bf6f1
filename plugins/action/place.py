# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan deployments and reserve what they need."""

from __future__ import annotations

import math
import typing as t
import uuid

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ..module_utils._core.errors import InvalidRequest
from ..plugin_utils._actions.base import DEPLOYMENT_LEASE_S, CatalogAction
from ..plugin_utils._actions.snapshot import read_snapshot
from ..plugin_utils._catalog.objects import Body, Key
from ..plugin_utils._catalog.owner import is_certainly_dead
from ..plugin_utils._catalog.store import Writing
from ..plugin_utils._planning.ledger import DataWishes, FreshNames, Ledger
from ..plugin_utils._planning.plans import DeploymentPlan, arrange_stages, batch_by_provider
from ..plugin_utils._planning.present import describe_plans
from ..plugin_utils._planning.request import parse_deployments, parse_migrations, parse_reassignments
from ..plugin_utils._planning.scenario import Scenario
from ..plugin_utils._planning.waves import parse_waves
from ..plugin_utils._planning.world import ProviderView


class ActionModule(CatalogAction):
    """Plans in one transaction with the reservation, so that no two runs can be promised the same thing."""

    def perform(self) -> dict[str, t.Any]:
        """Plan, reserve, show the plan, and return the work for each provider."""
        scenario = self._read_scenario()
        observed = self.read_observed()
        if not observed:
            raise InvalidRequest("place", "no provider was observed", remedy="Run discover on the providers first.")
        views = {name: ProviderView.parse(name, seen) for name, seen in sorted(observed.items())}
        catalog_uuid, left, now = self.catalog.uuid, self._find_left(), self.catalog.now()
        asked_at = {name: float(seen.get("asked_at", now)) for name, seen in observed.items()}
        with self.catalog.transaction() as tx:
            snapshot = read_snapshot(tx)
            # Before anything is judged: what another run is just changing is in no state that tells anything.
            seen_at = _date_sights(scenario.list_concerned(snapshot), asked_at)
            tx.refuse_unsettled(seen_at, owner=self.run_owner())
            fresh = FreshNames(catalog_uuid, tx.next_number, lambda: str(uuid.uuid4()))
            plans = scenario.plan(Ledger(snapshot, views, fresh, self._read_wishes()))
            before = tx.get_some([key for plan in plans for key in plan.rows])
            operations = [
                self._reserve(tx, plan, scenario.verb_of(plan), left.get(plan.name, ()))
                for plan in plans
                if not plan.settled or plan.name in left
            ]
        for line in describe_plans(plans):
            Display().display(line)
        diff = [
            {
                "before_header": " ".join(key),
                "after_header": " ".join(key),
                "before": row.body if row else "",
                "after": after,
            }
            for plan in plans
            for key, after in plan.rows.items()
            for row in [before.get(key)]
        ]
        return {
            "changed": any(not plan.settled for plan in plans),
            "operations": [operation for operation in operations if operation],
            "deployments": [plan.name for plan in plans],
            "members": [member.to_record() for plan in plans for member in plan.members],
            "refused": {
                member.server: f"server {member.server}: {'; '.join(member.reasons)}"
                for plan in plans
                for member in plan.members
                if member.action == "refuse"
            },
            "work": batch_by_provider(plans),
            "stages": [stage.to_record() for stage in arrange_stages(plans, halting=scenario.is_halting)],
            "diff": diff,
        }

    def _read_scenario(self) -> Scenario:
        given = self._task.args
        return Scenario(
            deployments=parse_deployments(self.get_list("deployments")),
            retire=[str(name) for name in self.get_list("retire")],
            update=given.get("update") is not None,
            only=[str(name) for name in self.get_list("update")],
            rollback=[str(name) for name in self.get_list("rollback")],
            reassign=parse_reassignments(self.get_list("reassign")),
            restore=given.get("restore") or {},
            migrate=parse_migrations(self.get_list("migrate")),
            waves=parse_waves(self.get_list("waves")),
        )

    def _read_wishes(self) -> DataWishes:
        retire = boolean(self._task.args.get("retire_data", False))
        return DataWishes(retire, [str(name) for name in self.get_list("recreate_data")])

    def _find_left(self) -> dict[str, list[Key]]:
        """Return what killed runs hold, by deployment; where nothing is left to do, settle looks and releases it."""
        left: dict[str, list[Key]] = {}
        now = self.catalog.now()
        for operation in self.catalog.operations("running"):
            if operation.until < now or is_certainly_dead(operation.owner):
                for name in (name for kind, name in operation.targets if kind == "deployment"):
                    left.setdefault(name, []).extend(operation.targets)
        return left

    def _reserve(self, tx: Writing, plan: DeploymentPlan, verb: str, left: t.Collection[Key]) -> str:
        """Write the plan's rows and lease what it works on; return the operation's id, "" when there is no work."""
        owner = self.run_owner()
        known = tx.get("deployment", plan.name)
        body = plan.body if plan.body is not None else known.body if known else {"members": []}
        leaving = _list_leaving(tx, plan, known.body if known else {})
        # The deployment first: when another run has it, that is what this run has to be told.
        tx.put("deployment", plan.name, {**body, "leaving": leaving} if leaving else body, verb=verb, owner=owner)
        tx.put_all(plan.rows, verb="place", owner=owner)
        if len(plan.targets) == 1 and plan.body is not None and not left:
            return ""
        # What a killed run has finished is in no plan any more, and has to be released all the same.
        targets = list(dict.fromkeys([*plan.targets, *tx.get_some(left)]))
        return tx.begin(verb, targets, owner=owner, lease_s=DEPLOYMENT_LEASE_S).id


def _date_sights(places: t.Mapping[Key, str], asked_at: t.Mapping[str, float]) -> dict[Key, float]:
    """Return when each object was last seen as it was; what is on a provider that was not reached is not judged."""
    first = min(asked_at.values())
    return {key: asked_at.get(provider, math.inf) if provider else first for key, provider in places.items()}


def _list_leaving(tx: Writing, plan: DeploymentPlan, known: Body) -> list[str]:
    """Return the clones to be deleted, and those that an earlier run was about to delete when it had no server left."""
    earlier = [("clone", name) for name in known.get("leaving") or ()]
    homeless = [row.name for row in tx.get_some(earlier).values() if row.body["machine"] is None]
    return sorted({*plan.leaving, *homeless})

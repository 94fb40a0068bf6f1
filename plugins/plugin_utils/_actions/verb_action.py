# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every verb of the life cycle: lease, one module call for the whole batch, commit. Private to this
collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest
from .._catalog.heartbeat import Heartbeat
from .._catalog.objects import Body, Operation
from .._catalog.store import Writing
from .base import DEPLOYMENT_LEASE_S, LEASE_S, CatalogAction
from .batch import Batch
from .lifeline import end_connections, end_with_run
from .migration_verbs import MIGRATION_VERBS
from .verb import Request, Verb
from .verbs import VERBS

# No verb takes longer; a worker that hangs keeps its objects no longer than that.
LONGEST_S = 4 * 3600.0

_ALL_VERBS = {**VERBS, **MIGRATION_VERBS}

# Options that are for the action alone; everything else goes to the module.
_OWN_OPTIONS = frozenset({"state", "operations", "deployments", "reassign", "clones", "machines", "volumes"})


class VerbAction(CatalogAction):
    """Brings a batch of clones or machines of one provider through one event of the life cycle."""

    module: str
    default_state: str
    own_options: t.AbstractSet[str] = _OWN_OPTIONS
    verbs: t.Mapping[tuple[str, str], Verb] = _ALL_VERBS
    batch_type = Batch
    is_logged = True
    """Whether Ansible writes the module's options into the provider's system log.

    It cuts values of ``no_log`` options out of that line, but lists stand there as ``repr`` writes them, in which it
    does not find a text with several lines or quotes.
    """

    def perform(self) -> dict[str, t.Any]:
        """Run the verb on the items that are due."""
        verb = self._choose_verb()
        items = self.get_list(verb.option)
        batch = self.batch_type(verb, self.host, [str(operation) for operation in self.get_list("operations")])
        result: dict[str, t.Any] = {"changed": False, "objects": []}
        for identifier in batch.outer:
            self.catalog.renew(identifier, DEPLOYMENT_LEASE_S)  # also by tasks that end before a heartbeat would
        if items:
            operation = self._begin(batch, items)
            if operation is not None:
                result = self._run_module(batch, operation)
        return batch.report(result)

    def prepare(self, tx: Writing, item: Body) -> None:
        """Reserve in the catalog what the item asks for and is not there yet."""

    def _choose_verb(self) -> Verb:
        state = str(self._task.args.get("state", self.default_state))
        verb = self.verbs.get((self.module, state))
        if verb is None:
            states = ", ".join(sorted(known for module, known in self.verbs if module == self.module))
            raise InvalidRequest("option state", f"it is {state!r}, not one of {states}")
        return verb

    def _begin(self, batch: Batch, items: t.Sequence[Body]) -> Operation | None:
        """Lease what the batch is about, in one transaction with the checks; None when no item is due."""
        request = Request(self._read_inputs(), self.catalog.uuid)
        with self.catalog.transaction() as tx:
            for item in items:
                self.prepare(tx, item)
                batch.add(tx, item, request)
            if not batch.items:
                return None
            return tx.begin(
                batch.verb.event,
                batch.targets,
                owner=self.task_owner(),
                intent={"provider": self.host, "items": sorted(item["name"] for item in batch.items)},
                lease_s=LEASE_S,
                alongside=batch.outer,
            )

    def _run_module(self, batch: Batch, operation: Operation) -> dict[str, t.Any]:
        """Have the module do the batch, and commit what it reports."""
        options = {key: value for key, value in self._task.args.items() if key not in self.own_options}
        verb = batch.verb
        state = {"state": verb.state} if verb.state else {}
        arguments = {**options, **verb.fixed_options, **state, verb.option: batch.items}
        leases = {operation.id: LEASE_S, **dict.fromkeys(batch.outer, DEPLOYMENT_LEASE_S)}
        result = self.run_leased(verb.module, arguments, leases, longest_s=LONGEST_S)
        if "objects" in result:
            bodies, errors = batch.absorb(result["objects"])
            self.catalog.commit(operation.id, bodies, errors=errors)
        elif "subject" in result:
            self.catalog.abort(operation.id)  # the module refused before it touched anything
        # Anything else says nothing about the world. The objects stay leased to this worker, which is about to end;
        # whoever wants them next takes them over, looks, and finishes what is half done.
        return result

    def run_leased(
        self, module: str, arguments: Body, leases: t.Mapping[str, float], *, longest_s: float
    ) -> dict[str, t.Any]:
        """Run a module while the leases (their seconds by operation) are kept; it ends when one of them is taken over.

        Raises :class:`Conflict` then: what the module has not begun by that time, it does not begin any more.
        """
        beats = [
            Heartbeat(self.catalog, identifier, lease_s, longest_s, when_taken=end_connections)
            for identifier, lease_s in leases.items()
        ]
        task_vars = self.task_vars if self.is_logged else {**self.task_vars, "ansible_no_target_syslog": True}
        result: dict[str, t.Any] = {}
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(end_with_run())
                for beat in beats:
                    stack.enter_context(beat)
                result = self._execute_module(
                    module_name=f"encompass.images.{module}", module_args=arguments, task_vars=task_vars
                )
        finally:
            taken = next((beat.lost for beat in beats if isinstance(beat.lost, Conflict)), None)
            if taken and "objects" not in result:
                raise taken
        return result

    def _read_inputs(self) -> dict[str, t.Mapping[str, t.Any]]:
        """Return the inputs by deployment, and by machine for machines that are reassigned."""
        inputs = {entry["name"]: entry.get("inputs") or {} for entry in self.get_list("deployments")}
        for entry in self.get_list("reassign"):
            names = entry.get("machines") or [entry.get("deployment")]
            inputs.update(dict.fromkeys(names, entry.get("inputs") or {}))
        return inputs

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one runner of all modules: observe, plan, perform, observe again, report. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import EncompassError, ToolFailed
from .._core.steps import Step, Verb
from .._drivers import caller
from .._drivers.locks import hold_objects


@dataclasses.dataclass
class Job:
    """A verb, and the items it shall work on, by name."""

    verb: Verb[t.Any, t.Any]
    items: t.Mapping[str, t.Any]
    presume: t.Callable[[t.Any, t.Any], t.Any] = lambda _item, seen: seen
    """(item, seen) -> what would be seen if the steps that come before in a play, and are only planned, were done."""


@dataclasses.dataclass
class Outcome:
    """What became of one item."""

    name: str
    steps: t.Sequence[Step] = ()
    changed: bool = False
    error: EncompassError | None = None
    record: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    diff: tuple[t.Any, t.Any] | None = None

    def to_result(self) -> dict[str, t.Any]:
        """Return the item as it stands in the module's result."""
        result: dict[str, t.Any] = {
            "name": self.name,
            "changed": self.changed,
            "failed": self.error is not None,
            "steps": [step.describe() for step in self.steps],
            "record": self.record,
        }
        if self.error is not None:
            result.update(self.error.to_record())
        return result


def run_module(
    argument_spec: dict[str, t.Any],
    open_job: t.Callable[[dict[str, t.Any]], t.ContextManager[Job]],
    **module_options: t.Any,
) -> None:
    """Run a module: ``open_job`` turns its parameters into a job and closes what the job had open."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **module_options)
    try:
        with open_job(module.params) as job:
            outcomes = run_job(job, check_mode=module.check_mode)
    except EncompassError as exc:
        module.fail_json(**exc.to_record())
    result = summarize(outcomes)
    (module.fail_json if result["failed"] else module.exit_json)(**result)


def run_job(job: Job, *, check_mode: bool) -> list[Outcome]:
    """Bring every item of the job to what it asks for; one item's failure does not lose the others."""
    seen = job.verb.observe(job.items)
    if check_mode:
        return [plan_item(job, name, presume_seen(job, name, seen[name])) for name in job.items]
    outcomes = {name: plan_item(job, name, seen[name]) for name in job.items}
    outcomes.update(perform_items(job, {name: outcome for name, outcome in outcomes.items() if outcome.steps}))
    return list(outcomes.values())


def presume_seen(job: Job, name: str, seen: t.Any) -> t.Any:
    """Return what one item would see after the steps that were only planned before."""
    return seen if isinstance(seen, EncompassError) else job.presume(job.items[name], seen)


def plan_item(job: Job, name: str, seen: t.Any) -> Outcome:
    """Return what would become of one item, given what is there."""
    item = job.items[name]
    outcome = Outcome(name)
    try:
        if isinstance(seen, EncompassError):
            raise seen
        outcome.steps = tuple(job.verb.plan(item, seen))
        outcome.record = job.verb.report(item, seen, outcome.steps)
        outcome.changed = bool(outcome.steps)
        if outcome.changed:
            outcome.diff = job.verb.diff(item, seen, outcome.steps)
    except EncompassError as exc:
        outcome.error = exc
    return outcome


def perform_items(job: Job, pending: t.Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Perform what is pending, under the objects' locks, and prove it by a second observation.

    The items are observed again once locked: an earlier run that was still at work may have finished them.
    """
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(hold_objects(job.verb.lock_kind, sorted(pending))) if pending else {}
        outcomes = {name: Outcome(name, error=error) for name, error in busy.items()}
        free = {name: job.items[name] for name in pending if name not in busy}
        seen = job.verb.observe(free) if free else {}
        planned = {name: plan_item(job, name, seen[name]) for name in free}
        outcomes.update(planned)
        plans = {name: outcome.steps for name, outcome in planned.items() if outcome.steps}
        if plans:
            _require_caller()
            failures = _perform(job, plans)
            after = _observe_again(job, plans)
            for name in plans:
                outcomes[name] = prove_item(job, planned[name], failures.get(name), after[name])
    return outcomes


def _require_caller() -> None:
    """Raise :class:`ToolFailed` when nobody waits any more: the run was killed, or another one has taken over from it.

    Nothing was touched yet; who takes over looks at what there is, and must not find it changed afterwards.
    """
    if caller.is_gone():
        raise ToolFailed("this module", "the run that started it is gone, so nothing was done")


def _perform(job: Job, plans: t.Mapping[str, t.Sequence[Step]]) -> t.Mapping[str, EncompassError | None]:
    """Perform; an error of the whole batch is every item's, since from now on something may have been touched."""
    try:
        return job.verb.perform(plans)
    except EncompassError as exc:
        return dict.fromkeys(plans, exc)


def _observe_again(job: Job, plans: t.Collection[str]) -> t.Mapping[str, t.Any]:
    """Return what is there afterwards; what kept us from looking is every item's error."""
    try:
        return job.verb.observe({name: job.items[name] for name in plans})
    except EncompassError as exc:
        return dict.fromkeys(plans, exc)


def prove_item(job: Job, planned: Outcome, failure: EncompassError | None, seen: t.Any) -> Outcome:
    """Return the item's outcome from what is there now; a step left over is an error."""
    proof = plan_item(job, planned.name, seen)
    error = failure or proof.error
    if error is None and proof.steps:
        left = "; ".join(step.describe() for step in proof.steps)
        error = ToolFailed(planned.name, f"every step reported success, yet this is still to be done: {left}")
    return dataclasses.replace(planned, error=error, record=proof.record)


def summarize(outcomes: t.Sequence[Outcome]) -> dict[str, t.Any]:
    """Return the module's whole result from its items' outcomes."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    result: dict[str, t.Any] = {
        "changed": any(outcome.changed for outcome in outcomes),
        "failed": bool(failed),
        "objects": [outcome.to_result() for outcome in outcomes],
        "diff": [
            {"before_header": outcome.name, "after_header": outcome.name, "before": before, "after": after}
            for outcome in outcomes
            if outcome.diff is not None
            for before, after in [outcome.diff]
        ],
    }
    if failed:
        more = f" (and {len(failed) - 1} more of {len(outcomes)})" if len(failed) > 1 else ""
        result["msg"] = f"{failed[0].error}{more}"
    return result

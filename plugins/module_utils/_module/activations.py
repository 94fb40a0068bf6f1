# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``activate``: machines that run and answer, or are off. Private to this collection."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._core.activation import (
    Activation,
    ActivationSeen,
    Answer,
    AwaitAnswer,
    PowerOffDomain,
    Probe,
    ResumeDomain,
    StartDomain,
    StopDomain,
    diff_activation,
    explain_obstinacy,
    explain_silence,
    plan_activation,
    presume_activation,
    read_activation,
    report_activation,
)
from .._core.errors import EncompassError
from .._core.provider import Power, PowerControl, PowerSeen
from .._core.steps import Step
from .._drivers import caller
from .._drivers.libvirt import open_host
from .._drivers.readiness import ask_all, await_answers
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job

LOOK_S = 2.0
"""How long a running server has to answer when we only look."""
POLL_S = 0.25
REPEAT_S = 5.0
"""A power button that is pressed before the guest listens is not heard."""

Failures = dict[str, t.Optional[EncompassError]]


class ActivateVerb:
    """Start and stop machines; all of a batch at once, since booting is waiting."""

    lock_kind = "machine"

    def __init__(self, host: PowerControl, *, workers: int) -> None:
        self._host = host
        self._workers = workers
        self._answers: dict[str, Answer] = {}
        self._stopped: dict[str, str] = {}

    def observe(self, items: t.Mapping[str, Activation]) -> dict[str, ActivationSeen | EncompassError]:
        """Return each machine's power and whether its server answers; one that has just answered is not asked again."""
        powers = self._host.observe_power(list(items))
        probes = {name: item.probe for name, item in items.items() if item.probe and _is_running(powers[name])}
        unasked = {name: probe for name, probe in probes.items() if name not in self._answers}
        answers = {**ask_all(unasked, limit_s=LOOK_S), **self._answers}
        observed: dict[str, ActivationSeen | EncompassError] = {}
        for name in items:
            power = powers[name]
            answer = answers.get(name) if name in probes else None
            stopped = self._stopped.get(name, "")
            observed[name] = power if isinstance(power, EncompassError) else ActivationSeen(power, answer, stopped)
        return observed

    def plan(self, item: Activation, seen: ActivationSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_activation(item, seen)

    def report(self, item: Activation, seen: ActivationSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the clone's stage, and how its server answered."""
        return report_activation(item, seen)

    def diff(self, item: Activation, seen: ActivationSeen, _steps: t.Sequence[Step]) -> tuple[t.Any, t.Any]:
        """Return the machine's power before and after."""
        return diff_activation(item, seen)

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> Failures:
        """Switch all machines, then wait for all of them together."""
        since: dict[str, float] = {}

        def switch(name: str, step: Step) -> None:
            self._switch(name, step)
            since[name] = time.monotonic()

        failures: Failures = dict(perform_each(plans, switch, workers=self._workers))
        working = {name: steps for name, steps in plans.items() if failures[name] is None}
        failures.update(self._await_answers(_pick(working, AwaitAnswer), since))
        failures.update(self._await_stops(_pick(working, StopDomain), since))
        return failures

    def _switch(self, name: str, step: Step) -> None:
        if isinstance(step, StartDomain):
            self._host.start(name)
        elif isinstance(step, ResumeDomain):
            self._host.resume(name)
        elif isinstance(step, StopDomain):
            self._host.request_shutdown(name)
        elif isinstance(step, PowerOffDomain):
            self._host.power_off(name)
            self._stopped[name] = "destroyed"

    def _await_answers(self, steps: t.Mapping[str, AwaitAnswer], since: t.Mapping[str, float]) -> Failures:
        probes: dict[str, Probe] = {name: step.probe for name, step in steps.items()}
        answers = await_answers(probes, since, self._find_futility)
        self._answers.update({name: answer for name, answer in answers.items() if isinstance(answer, Answer)})
        return {
            name: None if isinstance(answer, Answer) else explain_silence(name, answer)
            for name, answer in answers.items()
        }

    def _find_futility(self, name: str) -> str:
        """Return why a server need not be waited for; the next run shall not have to wait for one that is gone."""
        if caller.is_gone():
            return "the run that waited for its server is gone"
        with contextlib.suppress(EncompassError):
            if not _is_running(self._host.observe_power([name])[name]):
                return "it stopped before its server answered"
        return ""

    def _await_stops(self, steps: t.Mapping[str, StopDomain], since: t.Mapping[str, float]) -> Failures:
        """Wait until the machines are off; switch off those that do not obey in time."""
        failures: Failures = {}
        waiting = dict(steps)
        pressed = dict(since)
        while waiting:
            try:
                powers = self._host.observe_power(list(waiting))
            except EncompassError as exc:
                return {**failures, **dict.fromkeys(waiting, exc)}
            for name, power in powers.items():
                try:
                    if self._is_stopped(waiting[name], power, since[name], pressed):
                        failures[name] = None
                except EncompassError as exc:
                    failures[name] = exc
            waiting = {name: step for name, step in waiting.items() if name not in failures}
            if waiting:
                time.sleep(POLL_S)
        return failures

    def _is_stopped(
        self, step: StopDomain, power: PowerSeen | EncompassError | None, since: float, pressed: dict[str, float]
    ) -> bool:
        """Tell whether one machine is off; until then press its button again, and in the end pull its plug."""
        if power is None or (isinstance(power, PowerSeen) and power.power is Power.OFF):
            self._stopped.setdefault(step.name, "shut down")
            return True
        now = time.monotonic()
        if now - since >= step.timeout_s and not step.power_off:
            raise explain_obstinacy(step.name, f"it still runs {step.timeout_s:g} s after it was asked to shut down")
        if now - since >= step.timeout_s:
            self._host.power_off(step.name)
            self._stopped[step.name] = "destroyed"
            return True
        if now - pressed[step.name] >= REPEAT_S:
            pressed[step.name] = now
            self._host.request_shutdown(step.name)
        return False


StepT = t.TypeVar("StepT")


def _pick(plans: t.Mapping[str, t.Sequence[Step]], kind: type[StepT]) -> dict[str, StepT]:
    """Return each item's step of one kind, for the items that have one."""
    return {name: step for name, steps in plans.items() for step in steps if isinstance(step, kind)}


def _is_running(power: PowerSeen | EncompassError | None) -> bool:
    return isinstance(power, PowerSeen) and power.power is Power.RUNNING


@contextlib.contextmanager
def open_activations(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    requests = [
        read_activation(params["state"], {**entry, "power_off": params["power_off"]}) for entry in params["machines"]
    ]
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(
            ActivateVerb(host, workers=params["workers"]), collect_by_name("machine", requests), presume_activation
        )

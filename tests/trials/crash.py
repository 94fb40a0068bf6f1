# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill every operation at each of its steps that change something, run it once more, and compare with a quiet run.

``OPERATION=deploy,update EVERY=5 SEED=7 ROUNDS=10 .venv/bin/python -m tests.trials.crash``: only these operations,
each fifth point of them, and ten rounds each in which it is a matter of luck when who is killed. ``FIRST=23`` goes on
at the 23rd point, where a sweep was interrupted; ``ONLY=GuestFS`` tries the points alone that have this in their words.
"""

from __future__ import annotations

import collections
import difflib
import os
import random
import re
import tempfile
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import images
from tests.lab.commands import LabError
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts
from tests.trials.checkpoint import Checkpoint
from tests.trials.crash_site import COUNT_ONLY, CrashSite, Step
from tests.trials.hooks.crash_hook import Point, kill_run
from tests.trials.operations import OPERATIONS, Operation

VICTIMS = ("controller", "module", "libvirtd")
PEER = "peer"
"""The libvirtd of the other provider, which dies where one is asked for something that concerns both."""
_VERIFY_EVERY = 5
"""What is as in an undisturbed run was verified there; so often it is verified all the same."""


@dataclass
class Figures:
    """What a sweep has done and found."""

    rounds: int = 0
    kills: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, subject: str, problems: t.Sequence[str]) -> None:
        """Count a round, and say what did not hold."""
        self.rounds += 1
        self.findings += [f"{subject}: {problem}" for problem in problems]
        for words in problems or ["as if nobody had died"]:
            print(f"{subject}: {words}", flush=True)


class Trial:
    """One operation on a site: what it passes when nobody dies, and what is different when somebody does."""

    def __init__(self, site: CrashSite, operation: Operation) -> None:
        self._site, self._operation = site, operation
        self.steps: list[Step] = []
        self.state: list[str] = []
        self.seconds = 0.0
        self._judged = 0
        for call in operation.before:
            call.start(site).wait().require_success()
        self._beginning = Checkpoint(site)
        self._operation.reset(site)

    def look(self) -> list[str]:
        """Do the operation undisturbed, and keep what it passes and ends with; return what is wrong even so."""
        watched = [Point(who, "", COUNT_ONLY, who) for who in ("controller", "module")]
        run, self.steps = self._site.watch(self._start, *watched)
        self.seconds = run.require_success().seconds
        self._operation.settle(self._site)
        self.state = self._site.describe()
        unseen = set(self._operation.workers) - {step.who for step in self.steps}
        faults = [
            *self._site.find_faults(),
            *self._site.verify(),
            *(f"no step of the {who} was seen" for who in unseen),
        ]
        return [f"undisturbed: {fault}" for fault in faults]

    def list_points(self) -> list[tuple[Point, str]]:
        """Return every point at which somebody can die, with its words; libvirtd where it is asked for something."""
        points: list[tuple[Point, str]] = []
        numbers = {"controller": 0, "module": 0}
        for step, following in zip(self.steps, [*self.steps[1:], None]):
            numbers[step.who] += 1
            victims = list_victims(step, following)
            points += [(Point(step.who, "", numbers[step.who], victim), step.what) for victim in victims]
        return points

    def kill_at(self, point: Point) -> tuple[bool, list[str]]:
        """Kill at a point and run once more; return whether it was passed, and what is different."""
        self._go_back()
        _run, steps = self._site.watch(self._start, point)
        passed = len(steps) >= point.number
        return passed, [*([] if passed else ["it was not passed, so nobody died"]), *self._judge()]

    def kill_after(self, seconds: float, victim: str) -> tuple[bool, list[str]]:
        """Kill after a time and run once more; return whether that ended the run, and what is different."""
        self._go_back()
        running = self._start()
        time.sleep(seconds)
        if victim == "controller":
            kill_run(running.process.pid)
        else:
            name = {"module": "python3"}.get(victim, victim)
            for host in self._site.lab.hosts:
                host.exec("pkill", "-KILL", "-x", name, check=False)
        done = running.wait()
        self._site.restart_libvirtd()
        return done.returncode != 0, self._judge()

    def _go_back(self) -> None:
        self._beginning.restore()
        self._operation.reset(self._site)

    def _start(self) -> t.Any:
        return self._operation.call.start(self._site)

    def _judge(self) -> list[str]:
        """Run the operation once more; return what is different from an undisturbed run."""
        again = self._operation.again or self._operation.call
        self._site.finish(lambda: again.start(self._site))
        self._operation.settle(self._site)
        problems = [*compare(self.state, self._site.describe()), *self._site.find_faults()]
        self._judged += 1
        return [*problems, *(self._site.verify() if problems or self._judged % _VERIFY_EVERY == 0 else [])]


def list_victims(step: Step, following: Step | None) -> list[str]:
    """Return who can die at a step; what a death after it leaves, one before the next leaves too."""
    daemons = ["libvirtd", *([PEER] if step.what.startswith("migrate ") else [])] if " vir" in step.what else []
    has_next = following is not None and following.who == step.who and " after " not in following.what
    if following is None or not has_next or " after " not in step.what:
        return [step.who, *daemons]
    return [] if " vir" in following.what else daemons


def compare(wanted: t.Sequence[str], found: t.Sequence[str]) -> list[str]:
    """Return what is different, with a sign for what is missing and what is too much."""
    lines = list(difflib.unified_diff(wanted, found, "undisturbed", "found", n=2, lineterm=""))
    return ["\n".join(lines)] if lines else []


def sweep(trial: Trial, name: str, figures: Figures, chance: random.Random) -> None:
    """Kill an operation at its points, each or some, and then at random times."""
    started, every = time.monotonic(), int(os.environ.get("EVERY") or 1)
    attempt(figures, name, lambda: (False, trial.look()))
    points = list(enumerate(trial.list_points(), start=1))
    first, only = int(os.environ.get("FIRST") or 1), re.compile(os.environ.get("ONLY") or "")
    chosen = [one for one in points[chance.randrange(every) :: every] if one[0] >= first and only.search(one[1][1])]
    for number, (point, what) in chosen:
        subject = f"{name} {number}, {point.victim} killed at {point.number} of {point.who} ({what})"
        attempt(figures, subject, lambda point=point: trial.kill_at(point))  # type: ignore[misc]
    for _round in range(int(os.environ.get("ROUNDS") or 3)):
        victim, seconds = chance.choice(VICTIMS), chance.uniform(0, trial.seconds)
        subject = f"{name}, {victim} killed after {seconds:.2f} s"
        attempt(figures, subject, lambda after=(seconds, victim): trial.kill_after(*after))  # type: ignore[misc]
    taken = time.monotonic() - started
    counts = collections.Counter(point.victim for _number, (point, _what) in points)
    listed = ", ".join(f"{victim} {counts[victim]}" for victim in [*VICTIMS, PEER])
    print(f"{name}: {len(chosen)} of {len(points)} points ({listed}), {taken:.0f} s", flush=True)


def attempt(figures: Figures, subject: str, do: t.Callable[[], tuple[bool, list[str]]]) -> None:
    """Do a round; what is raised in it is a finding as well."""
    try:
        killed, problems = do()
    except (AssertionError, LabError) as exc:
        killed, problems = True, [f"it does not get further: {exc}"]
    figures.kills += killed
    figures.add(subject, problems)


def main() -> int:
    """Sweep the operations that are asked for; end with one line of figures."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    names = [name for name in os.environ.get("OPERATION", "").split(",") if name] or list(OPERATIONS)
    figures, started = Figures(), time.monotonic()
    for name in names:
        with tempfile.TemporaryDirectory(prefix="encompass-crash-") as scratch, LabHosts(2, share_guests=True) as lab:
            site = CrashSite(lab, Controller(Path(scratch) / "controller", lab=lab))
            site.prepare(images.ensure_image("mini"))
            sweep(Trial(site, OPERATIONS[name]), name, figures, random.Random(f"{seed} {name}"))
    print(
        f"crash: seed {seed}, rounds {figures.rounds}, kills {figures.kills}, "
        f"duration {time.monotonic() - started:.0f} s, findings {len(figures.findings)}"
    )
    return 1 if figures.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())

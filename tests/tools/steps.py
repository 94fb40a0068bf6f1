# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the steps of `make test`, or those that are named, and close with one line: `N passed, N failed`.

A step of pytest counts its tests, any other step counts as one. The steps after a failed one run all the same. Guests
mostly wait for one another, so one step with guests runs beside all others; what it prints comes in the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.tools.collection_path import PROJECT, link_checkout

RESULTS = PROJECT / ".state" / "results"
BIN = PROJECT / ".venv/bin"


@dataclass(frozen=True)
class Step:
    """One step: its commands run in order, all of them; `pytest` holds what pytest runs, and what it leaves out.

    Steps that are `aside` run beside the others, and print to a file.
    """

    name: str
    commands: tuple[tuple[str, ...], ...] = ()
    pytest: tuple[str, ...] = ()
    limit_min: int = 20
    root: bool = False
    aside: bool = False

    @property
    def log(self) -> Path:
        """Where a step that is aside prints to."""
        return RESULTS / f"{self.name}.log"


@dataclass(frozen=True)
class Outcome:
    """How many parts of a step passed and failed, and how long it took."""

    step: Step
    passed: int
    failed: int
    taken_s: float

    def describe(self) -> str:
        """Return the outcome as a line."""
        return f"{'FAILED' if self.failed else 'ok':8}{self.step.name:16}{self.taken_s:7.0f} s"


INTERRUPTED = threading.Event()
RUNNING: list[subprocess.Popen[bytes]] = []
"""What is to be ended then."""


def ansible_test(*arguments: str) -> tuple[str, ...]:
    return (f"{BIN}/python", "-m", "tests.tools.ansible_test", *arguments)


SCENARIOS = tuple(f"tests/integration/test_{name}.py" for name in ("update", "capture", "migrate"))
"""So many that both lanes end at about the same time."""

STEPS = (
    Step(
        "lint",
        (
            (f"{BIN}/ruff", "check", "."),
            (f"{BIN}/ruff", "format", "--check", "."),
            (f"{BIN}/antsibull-changelog", "lint"),
            (f"{BIN}/antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."),
            (f"{BIN}/ansible-lint", "--offline", "--profile", "production"),
            (f"{BIN}/python", "-m", "tests.tools.artifact"),
        ),
    ),
    Step("types", ((f"{BIN}/python", "-m", "tests.tools.check_types"),)),
    Step("unit", pytest=("tests/unit",)),
    Step("sanity", (ansible_test("sanity"),)),
    # the oldest Python of a provider, and the one of the control node; the newest has a step of its own
    Step("units", (ansible_test("units", "--python", "3.9"), ansible_test("units", "--python", "3.11"))),
    Step("contract", pytest=("tests/contract",), limit_min=50),
    Step("smoke-newest", ((f"{BIN}/python", "-m", "tests.tools.smoke_newest"),)),
    Step("scenarios", pytest=SCENARIOS, limit_min=50, root=True),
    Step(
        "integration",
        pytest=("tests/integration", *(f"--ignore={path}" for path in SCENARIOS)),
        limit_min=80,
        root=True,
        aside=True,
    ),
)


def main(names: list[str]) -> int:
    unknown = set(names) - {step.name for step in STEPS}
    if unknown:
        raise SystemExit(f"unknown steps: {', '.join(sorted(unknown))}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    chosen = [step for step in STEPS if not names or step.name in names]
    with ThreadPoolExecutor(max_workers=2) as lanes:
        ran = [lanes.submit(run_lane, [step for step in chosen if step.aside is aside]) for aside in (False, True)]
        try:
            outcomes = {outcome.step: outcome for lane in ran for outcome in lane.result()}
        except BaseException:
            INTERRUPTED.set()
            for process in list(RUNNING):
                end(process)
            raise
    for step in chosen:
        if step.aside:
            print(f"\n=== {step.name}\n{step.log.read_text(encoding='utf-8', errors='replace')}")
    print("\n" + "\n".join(outcomes[step].describe() for step in chosen))
    passed, failed = (sum(getattr(outcome, part) for outcome in outcomes.values()) for part in ("passed", "failed"))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def run_lane(steps: list[Step]) -> list[Outcome]:
    """Run steps one after the other."""
    outcomes = []
    for step in steps:
        if INTERRUPTED.is_set():
            break
        started = time.monotonic()
        print(f"\n=== {step.name}{': beside the others' if step.aside else ''}", flush=True)
        step.log.unlink(missing_ok=True)
        outcomes.append(Outcome(step, *run_step(step), time.monotonic() - started))
    return outcomes


def run_step(step: Step) -> tuple[int, int]:
    """Return how many parts of the step passed and failed."""
    if step.pytest:
        return run_pytest(step)
    codes = [run_command(command, step) for command in step.commands]
    return (0, 1) if any(codes) else (1, 0)


def run_pytest(step: Step) -> tuple[int, int]:
    """Run the step's tests; a run that ends badly without a failed test counts as one failure."""
    results = RESULTS / f"{step.name}.xml"
    results.unlink(missing_ok=True)
    code = run_command((f"{BIN}/pytest", "-q", "--durations=10", f"--junitxml={results}", *step.pytest), step)
    passed = failed = 0
    if results.exists():
        for suite in ElementTree.parse(results).getroot().iter("testsuite"):
            bad = int(suite.get("errors", 0)) + int(suite.get("failures", 0))
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
            failed += bad
    return passed, failed or (1 if code else 0)


def run_command(command: tuple[str, ...], step: Step) -> int:
    """Run one command of a step; end it and all it started at the step's time limit."""
    argv = ["sh", "tests/tools/as_root.sh", *command] if step.root else list(command)
    # some tools call others of theirs by name
    tools = {"PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(link_checkout())}
    environment = {**os.environ, **tools, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
    with step.log.open("ab") if step.aside else open(sys.stdout.fileno(), "ab", closefd=False) as output:
        output.write(f"$ {' '.join(command)}\n".replace(f"{PROJECT}/", "").encode())
        output.flush()
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.append(process)
        try:
            return process.wait(timeout=step.limit_min * 60)
        except subprocess.TimeoutExpired:
            output.write(f"{step.name}: not done within {step.limit_min} minutes\n".encode())
            return 1
        finally:
            end(process)
            RUNNING.remove(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command, and all that it started, unless it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the steps of `make test`, or those that are named, and close with one line: `N passed, N failed`.

A step of pytest counts its tests, any other step counts as one. The steps after a failed one run all the same. Guests
mostly wait for one another, so two steps run at a time; what one of several prints comes when it has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.tools.collection_path import PROJECT, link_checkout

RESULTS = PROJECT / ".state" / "results"
BIN = PROJECT / ".venv/bin"


@dataclass(frozen=True)
class Step:
    """One step, or a part of one: its commands run in order, all of them; `pytest` holds what pytest runs."""

    name: str
    commands: tuple[tuple[str, ...], ...] = ()
    pytest: tuple[str, ...] = ()
    limit_min: int = 20
    root: bool = False
    part: str = ""

    @property
    def title(self) -> str:
        """Return how the step is called among others; the name of a file as well."""
        return f"{self.name}-{self.part}" if self.part else self.name

    @property
    def log(self) -> Path:
        """Where a step among others prints to."""
        return RESULTS / f"{self.title}.log"

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Outcome:
    """How many parts of a step passed and failed, and how long it took."""

    step: Step
    passed: int
    failed: int
    taken_s: float

    def describe(self) -> str:
        """Return the outcome as a line."""
        return f"{'FAILED' if self.failed else 'ok':8}{self.step.title:32}{self.taken_s:7.0f} s"


INTERRUPTED = threading.Event()
PRINTING = threading.Lock()
LAST_WORDS = 3000
RUNNING: list[subprocess.Popen[bytes]] = []
"""What is to be ended then."""


def ansible_test(*arguments: str) -> tuple[str, ...]:
    return (f"{BIN}/python", "-m", "tests.tools.ansible_test", *arguments)


def list_parts() -> Iterator[Step]:
    """Return the files of the integration tests as parts of one step, the long ones first."""
    parts = sorted(path.stem.removeprefix("test_") for path in (PROJECT / "tests/integration").glob("test_*.py"))
    for part in sorted(parts, key=lambda part: part not in LONG):
        yield Step("integration", pytest=(f"tests/integration/test_{part}.py",), root=True, part=part, limit_min=30)


LONG = ("burnin", "capture", "crashes", "deploy", "interrupted", "migrate", "secrets", "update")

# in this order: what fails soon, what takes long, what fills the gap in the end
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
    Step("contract", pytest=("tests/contract",), limit_min=50),
    *list_parts(),
    Step("sanity", (ansible_test("sanity"),)),
    # the oldest Python of a provider; that of the control node runs "unit", and the newest has a step of its own
    Step("units", (ansible_test("units", "--python", "3.9"),)),
    Step("smoke-newest", ((f"{BIN}/python", "-m", "tests.tools.smoke_newest"),)),
)


def main(names: list[str]) -> int:
    unknown = set(names) - {step.name for step in STEPS}
    if unknown:
        raise SystemExit(f"unknown steps: {', '.join(sorted(unknown))}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    # what is started in the background of a script would ignore it, and so would everything it starts
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    chosen = [step for step in STEPS if not names or step.name in names]
    run = run_step if len(chosen) == 1 else run_among_others
    with ThreadPoolExecutor(max_workers=2) as lanes:
        ran = [lanes.submit(run, step) for step in chosen]
        try:
            outcomes = [step.result() for step in ran]
        except BaseException:
            INTERRUPTED.set()
            for process in list(RUNNING):
                end(process)
            raise
    for outcome in outcomes if len(chosen) > 1 else ():
        if outcome.failed:
            print(f"\n=== once more, the end of {outcome.step.title}\n{outcome.step.read_log()[-LAST_WORDS:]}")
    print("\n" + "\n".join(outcome.describe() for outcome in outcomes))
    passed, failed = (sum(getattr(outcome, part) for outcome in outcomes) for part in ("passed", "failed"))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def run_among_others(step: Step) -> Outcome:
    """Run a step, then print all that it said at once."""
    with step.log.open("wb", buffering=0) as output:
        outcome = run_step(step, output)
    with PRINTING:
        print(f"\n=== {step.title}\n{step.read_log()}", flush=True)
    return outcome


def run_step(step: Step, output: t.BinaryIO = sys.stdout.buffer) -> Outcome:
    """Run a step, or what of it is possible before somebody interrupts all of them."""
    started = time.monotonic()
    if step.pytest:
        passed, failed = run_pytest(step, output)
    else:
        failed = min(1, sum(run_command(command, step, output) != 0 for command in step.commands))
        passed = 1 - failed
    return Outcome(step, passed, failed, time.monotonic() - started)


def run_pytest(step: Step, output: t.BinaryIO) -> tuple[int, int]:
    """Run the step's tests; a run that ends badly without a failed test counts as one failure."""
    results = RESULTS / f"{step.title}.xml"
    results.unlink(missing_ok=True)
    code = run_command((f"{BIN}/pytest", "-q", "--durations=5", f"--junitxml={results}", *step.pytest), step, output)
    passed = failed = 0
    if results.exists():
        for suite in ElementTree.parse(results).getroot().iter("testsuite"):
            bad = int(suite.get("errors", 0)) + int(suite.get("failures", 0))
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
            failed += bad
    return passed, failed or (1 if code else 0)


def run_command(command: tuple[str, ...], step: Step, output: t.BinaryIO) -> int:
    """Run one command of a step; end it and all it started at the step's time limit."""
    if INTERRUPTED.is_set():
        return 1
    argv = ["sh", "tests/tools/as_root.sh", *command] if step.root else list(command)
    # some tools call others of theirs by name
    tools = {"PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(link_checkout())}
    output.write(f"$ {' '.join(command)}\n".replace(f"{PROJECT}/", "").encode())
    output.flush()
    process = subprocess.Popen(
        argv,
        cwd=PROJECT,
        env={**os.environ, **tools, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    RUNNING.append(process)
    try:
        return process.wait(timeout=step.limit_min * 60)
    except subprocess.TimeoutExpired:
        end(process)
        output.write(f"{step.title}: not done within {step.limit_min} minutes\n".encode())
        return 1
    finally:
        end(process)
        RUNNING.remove(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command, and all that it started, unless it has ended; pytest says where it was, and cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

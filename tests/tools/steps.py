# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the steps of `make test`, or those that are named, and close with one line: `N passed, N failed`.

A step of pytest counts its tests, any other step counts as one. The steps after a failed one run all the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from xml.etree import ElementTree

from tests.tools.collection_path import PROJECT, link_checkout

RESULTS = PROJECT / ".state" / "results"
BIN = PROJECT / ".venv/bin"


@dataclass(frozen=True)
class Step:
    """One step: its commands run in order, all of them; `pytest` holds the folder of a step that pytest runs."""

    name: str
    commands: tuple[tuple[str, ...], ...] = ()
    pytest: str = ""
    limit_min: int = 20
    root: bool = False


def ansible_test(*arguments: str) -> tuple[str, ...]:
    return (f"{BIN}/python", "-m", "tests.tools.ansible_test", *arguments)


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
    Step("unit", pytest="tests/unit"),
    Step("sanity", (ansible_test("sanity"),)),
    # the oldest Python of a provider, and the one of the control node; the newest has a step of its own
    Step("units", (ansible_test("units", "--python", "3.9"), ansible_test("units", "--python", "3.11"))),
    Step("contract", pytest="tests/contract", limit_min=35),
    Step("integration", pytest="tests/integration", limit_min=75, root=True),
    Step("smoke-newest", ((f"{BIN}/python", "-m", "tests.tools.smoke_newest"),)),
)


def main(names: list[str]) -> int:
    unknown = set(names) - {step.name for step in STEPS}
    if unknown:
        raise SystemExit(f"unknown steps: {', '.join(sorted(unknown))}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    passed = failed = 0
    report = []
    for step in STEPS:
        if names and step.name not in names:
            continue
        started = time.monotonic()
        print(f"\n=== {step.name}", flush=True)
        good, bad = run_step(step)
        passed, failed = passed + good, failed + bad
        report.append(f"{'FAILED' if bad else 'ok':8}{step.name:16}{time.monotonic() - started:7.0f} s")
    print("\n" + "\n".join(report) + f"\n{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def run_step(step: Step) -> tuple[int, int]:
    """Return how many parts of the step passed and failed."""
    if step.pytest:
        return run_pytest(step)
    codes = [run_command(command, step) for command in step.commands]
    return (0, 1) if any(codes) else (1, 0)


def run_pytest(step: Step) -> tuple[int, int]:
    """Run the step's tests; a run that ends badly without a failed test counts as one failure."""
    if not (PROJECT / step.pytest).is_dir():
        print(f"{step.pytest}: there are no such tests")
        return 0, 0
    results = RESULTS / f"{step.name}.xml"
    results.unlink(missing_ok=True)
    code = run_command((f"{BIN}/pytest", "-q", "--durations=10", f"--junitxml={results}", step.pytest), step)
    passed = failed = 0
    if results.exists():
        for suite in ElementTree.parse(results).getroot().iter("testsuite"):
            bad = int(suite.get("errors", 0)) + int(suite.get("failures", 0))
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
            failed += bad
    return passed, failed or (1 if code else 0)


def run_command(command: tuple[str, ...], step: Step) -> int:
    """Run one command of a step with its output on ours; end it and all it started at the step's time limit."""
    argv = ["sh", "tests/tools/as_root.sh", *command] if step.root else list(command)
    print("$ " + " ".join(command).replace(f"{PROJECT}/", ""), flush=True)
    # some tools call others of theirs by name
    tools = {"PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(link_checkout())}
    environment = {**os.environ, **tools, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
    process = subprocess.Popen(argv, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout=step.limit_min * 60)
    except subprocess.TimeoutExpired:
        print(f"{step.name}: not done within {step.limit_min} minutes", flush=True)
        return 1
    finally:
        # after a time limit, and when we are interrupted ourselves
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

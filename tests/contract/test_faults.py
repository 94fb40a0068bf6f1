# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is full, or fails, at whatever call: one clear sentence, nothing half-made, and the next run succeeds.

`FAULTS=all` tries every call of every operation; otherwise it is a sample, the same each time.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._drivers import volumes

from tests.contract.guests import Clone, make_master
from tests.tools.collection_path import link_checkout
from tests.trials.faults import FailingDisk, Fault, Workshop
from tests.trials.writes import OPERATIONS, Operation, Scene, is_finished, look_at_records

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None or shutil.which("gcc") is None, reason="qemu-img or gcc is not installed"
)

TRIES_ALL = os.environ.get("FAULTS") == "all"
SAMPLED = 12
WORDS = {errno.ENOSPC: ("full", "No space left"), errno.EIO: ("Input/output error", "I/O error")}


class Bench(t.NamedTuple):
    disk: FailingDisk
    workshop: Workshop


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    """Return a disk that fails, and where modules suffer from it."""
    disk = FailingDisk(tmp_path_factory.mktemp("disk"))
    with Workshop(disk, link_checkout()) as workshop:
        yield Bench(disk, workshop)


class Trial:
    """One operation, done again and again in a place that is made anew."""

    def __init__(self, bench: Bench, operation: Operation, folder: Path) -> None:
        self.bench = bench
        self.operation = operation
        self.place = folder / "place"
        self.options: dict[str, t.Any] = {}
        self.calls = {error: self._count_calls(error) for error in WORDS}
        self.after = operation.look(self.place)
        self.before = self._prepare()
        assert self.after != self.before

    def try_fault(self, fault: Fault) -> str:
        """Return what is wrong with how this fault was taken; empty when nothing is."""
        self._prepare()
        self.bench.disk.fail(self.place, fault)
        result = self._run()
        failed = self.bench.disk.heal().failed.replace(str(self.place), "")
        if not failed:
            return ""  # how often the same thing is written can depend on time
        if self.operation.look is look_at_records and failed.startswith("delete"):
            # A file beside the catalog that could not be deleted stays; nobody is disturbed by it.
            (self.place / failed.partition("/")[2]).unlink(missing_ok=True)
        judged = self._judge_success(failed) if not result["failed"] else self._judge_failure(result, fault.error)
        wrong = judged or self._judge_place() or self._judge_next_run()
        return f"{fault} at {failed}: {wrong}" if wrong else ""

    def _count_calls(self, error: int) -> int:
        self._prepare()
        self.bench.disk.fail(self.place, Fault(0, error))
        undisturbed = self._run()
        assert not undisturbed["failed"], undisturbed
        return self.bench.disk.heal().count

    def _prepare(self) -> Scene:
        shutil.rmtree(self.place, ignore_errors=True)
        self.options = self.operation.prepare(self.place)
        return self.operation.look(self.place)

    def _run(self) -> dict[str, t.Any]:
        return self.bench.workshop.run(self.operation.task, self.options).result

    def _judge_success(self, failed: str) -> str:
        """What was tried again, and is there, need not be told; what may not be on the disk must."""
        if failed.startswith("fsync") and not self.operation.words:  # SQLite may write to its file later
            return "it did not fail"
        # What could not be deleted in staging stays, and goes with the next run.
        is_left = failed.startswith("delete")
        wrong = [path for path in self._find_differences() if is_finished(path) or not is_left]
        return f"it did not fail, and is not as without a fault: {wrong}" if wrong else ""

    def _judge_failure(self, result: dict[str, t.Any], error: int) -> str:
        for said in [one for one in result.get("objects", [result]) if one["failed"]]:
            if not said["remedy"]:
                return f"no remedy: {said['msg']}"
            names = (self.operation.names, str(self.place.parent))
            if "\n" in said["msg"] or not said["subject"] or not any(name in said["msg"] for name in names):
                return f"not a sentence about {self.operation.names}: {said['msg']}"
            # SQLite tells what happened to its file, and not at which step of its own.
            if not self.operation.words and not re.search(r"cannot|could not|failed|full", said["problem"]):
                return f"no word of what was tried: {said['msg']}"
            if not any(words in said["msg"] for words in (*WORDS[error], *self.operation.words)):
                return f"no word of what happened: {said['msg']}"
        return ""

    def _judge_place(self) -> str:
        seen = self.operation.look(self.place)
        wrong = [
            path
            for path in sorted({*seen, *self.before, *self.after})
            if is_finished(path) and seen.get(path) not in (self.before.get(path), self.after.get(path))
        ]
        staged = [one["path"] for one in volumes.list_staging(str(self.place)) if one["state"] == "working"]
        return f"half-made: {wrong}" if wrong else f"nobody's: {staged}" if staged and "~" in staged[0] else ""

    def _judge_next_run(self) -> str:
        self.operation.prepare_again(self.place)
        again = self._run()
        if again["failed"]:
            return f"the next run fails too: {again['msg']}"
        wrong = self._find_differences()
        return f"after the next run it is not as without a fault: {wrong}" if wrong else ""

    def _find_differences(self) -> list[str]:
        seen = self.operation.look(self.place)
        return [path for path in sorted({*seen, *self.after}) if seen.get(path) != self.after.get(path)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name.replace(" ", "-"))
def test_a_fault_at_any_call_is_told_and_leaves_nothing_half_made(
    bench: Bench, operation: Operation, tmp_path: Path
) -> None:
    trial = Trial(bench, operation, tmp_path)
    faults = [
        Fault(number, error, is_lasting)
        for error, count in trial.calls.items()
        for is_lasting in (False, True)
        for number in range(1, count + 1)
    ]
    sample = random.Random(operation.name).sample(faults, min(len(faults), SAMPLED))
    last = [Fault(count, error) for error, count in trial.calls.items()]
    chosen = faults if TRIES_ALL else [*sample, *last]
    wrong = [text for text in map(trial.try_fault, chosen) if text]
    assert not wrong, f"{len(wrong)} of {len(chosen)} faults (of {trial.calls} calls):\n" + "\n".join(wrong)


@pytest.mark.parametrize("number", [3, 6, 12, 24] if TRIES_ALL else [6])
def test_a_disk_that_fails_below_an_opened_guest_is_told(bench: Bench, number: int, tmp_path: Path) -> None:
    clone = Clone.make(tmp_path / "clones", "web-v1-1", make_master(tmp_path))
    item = {"name": "words", "type": "file", "path": "/etc/words", "content": "x" * 300_000}
    options = {"clones": [clone.entry([item])], "timeout_s": 600}
    bench.disk.fail(clone.volume, Fault(number, errno.EIO, is_lasting=True))
    result = bench.workshop.run("customize", options).result
    assert bench.disk.heal().failed
    [said] = result["objects"]
    assert (said["failed"], said["subject"], bool(said["remedy"])) == (True, "clone web-v1-1", True), said
    again = bench.workshop.run("customize", options).result
    assert not again["failed"], again
    assert (clone.extract(tmp_path) / "etc/words").read_text() == "x" * 300_000

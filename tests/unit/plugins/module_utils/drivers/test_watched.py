# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches in child processes: results, errors, deaths, time limits; nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    EncompassError,
    InvalidRequest,
    NoSpace,
    ToolFailed,
)
from ansible_collections.encompass.images.plugins.module_utils._drivers import watched
from ansible_collections.encompass.images.plugins.module_utils._drivers.watched import run_alone, run_batches


def work_on(name: str) -> str:
    """Do what the name says."""
    if name.startswith("bad"):
        raise InvalidRequest(name, "broke", remedy="Mend it.")
    if name.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("crash"):
        raise ZeroDivisionError
    return f"{name} in {os.getpid()}"


def serve(names: t.Sequence[str], run: t.Callable) -> None:
    for name in names:
        run(name, work_on)


def run(*batches: t.Sequence[str], diagnose: t.Callable = lambda _names, _reason: None, **options) -> dict[str, t.Any]:
    complete = {"lanes": 2, "timeout_s": 30, "describe": lambda name: f"clone {name}", **options}
    return run_batches(batches, complete.pop("serve", serve), diagnose=diagnose, **complete)


def test_each_name_gets_its_result_and_a_batch_shares_a_process() -> None:
    results = run(["a", "b"], ["c"], [])
    processes = {name: results[name].split()[-1] for name in "abc"}
    assert processes["a"] == processes["b"] != processes["c"]
    assert str(os.getpid()) not in processes.values()


def test_an_error_comes_back_as_it_was_and_loses_nobody_else() -> None:
    results = run(["a", "bad", "b"])
    error = results["bad"]
    assert isinstance(error, InvalidRequest)
    assert (error.subject, error.problem, error.remedy) == ("bad", "broke", "Mend it.")
    assert results["a"].split()[-1] == results["b"].split()[-1]


@pytest.mark.parametrize(
    ("culprit", "reason"),
    [("die", "ended"), ("crash", "ZeroDivisionError"), ("hang", "did not end within 1 s")],
)
def test_a_death_costs_only_the_name_at_work(culprit: str, reason: str) -> None:
    results = run(["a", culprit, "b", "c"], timeout_s=1)
    assert isinstance(results[culprit], ToolFailed)
    assert reason in str(results[culprit])
    assert str(results[culprit]).startswith(f"clone {culprit}: ")
    assert results["a"].split()[-1] != results["b"].split()[-1] == results["c"].split()[-1]


def test_a_child_may_give_up_between_two_names() -> None:
    def serve_one(names: t.Sequence[str], run_one: t.Callable) -> None:
        run_one(names[0], work_on)

    results = run(["a", "b", "c"], serve=serve_one)
    assert len({result.split()[-1] for result in results.values()}) == 3


class TestABatchThatDoesNotBegin:
    def serve(self, names: t.Sequence[str], run_one: t.Callable) -> None:
        if "locked" in names:
            raise ToolFailed("appliance", "it did not start")
        serve(names, run_one)

    def test_the_culprits_are_named_and_the_others_tried_again(self) -> None:
        def diagnose(names: t.Sequence[str], reason: str) -> dict[str, EncompassError]:
            assert reason == "it did not start"
            return {name: Conflict(name, "in use") for name in names if name == "locked"}

        results = run(["a", "locked", "b"], serve=self.serve, diagnose=diagnose)
        assert isinstance(results["locked"], Conflict)
        assert results["a"].startswith("a in ")

    def test_without_a_culprit_all_fail_with_the_reason(self) -> None:
        results = run(["a", "locked"], serve=self.serve)
        assert {(result.subject, result.problem) for result in results.values()} == {
            ("clone a", "it did not start"),
            ("clone locked", "it did not start"),
        }
        assert all(result.remedy for result in results.values())

    def test_it_is_not_tried_for_ever(self) -> None:
        calls = []

        def diagnose(names: t.Sequence[str], _reason: str) -> dict[str, EncompassError]:
            calls.append(names)
            return {}

        results = run(["a", "locked"], serve=self.serve, diagnose=diagnose)
        assert all(isinstance(result, ToolFailed) for result in results.values())
        assert len(calls) == 2


class TestFullPool:
    @pytest.fixture(autouse=True)
    def short_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watched, "_LOOK_EVERY_S", 0.05)
        monkeypatch.setattr(watched, "_FULL_FOR_S", 0.5)

    def test_a_pool_that_stays_full_ends_all_that_is_not_done(self) -> None:
        started = time.monotonic()
        results = run(["a", "hang", "b"], ["hang too"], ["c"], find_full=lambda: "/pool")
        assert time.monotonic() - started < 10
        assert {name for name, result in results.items() if isinstance(result, NoSpace)} == {
            "hang",
            "hang too",
            "b",
            "c",
        }
        assert "clone hang: the pool at /pool got full" in str(results["hang"])
        assert results["a"].startswith("a in ")

    def test_a_pool_that_gets_room_again_ends_nothing(self) -> None:
        answers = iter(["/pool", "/pool", ""] * 100)

        def work_slowly(names: t.Sequence[str], run: t.Callable) -> None:
            for name in names:
                run(name, lambda _name: time.sleep(1.5))

        assert run(["a"], serve=work_slowly, find_full=lambda: next(answers)) == {"a": None}


def test_what_a_stopped_child_has_started_ends_with_it(tmp_path: Path) -> None:
    def start_and_hang(_name: str) -> None:
        process = subprocess.Popen(["sleep", "60"])
        (tmp_path / "pid").write_text(str(process.pid))
        time.sleep(60)

    results = run(["a"], serve=lambda names, run_one: run_one(names[0], start_and_hang), timeout_s=1)
    assert isinstance(results["a"], ToolFailed)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    parent, child, _started = fork_parent(tmp_path)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert is_gone(child)


def test_what_a_child_has_started_ends_when_parent_and_child_die_in_one_blow(tmp_path: Path) -> None:
    parent, child, started = fork_parent(tmp_path)
    for pid in (child, parent):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert is_gone(started)


def fork_parent(folder: Path) -> tuple[int, int, int]:
    """Have a process run a batch; return its pid, that of its child, and that of what the child has started."""

    def start_and_hang(_name: str) -> None:
        process = subprocess.Popen(["sleep", "60"])
        (folder / "new").write_text(f"{os.getpid()} {process.pid}")
        (folder / "new").rename(folder / "pids")
        time.sleep(60)

    parent = os.fork()
    if parent == 0:
        run(["a"], serve=lambda names, run_one: run_one(names[0], start_and_hang), timeout_s=60)
        os._exit(0)
    deadline = time.monotonic() + 10
    while not (folder / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child, started = map(int, (folder / "pids").read_text().split())
    return parent, child, started


class TestAlone:
    def test_the_result_comes_back_from_another_process(self) -> None:
        told = run_alone("image a", lambda: {"pid": os.getpid()}, timeout_s=30)
        assert told["pid"] != os.getpid()

    def test_the_error_is_raised_as_it_was(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            run_alone("image a", lambda: work_on("bad"), timeout_s=30)
        assert (raised.value.subject, raised.value.problem, raised.value.remedy) == ("bad", "broke", "Mend it.")

    def test_it_is_stopped_in_time(self) -> None:
        with pytest.raises(ToolFailed, match="image a: it did not end within 1 s and was stopped"):
            run_alone("image a", lambda: time.sleep(60), timeout_s=1)

    def test_threads_do_not_wait_for_each_others_children(self) -> None:
        started = time.monotonic()
        with ThreadPoolExecutor(16) as threads:
            slow = [threads.submit(run_alone, "slow", lambda: time.sleep(10), timeout_s=30) for _one in range(4)]
            fast = [threads.submit(run_alone, "fast", os.getpid, timeout_s=30) for _one in range(48)]
            assert len({one.result() for one in fast}) == 48
            assert time.monotonic() - started < 8
        assert [one.result() for one in slow] == [None] * 4


def test_a_child_that_ends_leaves_no_guard() -> None:
    child = int(run(["a"])["a"].split()[-1])
    guards = subprocess.run(["pgrep", "-f", f"encompass-guard {child}$"], check=False, capture_output=True, text=True)
    assert guards.stdout == ""


def test_a_child_says_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    def make_noise(_name: str) -> None:
        os.write(1, b"noise")
        os.write(2, b"noise")

    assert run(["a"], serve=lambda names, run_one: run_one(names[0], make_noise)) == {"a": None}
    assert capfd.readouterr() == ("", "")


def is_gone(pid: int) -> bool:
    """Wait until a process is gone or a zombie."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False

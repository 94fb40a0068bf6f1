# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner: order, the one switch of check mode, proof by a second look, and items that fail alone."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._drivers import caller, locks
from ansible_collections.encompass.images.plugins.module_utils._module.runner import Job, run_job, summarize


@dataclasses.dataclass(frozen=True)
class Write:
    value: str

    def describe(self) -> str:
        return f"write {self.value}"


class Shelf:
    """A verb over a dictionary; ``lies`` names items whose writes are reported but not done."""

    lock_kind = "shelf"

    def __init__(self, *, lies: t.Collection[str] = (), fails: t.Collection[str] = ()) -> None:
        self.world: dict[str, str] = {}
        self.lies = lies
        self.fails = fails
        self.performed: list[str] = []

    def observe(self, items: t.Mapping[str, str]) -> dict[str, t.Any]:
        return {
            name: ToolFailed(name, "cannot be seen") if name == "hidden" else self.world.get(name) for name in items
        }

    def plan(self, item: str, seen: str | None) -> list[Write]:
        return [] if seen == item else [Write(item)]

    def perform(self, plans: t.Mapping[str, t.Sequence[Write]]) -> dict[str, EncompassError | None]:
        outcome: dict[str, EncompassError | None] = {}
        for name, steps in plans.items():
            self.performed.append(name)
            outcome[name] = ToolFailed(name, "broke", remedy="Mend it.") if name in self.fails else None
            if outcome[name] is None and name not in self.lies:
                self.world[name] = steps[-1].value
        return outcome

    def report(self, item: str, seen: str | None, steps: t.Sequence[Write]) -> dict[str, t.Any]:
        return {"value": steps[-1].value if steps else seen}

    def diff(self, item: str, seen: str | None, steps: t.Sequence[Write]) -> tuple[t.Any, t.Any]:
        return seen or "", item


@pytest.fixture(autouse=True)
def _private_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_FILE", tmp_path / "locks" / "lock")


def run(shelf: Shelf, items: dict[str, str], *, check_mode: bool = False) -> dict[str, t.Any]:
    return summarize(run_job(Job(shelf, items), check_mode=check_mode))


def test_four_runs() -> None:
    shelf = Shelf()
    items = {"a": "1", "b": "2"}
    planned = run(shelf, items, check_mode=True)
    assert (planned["changed"], shelf.world, shelf.performed) == (True, {}, [])
    real = run(shelf, items)
    assert (real["changed"], shelf.world) == (True, items)
    for check_mode in (False, True):
        assert run(shelf, items, check_mode=check_mode)["changed"] is False
    assert [item["record"] for item in planned["objects"]] == [item["record"] for item in real["objects"]]
    assert planned["diff"] == real["diff"]
    assert shelf.performed == ["a", "b"]


def test_check_mode_takes_no_lock(tmp_path: Path) -> None:
    run(Shelf(), {"a": "1"}, check_mode=True)
    assert not (tmp_path / "locks").exists()


def test_a_failed_item_leaves_the_others_alone() -> None:
    shelf = Shelf(fails={"b"})
    result = run(shelf, {"a": "1", "b": "2", "c": "3", "hidden": "4"})
    assert shelf.world == {"a": "1", "c": "3"}
    assert {item["name"]: item["failed"] for item in result["objects"]} == {
        "a": False,
        "b": True,
        "c": False,
        "hidden": True,
    }
    failed = next(item for item in result["objects"] if item["name"] == "b")
    assert (failed["problem"], failed["remedy"]) == ("broke", "Mend it.")
    assert "and 1 more of 4" in result["msg"]


def test_success_without_effect_is_an_error() -> None:
    result = run(Shelf(lies={"a"}), {"a": "1"})
    assert result["failed"]
    assert "still to be done: write 1" in result["objects"][0]["msg"]


class Broken(Shelf):
    """A shelf whose host stops answering, in the middle of the work or after it."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def observe(self, items: t.Mapping[str, str]) -> dict[str, t.Any]:
        if self.where == "after" and self.performed:
            raise ToolFailed("provider x", "does not answer")
        return super().observe(items)

    def perform(self, plans: t.Mapping[str, t.Sequence[Write]]) -> dict[str, EncompassError | None]:
        outcome = super().perform(plans)
        if self.where == "in":
            raise ToolFailed("provider x", "does not answer")
        return outcome


@pytest.mark.parametrize("where", ["in", "after"])
def test_what_breaks_once_something_was_touched_is_told_of_each_item(where: str) -> None:
    shelf = Broken(where)
    result = run(shelf, {"a": "1", "b": "2"})
    assert shelf.world == {"a": "1", "b": "2"}
    assert [(item["failed"], item["problem"], item["changed"]) for item in result["objects"]] == [
        (True, "does not answer", True)
    ] * 2


def test_nothing_is_done_for_a_run_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "is_gone", lambda: True)
    shelf = Shelf()
    with pytest.raises(ToolFailed, match="is gone, so nothing was done"):
        run(shelf, {"a": "1"})
    assert shelf.performed == []
    run(shelf, {"a": "1"}, check_mode=True)


def test_work_that_is_still_running_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0)
    error = ToolFailed("a", "still running")

    class Held:
        def __enter__(self) -> dict[str, EncompassError]:
            return {"a": error}

        def __exit__(self, *_exc: object) -> None:
            return None

    monkeypatch.setattr(
        "ansible_collections.encompass.images.plugins.module_utils._module.runner.hold_objects", lambda *_: Held()
    )
    shelf = Shelf()
    result = run(shelf, {"a": "1", "b": "2"})
    assert shelf.world == {"b": "2"}
    assert result["objects"][0]["msg"] == "a: still running"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life cycle's table: what it allows, what it refuses, and that it has no dead ends."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import TransitionRefused
from ansible_collections.encompass.images.plugins.module_utils._core.lifecycle import (
    BY_EVENT,
    INITIAL,
    TRANSITIONS,
    Metastate,
    Stage,
    State,
    advance,
    is_done,
    settle_event,
)

UP = ("clone", "assign", "customize", "attach", "activate")
DOWN = ("deactivate", "detach", "unassign", "delete")


def reachable() -> set[State]:
    seen, todo = {INITIAL}, [INITIAL]
    while todo:
        state = todo.pop()
        for event in BY_EVENT:
            try:
                after = advance("clone c", state, event)
            except TransitionRefused:
                continue
            if after is not None and after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


def test_a_whole_life() -> None:
    state: State | None = INITIAL
    for event in (*UP, *DOWN):
        assert state is not None
        state = advance("clone c", state, event)
    assert state is None


def test_the_first_run_makes_it_operational_for_ever() -> None:
    state = State(Metastate.CLEAN, Stage.ATTACHED)
    active = advance("clone c", state, "activate")
    assert active == State(Metastate.OPERATIONAL, Stage.ACTIVE)
    assert advance("clone c", active, "deactivate") == State(Metastate.OPERATIONAL, Stage.ATTACHED)


def test_every_stage_is_reached_and_left() -> None:
    states = reachable()
    assert {state.stage for state in states} == set(Stage)
    for state in states:
        assert any(state.stage in transition.sources for transition in TRANSITIONS)


@pytest.mark.parametrize(("event", "stage"), list(itertools.product(BY_EVENT, Stage)))
def test_what_the_table_does_not_name_is_refused(event: str, stage: Stage) -> None:
    state = State(BY_EVENT[event].metastates[0], stage)
    if stage in BY_EVENT[event].sources:
        advance("clone c", state, event)
        return
    with pytest.raises(TransitionRefused) as refused:
        advance("clone c", state, event)
    assert refused.value.remedy
    assert stage.value in str(refused.value)


def test_a_spent_clone_can_only_be_deleted() -> None:
    spent = State(Metastate.SPENT, Stage.UNASSIGNED)
    assert advance("clone c", spent, "delete") is None
    for event in ("assign", "customize", "attach", "activate", "reconfigure"):
        with pytest.raises(TransitionRefused, match="only be deleted"):
            advance("clone c", spent, event)


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.PLANNED])
def test_a_clone_that_ran_goes_to_maintenance_at_any_stage(stage: Stage) -> None:
    wanted = State(Metastate.MAINTENANCE, stage)
    assert advance("clone c", State(Metastate.OPERATIONAL, stage), "reconfigure") == wanted
    assert is_done(wanted, "reconfigure")
    with pytest.raises(TransitionRefused, match=r"it is clean/.*Only a clone that ran"):
        advance("clone c", State(Metastate.CLEAN, stage), "reconfigure")


@pytest.mark.parametrize("stage", [Stage.UNASSIGNED, Stage.ASSIGNED, Stage.ATTACHED])
def test_capture_is_the_only_way_out_of_maintenance(stage: Stage) -> None:
    state = State(Metastate.MAINTENANCE, stage)
    assert advance("clone c", state, "capture") == State(Metastate.SPENT, stage)
    assert is_done(State(Metastate.SPENT, stage), "capture")
    keeping = {"clone", "assign", "customize", "restore", "attach", "activate", "reconfigure"}
    kept = {event for event in keeping & set(BY_EVENT) if stage in BY_EVENT[event].sources}
    assert {advance("clone c", state, event).metastate for event in kept} == {Metastate.MAINTENANCE}


@pytest.mark.parametrize("metastate", [Metastate.CLEAN, Metastate.OPERATIONAL])
def test_only_a_clone_in_maintenance_is_captured(metastate: Metastate) -> None:
    with pytest.raises(TransitionRefused, match="Only a clone in maintenance is captured"):
        advance("clone c", State(metastate, Stage.ATTACHED), "capture")


def test_a_running_clone_is_not_captured() -> None:
    with pytest.raises(TransitionRefused, match="capture starts from unassigned or assigned or attached"):
        advance("clone c", State(Metastate.MAINTENANCE, Stage.ACTIVE), "capture")


def test_a_spent_clone_is_taken_down_from_wherever_it_is() -> None:
    state: State | None = State(Metastate.SPENT, Stage.ACTIVE)
    for event in DOWN:
        assert state is not None
        state = advance("clone c", state, event)
    assert state is None


@pytest.mark.parametrize(
    ("event", "stage", "done"),
    [
        ("clone", "planned", False),
        ("clone", "active", True),
        ("attach", "assigned", False),
        ("attach", "attached", True),
        ("attach", "active", True),
        ("activate", "active", True),
        ("detach", "active", False),
        ("detach", "attached", False),
        ("detach", "assigned", True),
        ("unassign", "planned", True),
        ("customize", "assigned", False),
        ("delete", "planned", False),
    ],
)
def test_what_is_done_already(event: str, stage: str, done: bool) -> None:
    assert is_done(State(Metastate.CLEAN, Stage(stage)), event) is done


def test_a_done_event_only_clears_the_error() -> None:
    body = {"metastate": "operational", "stage": "active", "last_error": {"msg": "x"}}
    assert settle_event("c", body, "attach") == {**body, "last_error": None}

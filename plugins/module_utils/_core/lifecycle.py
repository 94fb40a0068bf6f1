# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life cycle of a clone, as a table, and the one door through it. Private to this collection.

A state is a pair: a metastate (what the clone's content is worth) and a stage (what it is bound to). While an
operation runs the clone also has ``doing``, the name of its unstable state.
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from .errors import TransitionRefused


class Stage(str, enum.Enum):
    """What a clone is bound to."""

    PLANNED = "planned"
    """Reserved in the catalog; nothing of it need exist yet."""
    UNASSIGNED = "unassigned"
    """Its volumes exist and belong to no machine."""
    ASSIGNED = "assigned"
    """It is meant for one machine, and customized for it."""
    ATTACHED = "attached"
    """The machine is defined with its volumes and does not run."""
    ACTIVE = "active"
    """The machine runs it, and the server has answered."""


class Metastate(str, enum.Enum):
    """What a clone's content is worth."""

    CLEAN = "clean"
    """Never ran: still what the master and the customization made it."""
    OPERATIONAL = "operational"
    """Ran at least once, and may hold what nothing else holds."""
    MAINTENANCE = "maintenance"
    """Being changed into the next version of its master."""
    SPENT = "spent"
    """Became a master; good for nothing else."""


USABLE = (Metastate.CLEAN, Metastate.OPERATIONAL, Metastate.MAINTENANCE)
ANY = (*USABLE, Metastate.SPENT)


@dataclasses.dataclass(frozen=True)
class State:
    """A clone's stable state."""

    metastate: Metastate
    stage: Stage

    def __str__(self) -> str:
        return f"{self.metastate.value}/{self.stage.value}"


@dataclasses.dataclass(frozen=True)
class Transition:
    """One row of the table. ``target`` None means that the clone is gone; ``becomes`` names the metastates that change.

    An event with ``keeps_stage`` is about the metastate alone, and has no target.
    """

    event: str
    unstable: str
    sources: tuple[Stage, ...]
    target: Stage | None
    way_out: str
    metastates: tuple[Metastate, ...] = USABLE
    becomes: t.Mapping[Metastate, Metastate] = dataclasses.field(default_factory=dict)
    keeps_stage: bool = False
    wrong_metastate: str = ""
    """What to do with a clone of another metastate; of a spent one there is nothing to be said but that."""


_RUNNABLE = (Stage.UNASSIGNED, Stage.ASSIGNED, Stage.ATTACHED, Stage.ACTIVE)
_OFF = (Stage.UNASSIGNED, Stage.ASSIGNED, Stage.ATTACHED)
_IS_SPENT = "A spent clone can only be deleted"
_FIRST_RUN = {Metastate.CLEAN: Metastate.OPERATIONAL}

# What operators do ...
TRANSITIONS = (
    Transition("clone", "cloning", (Stage.PLANNED,), Stage.UNASSIGNED, "Delete it first, or ask for another name"),
    Transition("assign", "assigning", (Stage.UNASSIGNED,), Stage.ASSIGNED, "Unassign it first"),
    Transition("customize", "customizing", (Stage.ASSIGNED,), Stage.ASSIGNED, "Deactivate and detach it first"),
    Transition("restore", "restoring", (Stage.ASSIGNED,), Stage.ASSIGNED, "Deactivate and detach it first"),
    Transition("attach", "attaching", (Stage.ASSIGNED,), Stage.ATTACHED, "Assign it to a machine first"),
    Transition(
        "activate", "activating", (Stage.ATTACHED,), Stage.ACTIVE, "Attach it to its machine first", becomes=_FIRST_RUN
    ),
    Transition("migrate", "migrating", (Stage.ACTIVE,), Stage.ACTIVE, "Activate it first, or move it cold"),
    Transition("move", "moving", (Stage.ASSIGNED,), Stage.ASSIGNED, "Deactivate and detach it first", metastates=ANY),
    Transition(
        "reconfigure",
        "reconfiguring",
        _RUNNABLE,
        None,
        "Clone it first",
        metastates=(Metastate.OPERATIONAL, Metastate.MAINTENANCE),
        becomes={Metastate.OPERATIONAL: Metastate.MAINTENANCE},
        keeps_stage=True,
        wrong_metastate="Only a clone that ran can be changed into the next version: start it first",
    ),
    Transition(
        "capture",
        "capturing",
        _OFF,
        None,
        "Shut it down and deactivate it first",
        metastates=(Metastate.MAINTENANCE, Metastate.SPENT),
        becomes={Metastate.MAINTENANCE: Metastate.SPENT},
        keeps_stage=True,
        wrong_metastate="Only a clone in maintenance is captured: move it there first (encompass.images.maintain)",
    ),
    # What leads down is open to a spent clone too, which may have been captured while its machine is still defined.
    Transition("deactivate", "deactivating", (Stage.ACTIVE,), Stage.ATTACHED, "It does not run", metastates=ANY),
    Transition("detach", "detaching", (Stage.ATTACHED,), Stage.ASSIGNED, "Deactivate it first", metastates=ANY),
    Transition("unassign", "unassigning", (Stage.ASSIGNED,), Stage.UNASSIGNED, "Detach it first", metastates=ANY),
    Transition("delete", "deleting", (Stage.PLANNED, Stage.UNASSIGNED), None, "Unassign it first", metastates=ANY),
    # ... and what is found to have happened behind our back.
    Transition("found_stopped", "", (Stage.ACTIVE,), Stage.ATTACHED, "Run discover", metastates=ANY),
    Transition(
        "found_running",
        "",
        (Stage.ASSIGNED, Stage.ATTACHED),
        Stage.ACTIVE,
        "Run discover",
        metastates=ANY,
        becomes=_FIRST_RUN,
    ),
    Transition("found_fenced", "", (Stage.ATTACHED, Stage.ACTIVE), Stage.ASSIGNED, "Run discover", metastates=ANY),
    Transition("found_undefined", "", (Stage.ATTACHED, Stage.ACTIVE), Stage.ASSIGNED, "Run discover", metastates=ANY),
    Transition(
        "found_missing",
        "",
        _RUNNABLE,
        Stage.PLANNED,
        "Run discover",
        metastates=ANY,
        becomes={Metastate.OPERATIONAL: Metastate.CLEAN, Metastate.MAINTENANCE: Metastate.CLEAN},
    ),
)
BY_EVENT = {transition.event: transition for transition in TRANSITIONS}

# From the least bound to the most: an operation upward has been done at its target and above it.
_ORDER = tuple(Stage)

INITIAL = State(Metastate.CLEAN, Stage.PLANNED)


def read_state(body: t.Mapping[str, t.Any]) -> State:
    """Return the state that a clone's record tells."""
    return State(Metastate(body["metastate"]), Stage(body["stage"]))


def advance(subject: str, state: State, event: str) -> State | None:
    """Return the state after ``event``; None when the clone is gone then.

    Raises :class:`TransitionRefused`, naming the state, the reason and the way out.
    """
    transition = BY_EVENT[event]
    if state.metastate not in transition.metastates:
        remedy = _IS_SPENT if state.metastate is Metastate.SPENT else transition.wrong_metastate
        raise TransitionRefused(subject, f"cannot {event} it: it is {state}", remedy=f"{remedy}.")
    if state.stage not in transition.sources:
        wanted = " or ".join(stage.value for stage in transition.sources)
        raise TransitionRefused(
            subject,
            f"cannot {event} it: it is {state}, and {event} starts from {wanted}",
            remedy=f"{transition.way_out}.",
        )
    metastate = transition.becomes.get(state.metastate, state.metastate)
    if transition.keeps_stage:
        return State(metastate, state.stage)
    return State(metastate, transition.target) if transition.target else None


def is_done(state: State, event: str) -> bool:
    """Tell whether a clone is already where ``event`` leads, or beyond it; such an operation has nothing to do.

    Customization leads nowhere, so it is never done by the stage alone.
    """
    transition = BY_EVENT[event]
    if transition.keeps_stage:
        return state.metastate in transition.becomes.values()
    if transition.target is None or transition.target in transition.sources:
        return False
    rank, target, source = (_ORDER.index(stage) for stage in (state.stage, transition.target, transition.sources[0]))
    return rank >= target if target > source else rank <= target


def settle_event(name: str, body: t.Mapping[str, t.Any], event: str) -> dict[str, t.Any] | None:
    """Return a clone's record after ``event``, which may have nothing left to do; None when the clone is gone."""
    if is_done(read_state(body), event):
        return {**body, "last_error": None}
    return apply_event(name, body, event)


def apply_event(name: str, body: t.Mapping[str, t.Any], event: str) -> dict[str, t.Any] | None:
    """Return a clone's record after ``event``, without an error of old; None when the clone is gone then."""
    after = advance(f"clone {name}", read_state(body), event)
    if after is None:
        return None
    return {**body, "metastate": after.metastate.value, "stage": after.stage.value, "last_error": None}

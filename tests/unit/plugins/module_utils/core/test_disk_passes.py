# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a copy of a disk in use is of one moment, and when there is no hope of that."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.disk_passes import (
    CHUNK_BYTES,
    Freezing,
    Pass,
    count_chunks,
    describe_copy,
    describe_freezing,
    is_due_to_freeze,
    is_one_moment,
    measure_chunk,
    plan_freezing,
    require_hope,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, Unsupported

AUTO = Freezing("auto", 60, ("/boot", "/"))


def passes(*differed: int, frozen: bool = False, duration_s: float = 5) -> list[Pass]:
    """Return passes that found so much; ``frozen`` is about the last one."""
    last = len(differed) - 1
    return [Pass(frozen and at == last, count, count * 10, duration_s) for at, count in enumerate(differed)]


@pytest.mark.parametrize(
    ("size_bytes", "lengths"),
    [
        (CHUNK_BYTES, [CHUNK_BYTES]),
        (CHUNK_BYTES + 512, [CHUNK_BYTES, 512]),
        (512, [512]),
        (2 * CHUNK_BYTES, [CHUNK_BYTES, CHUNK_BYTES]),
    ],
)
def test_chunks_make_up_the_disk(size_bytes: int, lengths: list[int]) -> None:
    assert [measure_chunk(size_bytes, number) for number in range(count_chunks(size_bytes))] == lengths


@pytest.mark.parametrize(
    ("freezing", "differed", "due"),
    [
        (AUTO, (), False),
        (AUTO, (0,), False),  # how long a pass takes that fetches little is not known yet
        (AUTO, (900, 16), True),
        (AUTO, (900, 17), False),
        (AUTO, (900, 400, 100), False),
        (AUTO, (900, 400, 300), True),  # it does not get much less
        (AUTO, (9000, 4000, 1900, 900, 400), True),
        (Freezing("never", 60, ("/",)), (900, 1), False),
        (Freezing("auto", 60, ()), (900, 1), False),
        (Freezing("auto", 60, ("/",), "it lacks fsfreeze"), (900, 1), False),
    ],
)
def test_file_systems_are_frozen_once_little_is_left(freezing: Freezing, differed: tuple[int, ...], due: bool) -> None:
    assert is_due_to_freeze(freezing, passes(*differed)) is due


@pytest.mark.parametrize(
    ("done", "is_one"),
    [
        ([], False),
        (passes(3), False),
        (passes(3, 1), False),
        (passes(3, 0), True),
        (passes(0), True),
        (passes(3, 2, frozen=True), True),
    ],
)
def test_a_copy_is_of_one_moment_when_nothing_differs_or_nothing_could_change(done: list[Pass], is_one: bool) -> None:
    assert is_one_moment(done) is is_one


def test_nobody_is_frozen_for_longer_than_said() -> None:
    slow = passes(900, 1, duration_s=61)
    assert plan_freezing(AUTO, passes(900, duration_s=61), "donor x").obstacle == ""  # it fetched nearly all of it
    limited = plan_freezing(AUTO, slow, "donor x")
    assert "took 61 s, and its file systems may be frozen for 60 s" in limited.obstacle
    assert not is_due_to_freeze(limited, slow)
    with pytest.raises(Unsupported, match="donor x: its file systems cannot be frozen: reading its disks took 61 s"):
        plan_freezing(Freezing("required", 60, ("/",)), slow, "donor x")


def test_a_disk_that_never_rests_is_given_up() -> None:
    never = Freezing("never", 60, ("/",))
    require_hope(never, passes(*[5] * 7), "donor x")
    with pytest.raises(Conflict, match=r"after 8 passes 5 parts still differ, and its file systems are not frozen."):
        require_hope(never, passes(*[5] * 8), "donor x")
    with pytest.raises(Conflict, match=r"are not frozen \(it lacks fsfreeze\)"):
        require_hope(Freezing("auto", 60, ("/",), "it lacks fsfreeze"), passes(*[5] * 8), "donor x")


@pytest.mark.parametrize(
    ("freezing", "done", "told"),
    [
        (AUTO, passes(9, 1, frozen=True), {"consistency": "frozen", "frozen_s": 5, "fetched_bytes": 100}),
        (AUTO, passes(9, 0), {"consistency": "crash", "fetched_bytes": 90}),
        (Freezing("auto", 60, (), is_written=False), passes(9, 0), {"consistency": "off", "fetched_bytes": 90}),
        (
            Freezing("auto", 60, ("/",), "it lacks fsfreeze"),
            passes(9, 0),
            {"consistency": "crash", "fetched_bytes": 90, "consistency_reason": "it lacks fsfreeze"},
        ),
    ],
)
def test_what_is_told_of_a_copy(freezing: Freezing, done: list[Pass], told: dict[str, object]) -> None:
    assert describe_copy(freezing, done) == {"consistency_reason": None, "frozen_s": None, "passes": 2, **told}


@pytest.mark.parametrize(
    ("freezing", "words"),
    [
        (AUTO, "in the end /boot, / frozen for 60 s at most"),
        (Freezing("never", 60, ("/",)), "nothing is frozen"),
        (Freezing("auto", 60, ("/",), "it lacks fsfreeze"), "nothing is frozen (it lacks fsfreeze)"),
        (Freezing("auto", 60, (), is_written=False), "none of its file systems is mounted for writing"),
    ],
)
def test_the_plan_says_what_is_frozen(freezing: Freezing, words: str) -> None:
    assert describe_freezing(freezing) == words

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes, grows and deletes data volumes, and how they are called."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.data_volumes import (
    DataRequest,
    DataSeen,
    GrowData,
    MakeData,
    RemoveData,
    path_of,
    plan_data_removal,
    plan_data_volume,
    presume_data_volume,
    serial_of,
    split_name,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    InvalidRequest,
    NoSpace,
    TransitionRefused,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import RemoveLeftovers

MIB = 1 << 20
PATH = "/pool/data/web-1/db.qcow2"
ITEM = DataRequest("web-1.db", "/pool", PATH, virtual_bytes=64 * MIB)
NOTHING = DataSeen(exists=False, free_bytes=1 << 30)
THERE = DataSeen(exists=True, free_bytes=0, virtual_bytes=64 * MIB, allocated_bytes=7)
LARGER = dataclasses.replace(ITEM, virtual_bytes=65 * MIB)
FORMATTED = dataclasses.replace(ITEM, filesystem="ext4", label="db")

PLANS: dict[str, tuple[DataRequest, DataSeen, list[t.Any]]] = {
    "nothing there": (ITEM, NOTHING, [MakeData(PATH, "qcow2", 64 * MIB)]),
    "with a file system": (FORMATTED, NOTHING, [MakeData(PATH, "qcow2", 64 * MIB, "ext4", "db")]),
    "there": (ITEM, THERE, []),
    "there, never formatted again": (FORMATTED, THERE, []),
    "in use": (ITEM, dataclasses.replace(THERE, in_use=True), []),
    "larger": (LARGER, THERE, [GrowData(PATH, "qcow2", 64 * MIB, 65 * MIB)]),
    "left over": (
        ITEM,
        dataclasses.replace(NOTHING, leftovers=("/pool/.staging/x",)),
        [RemoveLeftovers(("/pool/.staging/x",)), MakeData(PATH, "qcow2", 64 * MIB)],
    ),
}


@pytest.mark.parametrize(("item", "seen", "steps"), PLANS.values(), ids=list(PLANS))
def test_steps(item: DataRequest, seen: DataSeen, steps: list[t.Any]) -> None:
    assert plan_data_volume(item, seen) == steps
    assert all(step.describe() for step in steps)


REFUSED: dict[str, tuple[DataRequest, DataSeen, type[Exception]]] = {
    "smaller": (dataclasses.replace(ITEM, virtual_bytes=63 * MIB), THERE, InvalidRequest),
    "larger in use": (LARGER, dataclasses.replace(THERE, in_use=True), TransitionRefused),
    "an overlay": (ITEM, dataclasses.replace(THERE, depends_on="/etc/shadow"), Conflict),
    "no room": (FORMATTED, dataclasses.replace(NOTHING, free_bytes=2 * MIB), NoSpace),
}


@pytest.mark.parametrize(("item", "seen", "error"), REFUSED.values(), ids=list(REFUSED))
def test_refusals(item: DataRequest, seen: DataSeen, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_data_volume(item, seen)


def test_removal() -> None:
    assert plan_data_removal(ITEM, NOTHING) == []
    assert plan_data_removal(ITEM, THERE) == [RemoveData(PATH, 7)]
    with pytest.raises(TransitionRefused):
        plan_data_removal(ITEM, dataclasses.replace(THERE, in_use=True))


def test_a_stop_that_is_only_planned_lets_it_grow() -> None:
    seen = dataclasses.replace(THERE, in_use=True)
    assert presume_data_volume(LARGER, seen) == seen
    assert plan_data_volume(LARGER, presume_data_volume(dataclasses.replace(LARGER, idle=True), seen))


def test_serials_fit_and_differ() -> None:
    assert serial_of("web-1", "db") == "web-1-db"
    assert serial_of("a" * 10, "b" * 9) == f"{'a' * 10}-{'b' * 9}"
    long = [serial_of("customer-frontend-1", name) for name in ("database", "documents")]
    assert long[0] == "customer-fr-d8eacf0d"
    assert all(len(serial) == 20 for serial in long)
    assert long[0] != long[1]


@pytest.mark.parametrize("name", ["web-1", ".db", "web-1.", "web-1.a/b", "web-1.a.b", "web-1.DB", "../x.db"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidRequest):
        split_name(name)


def test_a_place_follows_from_the_name() -> None:
    assert path_of("/pool", "web-1.db", "raw") == "/pool/data/web-1/db.raw"

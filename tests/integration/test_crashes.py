# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of one server, each operation of which is killed at chosen points: it ends as if nobody had died."""

from __future__ import annotations

import random
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.controller import Controller, RunningPlaybook
from tests.lab.hosts import LabHosts
from tests.trials.crash_site import CrashSite
from tests.trials.hooks.crash_hook import Point
from tests.trials.operations import CAPTURE, MAINTAIN, NEXT, RETIRE, UPDATE, Call, deploy, migrate

SEED = 20261121
"""Chooses one point for each victim; every other one is for ``make crash``."""

Clone = tuple[str, str, str, t.Optional[str]]
FIRST: Clone = ("web-server-v1", "operational", "active", "web-1")
SECOND: Clone = ("web-server-v2", "operational", "active", "web-1")
STANDBY: Clone = ("web-server-v1", "operational", "assigned", "web-1")
MAINTAINED: Clone = ("web-server-v2", "maintenance", "active", "web-1")
SPENT: Clone = ("web-server-v2", "spent", "attached", "web-1")


@dataclass(frozen=True)
class Event:
    """An operation, the clones that are there after it, and who dies in it, one after the other.

    Of each victim's points one is chosen: a pattern, and which of those that match. All of them are passed,
    whichever was chosen before.
    """

    name: str
    call: Call
    clones: t.Sequence[Clone]
    kills: t.Sequence[tuple[str, t.Sequence[tuple[str, int]]]] = ()

    def choose_points(self) -> list[Point]:
        """Return a point for each victim."""
        chance = random.Random(f"{SEED} {self.name}")
        chosen = [(victim, *chance.choice(points)) for victim, points in self.kills]
        return [
            Point("controller" if victim == "controller" else "module", pattern, number, victim)
            for victim, pattern, number in chosen
        ]


# Of two commits of a verb the first leases, and the second writes down what the module has done.
LIFE = (
    Event(
        "add_master",
        NEXT,
        [],
        [
            ("module", [("os.link", 1), ("os.rename", 1), ("after GuestFS.launch", 1)]),
            ("controller", [("master before COMMIT", number) for number in (1, 2)]),
        ],
    ),
    Event(
        "deploy",
        deploy(),
        [FIRST],
        [
            ("module", [("clone os.rename", 1), ("customize os.rename", 1)]),
            ("libvirtd", [("before virConnect.defineXML", 1), ("after virConnect.defineXML", 1)]),
            ("controller", [("attach before COMMIT", 2), ("activate before COMMIT", 1), ("activate before COMMIT", 2)]),
        ],
    ),
    Event(
        "migrate",
        migrate(live=True),
        [FIRST],
        [
            ("controller", [("place after COMMIT", 1), ("migrate after COMMIT", 1)]),
            ("module", [("before virDomain.migrateToURI3", 1), ("after virDomain.migrateToURI3", 1)]),
        ],
    ),
    Event(
        "update",
        UPDATE,
        [STANDBY, SECOND],
        [
            ("module", [("after virDomain.shutdownFlags", 1), ("after virConnect.defineXML", 1)]),
            ("libvirtd", [("before virDomain.create", 1), ("after virDomain.create", 1)]),
            ("controller", [("activate before COMMIT", 2), ("settle before COMMIT", 1)]),
        ],
    ),
    Event("maintain", MAINTAIN, [STANDBY, MAINTAINED]),
    Event(
        "capture",
        CAPTURE,
        [STANDBY, SPENT],
        [
            ("module", [("capture os.link", 1), ("capture os.remove root", 1)]),
            ("controller", [("capture after COMMIT", 1), ("capture before COMMIT", 2)]),
        ],
    ),
    Event(
        "retire",
        RETIRE,
        [],
        [
            ("module", [("after virDomain.undefineFlags", 1), ("after virNetwork.update", 1)]),
            ("controller", [("assign before COMMIT", 2), ("clone before COMMIT", 1)]),
            ("module", [("clone os.rename", 1), ("clone os.remove", 1)]),
        ],
    ),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[CrashSite]:
    with LabHosts(2, share_guests=True) as lab:
        site = CrashSite(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
        site.prepare(mini_image)
        yield site


def list_clones(site: CrashSite) -> list[Clone]:
    keys = ("master", "metastate", "stage", "machine")
    return sorted(t.cast("Clone", tuple(body[key] for key in keys)) for body in site.find("clone").values())


def test_a_life_in_which_every_operation_is_killed(site: CrashSite) -> None:
    for event in LIFE:
        live_through(site, event)
        assert (event.name, list_clones(site)) == (event.name, sorted(event.clones))
        assert (event.name, [*site.find_faults(), *site.verify()]) == (event.name, [])


def live_through(site: CrashSite, event: Event) -> None:
    """Do an operation, again and again until nobody is left to be killed in it."""

    def start() -> RunningPlaybook:
        return event.call.start(site)

    for point in event.choose_points():
        run, steps = site.watch(start, point)
        reached = [step for step in steps if re.search(point.pattern, step.what)]
        assert (run.returncode != 0, len(reached) >= point.number) == (True, True), (event.name, point, steps)
    site.finish(start)

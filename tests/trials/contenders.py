# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that play controllers: each round they want one object at one moment, and report how that went."""

from __future__ import annotations

import multiprocessing
import random
import typing as t
from dataclasses import dataclass

from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.objects import HistoryEntry, Key, Row
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

fork = multiprocessing.get_context("fork")
TIMEOUT_S = 120
PRIZES: tuple[Key, ...] = (("machine", "web-1"), ("deployment", "web"), ("master", "web-server-v1"))


@dataclass(frozen=True)
class Round:
    """What all want, as they saw it before; the winner may stay until the others have asked, or end at once."""

    prize: Key
    revision: int
    number: int
    winner_stays: bool


@dataclass(frozen=True)
class Answer:
    """How a round went for one: the operation of a winner, or what a loser was told."""

    pid: int
    run: str
    operation: str = ""
    refusal: str = ""


class Race:
    """A number of controllers at one catalog, over as many rounds as are asked for."""

    def __init__(self, url: str, count: int) -> None:
        self._catalog = open_catalog(url)
        with self._catalog.transaction() as tx:
            for key in PRIZES:
                tx.put(*key, {"round": -1})
        gate = fork.Barrier(count)
        links = [fork.Pipe() for _number in range(count)]
        self._links = [mine for mine, _theirs in links]
        self._processes = [
            fork.Process(target=_contend, args=(f"run-{number}.yml", url, gate, theirs), daemon=True)
            for number, (_mine, theirs) in enumerate(links)
        ]
        for process in self._processes:
            process.start()

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self._processes:
            process.kill()
            process.join(TIMEOUT_S)
        self._catalog.close()

    def run(self, rounds: int, seed: int) -> list[str]:
        """Run so many rounds for each prize; return what did not hold."""
        chance = random.Random(seed)
        found = []
        for number in range(rounds * len(PRIZES)):
            prize = PRIZES[number % len(PRIZES)]
            before = self._catalog.require(*prize)
            answers = self._play(Round(prize, before.revision, number, chance.random() < 0.5))
            problems = judge(answers, before, self._catalog.require(*prize), self._catalog.history(*prize))
            problems += [f"{operation.id} still runs" for operation in self._catalog.operations("running")]
            found += [f"round {number} for {prize[0]} {prize[1]}: {problem}" for problem in problems]
        return found

    def _play(self, wanted: Round) -> list[Answer]:
        for link in self._links:
            link.send(wanted)
        answers: list[Answer] = [_receive(link) for link in self._links]
        for number, link in enumerate(self._links):
            if answers[number].operation and wanted.winner_stays:
                link.send("go on")
                answers[number] = _receive(link)
        return answers


def judge(answers: t.Sequence[Answer], before: Row, after: Row, history: t.Sequence[HistoryEntry]) -> list[str]:
    """Return what is wrong after a round: one has won, all others were told who, and only that one is on record."""
    winners = [answer for answer in answers if answer.operation]
    if len(winners) != 1:
        return [f"{len(winners)} of {len(answers)} won"]
    (winner,) = winners
    name = f"({winner.run}, pid {winner.pid} on "
    losers = [answer for answer in answers if answer is not winner]
    problems = [f"a loser was told {loser.refusal!r}" for loser in losers if name not in loser.refusal]
    if after.revision != before.revision + 1:
        problems.append(f"revision {before.revision} became {after.revision}")
    if after.lease:
        problems.append(f"it is still held: {after.lease.describe()}")
    new = [(entry.operation, entry.run) for entry in history if entry.revision > before.revision]
    if new != [(winner.operation, winner.run)]:
        problems.append(f"history has {new}, the winner was {winner}")
    return problems


def _receive(link: t.Any) -> t.Any:
    if not link.poll(TIMEOUT_S):
        raise TimeoutError(f"a controller said nothing for {TIMEOUT_S} s")
    return link.recv()


def _contend(run: str, url: str, gate: t.Any, link: t.Any) -> None:
    catalog, owner = open_catalog(url), current_owner(run=run)
    while True:
        wanted: Round = link.recv()
        gate.wait(TIMEOUT_S)
        try:
            operation = catalog.begin("assign", [wanted.prize], owner=owner, expected={wanted.prize: wanted.revision})
            if wanted.winner_stays:
                link.send(Answer(owner.pid, run, operation.id))
                link.recv()
            catalog.commit(operation.id, {wanted.prize: {"round": wanted.number}})
        except Conflict as conflict:
            link.send(Answer(owner.pid, run, refusal=str(conflict)))
        else:
            link.send(Answer(owner.pid, run, operation.id))

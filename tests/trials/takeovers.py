# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners that are killed or frozen while they hold a machine, and somebody who takes over from them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import time
import typing as t

from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.heartbeat import Heartbeat
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.objects import Key, Operation, Owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

from tests.lab.commands import wait_until
from tests.trials.contenders import fork

TIMEOUT_S = 60
PRIZE: Key = ("machine", "web-1")
LEASE_S = 2.0
TAKEOVER_LIMIT_S = 10
SETTLED_S = 0.1
"""After a heartbeat, its transaction is over then: a file stays locked by who is frozen within one."""
LATE = {"provider": "late"}


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What becomes of an owner, and on which host the catalog believes it to be; None is this one."""

    signal: signal.Signals
    host: str | None = None

    @property
    def is_known_dead(self) -> bool:
        """Whether everybody here can see that the owner is gone, without waiting for the end of its lease."""
        return self.signal == signal.SIGKILL and self.host is None


TROUBLES = tuple(Trouble(number, host) for number in (signal.SIGKILL, signal.SIGSTOP) for host in (None, "elsewhere"))


class Holder:
    """A process that holds the machine and renews its lease, until it is told to end with a commit."""

    def __init__(self, url: str, host: str | None) -> None:
        self._link, theirs = fork.Pipe()
        self.process = fork.Process(target=self._hold, args=(url, host, theirs), daemon=True)
        self.process.start()
        self.operation_id = self.receive()

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.join(TIMEOUT_S)

    def _hold(self, url: str, host: str | None, link: t.Any) -> None:
        catalog, owner = open_catalog(url), current_owner(run="first.yml")
        owner = dataclasses.replace(owner, host=host or owner.host)
        operation = catalog.begin("assign", [PRIZE], owner=owner, lease_s=LEASE_S)
        with Heartbeat(catalog, operation.id, LEASE_S, max_s=TIMEOUT_S):
            link.send(operation.id)
            link.recv()
        link.send(
            [self._try(catalog.renew, operation.id, LEASE_S), self._try(catalog.commit, operation.id, {PRIZE: LATE})]
        )

    @staticmethod
    def _try(act: t.Callable[..., object], *arguments: t.Any) -> str:
        try:
            act(*arguments)
        except Conflict as conflict:
            return str(conflict)
        return "done"

    def receive(self) -> t.Any:
        """Return what the process says next."""
        if not self._link.poll(TIMEOUT_S):
            raise TimeoutError(f"a holder said nothing for {TIMEOUT_S} s")
        return self._link.recv()

    def meet(self, trouble: Trouble) -> None:
        """Kill or freeze it."""
        os.kill(t.cast(int, self.process.pid), trouble.signal)
        if trouble.signal == signal.SIGKILL:
            self.process.join(TIMEOUT_S)

    def go_on(self) -> list[str]:
        """Let it go on, and return how its renewal and its commit went."""
        os.kill(t.cast(int, self.process.pid), signal.SIGCONT)
        self._link.send("go on")
        return t.cast("list[str]", self.receive())


def race_takeovers(url: str, rounds: int, seed: int) -> tuple[float, list[str]]:
    """Have so many owners killed or frozen; return the longest delay after a lease, and what did not hold."""
    chance = random.Random(seed)
    longest_s, found = 0.0, []
    for number in range(rounds):
        trouble = TROUBLES[number % len(TROUBLES)]
        # One that is killed may be within a transaction.
        pause_s = chance.uniform(0, LEASE_S) if trouble.signal == signal.SIGKILL else SETTLED_S
        late_s, problems = try_takeover(url, trouble, pause_s)
        longest_s = max(longest_s, late_s)
        found += [f"takeover {number}, {trouble.signal.name} of {trouble.host or 'here'}: {it}" for it in problems]
    return longest_s, found


def try_takeover(url: str, trouble: Trouble, pause_s: float = SETTLED_S) -> tuple[float, list[str]]:
    """Take over from one owner; return how long after the end of its lease that was, and what did not hold."""
    with contextlib.closing(open_catalog(url)) as catalog:
        owner = current_owner(run="mine.yml")
        with catalog.transaction() as tx:
            tx.put(*PRIZE, {"provider": "kvm-1"})
        before = catalog.require(*PRIZE).revision
        with Holder(url, trouble.host) as holder:
            first = _read_end(catalog)
            wait_until(lambda: _read_end(catalog) > first, timeout_s=TIMEOUT_S, what="a heartbeat")
            time.sleep(pause_s)
            holder.meet(trouble)
            operation, late_s = take_over(catalog, owner)
            catalog.commit(operation.id, {PRIZE: {"provider": "kvm-2"}})
            problems = judge(late_s, trouble)
            if operation.recovered != [holder.operation_id]:
                problems.append(f"{operation.recovered} was recovered, not {holder.operation_id}")
            if trouble.signal == signal.SIGSTOP:
                problems += judge_answers(holder.go_on(), owner)
        row = catalog.require(*PRIZE)
        if (row.body, row.revision, row.lease) != ({"provider": "kvm-2"}, before + 1, None):
            problems.append(f"the machine is {row.body} at revision {row.revision}, {row.lease} after {before}")
        if catalog.history(*PRIZE, limit=1)[0].operation != operation.id:
            problems.append("its history does not end with who took over")
    return late_s, problems


def take_over(catalog: t.Any, owner: Owner) -> tuple[Operation, float]:
    """Ask for the machine until it is given; return the operation, and how long after the lease's end that was."""
    until = _read_end(catalog)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Conflict):
            operation: Operation = catalog.begin("retire", [PRIZE], owner=owner)
            print(f"taken over {operation.since - until:.2f} s after the end of the lease")
            return operation, operation.since - until
        time.sleep(0.05)
    raise TimeoutError(f"nobody could take over within {TIMEOUT_S} s")


def judge(late_s: float, trouble: Trouble) -> list[str]:
    """Return what is wrong about the moment of a takeover."""
    if trouble.is_known_dead:
        return [] if late_s < 0 else [f"it waited for the end of the lease, and {late_s:.2f} s"]
    return [] if 0 <= late_s <= TAKEOVER_LIMIT_S else [f"it was {late_s:.2f} s after the end of the lease"]


def judge_answers(answers: t.Sequence[str], heir: Owner) -> list[str]:
    """Return what is wrong with what a frozen owner is told when it goes on: no, and who took over."""
    wanted = ("(first.yml, pid ", f"retire by {heir.describe()} took over")
    return [f"it was told {answer!r}" for answer in answers if not all(words in answer for words in wanted)]


def _read_end(catalog: t.Any) -> float:
    return float(catalog.require(*PRIZE).lease.until)

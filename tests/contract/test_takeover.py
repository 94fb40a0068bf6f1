# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takeover from real processes, killed or frozen, as their own host and as another sees it. For every store."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.heartbeat import Heartbeat
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner

from tests.contract.crowd import TIMEOUT_S, fork
from tests.lab.commands import wait_until

PRIZE = ("machine", "web-1")
LEASE_S = 2.0
TAKEOVER_LIMIT_S = 10
LATE = {"provider": "late"}


@pytest.fixture
def catalog(catalog):
    """Return a catalog with one machine."""
    with catalog.transaction() as transaction:
        transaction.put(*PRIZE, {"provider": "kvm-1"})
    return catalog


class Holder:
    """A process that holds the machine and renews its lease, until it is told to end with a commit."""

    def __init__(self, store, host):
        self._link, theirs = fork.Pipe()
        self.process = fork.Process(target=self._hold, args=(store, host, theirs), daemon=True)
        self.process.start()
        self.operation_id = self.receive()

    def _hold(self, store, host, link):
        catalog, owner = store.open(), current_owner(run="first.yml")
        owner = dataclasses.replace(owner, host=host or owner.host)
        operation = catalog.begin("assign", [PRIZE], owner=owner, lease_s=LEASE_S)
        with Heartbeat(catalog, operation.id, LEASE_S, max_s=TIMEOUT_S):
            link.send(operation.id)
            link.recv()
        link.send(
            [self._try(catalog.renew, operation.id, LEASE_S), self._try(catalog.commit, operation.id, {PRIZE: LATE})]
        )

    @staticmethod
    def _try(act, *arguments):
        try:
            act(*arguments)
        except Conflict as conflict:
            return str(conflict)
        return "done"

    def receive(self):
        """Return what the process says next."""
        assert self._link.poll(TIMEOUT_S)
        return self._link.recv()

    def go_on(self):
        """Let it go on, and return how its renewal and its commit went."""
        os.kill(self.process.pid, signal.SIGCONT)
        self._link.send("go on")
        return self.receive()


@pytest.fixture
def hold(store, catalog):
    """Return a maker of a holder, on this host or on one of another name, whose lease was renewed just now."""
    with contextlib.ExitStack() as stack:

        def make(host=None):
            holder = Holder(store, host)
            stack.callback(holder.process.kill)
            first = catalog.require(*PRIZE).lease.until
            wait_until(lambda: catalog.require(*PRIZE).lease.until > first, timeout_s=TIMEOUT_S, what="a heartbeat")
            time.sleep(0.1)  # its transaction is over: a file stays locked by who is frozen within one
            return holder

        yield make


def take_over(catalog, owner, holder):
    """Ask for the machine until it is given; return the operation, and how long after the lease's end that was."""
    until = catalog.require(*PRIZE).lease.until
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Conflict):
            operation = catalog.begin("retire", [PRIZE], owner=owner)
            assert operation.recovered == [holder.operation_id]
            print(f"taken over {operation.since - until:.2f} s after the end of the lease")
            return operation, operation.since - until
        time.sleep(0.05)
    raise AssertionError("nobody could take over")


def test_a_killed_owner_is_taken_over_before_its_lease_ends(catalog, owner, hold):
    holder = hold()
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.join(TIMEOUT_S)

    assert take_over(catalog, owner, holder)[1] < 0


def test_another_host_takes_over_from_a_killed_owner_when_its_lease_ends(catalog, owner, hold):
    holder = hold("elsewhere")
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.join(TIMEOUT_S)

    _operation, late_s = take_over(catalog, owner, holder)
    assert 0 <= late_s <= TAKEOVER_LIMIT_S


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_a_frozen_owner_is_taken_over_and_finds_itself_refused(catalog, owner, hold, host):
    holder = hold(host)
    os.kill(holder.process.pid, signal.SIGSTOP)

    operation, late_s = take_over(catalog, owner, holder)
    assert 0 <= late_s <= TAKEOVER_LIMIT_S
    catalog.commit(operation.id, {PRIZE: {"provider": "kvm-2"}})

    for answer in holder.go_on():
        assert "(first.yml, pid " in answer
        assert f"retire by {owner.describe()} took over" in answer
    row = catalog.require(*PRIZE)
    assert (row.body, row.revision, row.lease) == ({"provider": "kvm-2"}, 2, None)
    assert [entry.operation for entry in catalog.history(*PRIZE)] == [operation.id, None]

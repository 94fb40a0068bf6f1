# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes at once, and killed in the middle. For every store."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner

from tests.contract.crowd import TIMEOUT_S, Crowd, fork

SHARED = ("machine", "shared")


@pytest.fixture
def catalog(catalog):
    """Return a catalog with one machine that all want."""
    with catalog.transaction() as transaction:
        transaction.put(*SHARED, {"count": 0})
    return catalog


def test_no_update_is_lost_with_expected_revisions(store, catalog):
    def count_up(_number):
        mine, conflicts = store.open(), 0
        for _step in range(40):
            while True:
                row = mine.require(*SHARED)
                try:
                    with mine.transaction() as transaction:
                        transaction.put(*SHARED, {"count": row.body["count"] + 1}, expected_revision=row.revision)
                except Conflict:
                    conflicts += 1
                    continue
                break
        return conflicts

    conflicts = Crowd(6, count_up).collect()

    row = catalog.require(*SHARED)
    assert (row.body, row.revision) == ({"count": 240}, 241)
    assert sum(conflicts) > 0, "nothing was contended, so nothing was tested"


def test_of_many_that_begin_one_wins_and_the_others_learn_who(store, catalog):
    finish = fork.Event()

    def try_to_begin(number):
        mine = store.open()
        try:
            operation = mine.begin("assign", [SHARED], owner=current_owner(run=f"run {number}"))
        except Conflict as conflict:
            return None, conflict.holder["operation"]
        return operation.id, None

    def begin_and_stay(number):
        answer = try_to_begin(number)
        answers.put(answer)
        finish.wait(TIMEOUT_S)  # an owner that went away would rightly be taken over

    answers = fork.Queue()
    crowd = Crowd(10, begin_and_stay)
    found = [answers.get(timeout=TIMEOUT_S) for _process in range(10)]
    finish.set()
    crowd.collect()

    winners = [operation for operation, _holder in found if operation]
    assert len(winners) == 1
    assert {holder for _operation, holder in found if holder} == set(winners)


def test_numbers_are_given_out_once(store, catalog):
    def draw(_number):
        mine, numbers = store.open(), []
        for _step in range(20):
            with mine.transaction() as transaction:
                numbers.append(transaction.next_number("web-v1"))
        return numbers

    drawn = [number for numbers in Crowd(5, draw).collect() for number in numbers]

    assert sorted(drawn) == list(range(1, 101))


def test_a_claim_has_one_winner(store, catalog):
    def claim(number):
        try:
            with store.open().transaction() as transaction:
                transaction.put("machine", f"m{number}", {"nics": [{"address": "10.0.0.5"}]})
        except Conflict as conflict:
            return conflict.problem
        return f"address 10.0.0.5 belongs to machine m{number}"

    assert len(set(Crowd(8, claim).collect())) == 1
    assert len(catalog.find("machine")) == 2


def test_many_that_make_the_catalog_make_one(store):
    uuids = Crowd(8, lambda _number: store.open().uuid).collect()

    assert len(set(uuids)) == 1
    assert uuids[0]


def test_facts_of_runs_at_once_are_merged(store):
    Crowd(8, lambda number: store.open().facts_set("h", {f"key{number}": number})).collect()

    assert store.open().facts_get("h") == {f"key{number}": number for number in range(8)}


def test_a_forked_child_uses_a_connection_of_its_own(store, catalog):
    def write(number):
        for step in range(10):
            with catalog.transaction() as transaction:  # the parent's object, open already
                transaction.put("machine", f"m{number}", {"step": step})
        return os.getpid()

    Crowd(4, write).collect()
    with catalog.transaction() as transaction:
        transaction.put("machine", "parent", {})

    assert [row.body.get("step") for row in catalog.find("machine")] == [9, 9, 9, 9, None, None]


def test_a_writer_killed_at_any_moment_leaves_all_or_nothing(store, catalog):
    keys = [("machine", f"m{number}") for number in range(4)]
    with catalog.transaction() as transaction:
        for key in keys:
            transaction.put(*key, {"count": 0})

    def write_for_ever(_number):
        mine = store.open()
        for count in range(1, 10**6):
            with mine.transaction() as transaction:
                for key in keys:
                    transaction.put(*key, {"count": count + 1000 * os.getpid()})

    def read_revision():
        return catalog.require(*keys[0]).revision

    for attempt in range(25):
        before = read_revision()
        writer = fork.Process(target=write_for_ever, args=(0,))
        writer.start()
        wait_until(lambda: read_revision() > before)  # noqa: B023 - used up before the next turn
        time.sleep(0.0007 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(TIMEOUT_S)
        rows = [row for row in catalog.find("machine") if row.key != SHARED]
        assert len({(row.revision, row.body["count"]) for row in rows}) == 1
        with catalog.transaction() as transaction:  # nobody keeps it locked
            transaction.put(*SHARED, {"count": attempt})


def wait_until(holds):
    """Wait until a condition holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_an_operation_of_a_killed_process_is_taken_over_at_once(store, catalog, owner):
    begun = fork.Queue()

    def begin_and_hang():
        begun.put(store.open().begin("assign", [SHARED], owner=current_owner(), lease_s=3600).id)
        time.sleep(TIMEOUT_S)

    process = fork.Process(target=begin_and_hang)
    process.start()
    operation_id = begun.get(timeout=TIMEOUT_S)
    with pytest.raises(Conflict):
        catalog.begin("assign", [SHARED], owner=owner)
    os.kill(process.pid, signal.SIGKILL)
    process.join(TIMEOUT_S)

    assert catalog.begin("assign", [SHARED], owner=owner).recovered == [operation_id]

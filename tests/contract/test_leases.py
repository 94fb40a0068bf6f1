# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations: who holds what, takeover, late writers. For every store."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, InvalidRequest, NotFound
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.heartbeat import Heartbeat

A, B, C = ("machine", "a"), ("machine", "b"), ("machine", "c")


@pytest.fixture
def catalog(catalog):
    """Return a catalog with three machines."""
    with catalog.transaction() as transaction:
        for key in (A, B, C):
            transaction.put(*key, {"provider": "kvm-1"})
    return catalog


def revisions(catalog, *keys):
    return [catalog.require(*key).revision for key in keys]


def holder(catalog, key):
    lease = catalog.require(*key).lease
    return lease.operation if lease else None


# Begin


def test_begin_marks_all_targets_and_keeps_a_journal(catalog, owner):
    operation = catalog.begin("deploy", [A, B], owner=owner, intent={"count": 2}, expected={A: 1}, lease_s=30)

    assert (operation.verb, operation.state, operation.owner, operation.intent) == (
        "deploy",
        "running",
        owner,
        {"count": 2},
    )
    assert (operation.targets, operation.recovered) == ([A, B], [])
    assert operation.until - operation.since == pytest.approx(30)
    assert operation.since == pytest.approx(time.time(), abs=5)
    assert catalog.operations("running") == catalog.operations() == [operation]
    assert [holder(catalog, key) for key in (A, B, C)] == [operation.id, operation.id, None]
    assert revisions(catalog, A, B) == [1, 1]


def test_a_busy_object_is_a_conflict_that_names_the_holder(catalog, owner, other):
    first = catalog.begin("deploy", [A, B], owner=other)

    with pytest.raises(Conflict) as conflict:
        catalog.begin("retire", [C, B], owner=owner)

    text = str(conflict.value)
    assert "machine b: is busy: deploy by alice (nightly.yml, pid 1 on elsewhere), since " in text
    assert ", until " in text
    assert conflict.value.holder["operation"] == first.id
    assert (conflict.value.holder["user"], conflict.value.holder["run"]) == ("alice", "nightly.yml")
    assert (conflict.value.holder["since"], conflict.value.holder["until"]) == (first.since, first.until)
    assert holder(catalog, C) is None
    assert len(catalog.operations()) == 1


def test_a_stale_revision_is_a_conflict_and_marks_nothing(catalog, owner):
    with catalog.transaction() as transaction:
        transaction.put(*B, {"provider": "kvm-2"})

    with pytest.raises(Conflict, match="machine b: was changed by somebody else: it is at revision 2, not 1"):
        catalog.begin("deploy", [A, B], owner=owner, expected={A: 1, B: 1})
    assert holder(catalog, A) is None
    assert catalog.operations() == []


def test_a_stale_revision_tells_who_changed_the_object(catalog, owner, other):
    with catalog.transaction() as transaction:
        transaction.put(*A, {"provider": "kvm-2"}, verb="discover", owner=other)
    catalog.commit(catalog.begin("assign", [B], owner=other).id, {B: {"provider": "kvm-2"}})

    with pytest.raises(Conflict, match=r"by somebody else, in discover by alice \(nightly.yml\): it is at revision 2"):
        catalog.begin("deploy", [A], owner=owner, expected={A: 1})
    with pytest.raises(Conflict, match=r"in assign by alice \(nightly.yml, pid 1 on elsewhere\): it is at revision 2"):
        catalog.begin("deploy", [B], owner=owner, expected={B: 1})


def test_begin_needs_targets_that_exist(catalog, owner):
    with pytest.raises(NotFound, match="machine d"):
        catalog.begin("deploy", [A, ("machine", "d")], owner=owner)
    with pytest.raises(InvalidRequest, match="has no target"):
        catalog.begin("deploy", [], owner=owner)
    assert holder(catalog, A) is None


def test_begin_can_be_part_of_a_transaction(catalog, owner):
    with pytest.raises(ZeroDivisionError), catalog.transaction() as transaction:
        transaction.put("machine", "d", {})
        transaction.begin("deploy", [("machine", "d"), A], owner=owner)
        raise ZeroDivisionError

    assert holder(catalog, A) is None
    assert catalog.operations() == []


# Commit


def test_commit_writes_releases_and_ends(catalog, owner):
    operation = catalog.begin("assign", [A, B, C], owner=owner)

    rows = catalog.commit(operation.id, {A: {"provider": "kvm-2"}, B: None})

    assert (rows[A].revision, rows[A].body, rows[A].lease, rows[B]) == (2, {"provider": "kvm-2"}, None, None)
    assert catalog.get(*B) is None
    assert catalog.require(*C).body == {"provider": "kvm-1"}
    assert [holder(catalog, A), holder(catalog, C)] == [None, None]
    assert [(entry.id, entry.state) for entry in catalog.operations()] == [(operation.id, "done")]


def test_an_unchanged_body_is_released_without_a_new_revision(catalog, owner):
    operation = catalog.begin("assign", [A], owner=owner)

    catalog.commit(operation.id, {A: {"provider": "kvm-1"}})

    assert revisions(catalog, A) == [1]
    assert holder(catalog, A) is None


def test_an_error_is_kept_in_the_record_that_stays(catalog, owner):
    operation = catalog.begin("assign", [A, B], owner=owner)

    catalog.commit(operation.id, {B: {"provider": "kvm-2"}}, errors={A: {"msg": "no room"}, B: {"msg": "half done"}})

    assert catalog.require(*A).body == {"provider": "kvm-1", "last_error": {"msg": "no room"}}
    assert catalog.require(*B).body == {"provider": "kvm-2", "last_error": {"msg": "half done"}}
    assert catalog.operations()[0].state == "failed"
    assert holder(catalog, A) is None


def test_what_is_left_open_stays_leased(catalog, owner):
    operation = catalog.begin("assign", [A, B], owner=owner)

    catalog.commit(operation.id, {A: {"provider": "kvm-2"}}, close=False)

    assert [holder(catalog, A), holder(catalog, B)] == [None, operation.id]
    assert catalog.operations()[0].state == "running"
    catalog.commit(operation.id, {B: {"provider": "kvm-2"}}, close=False)
    assert catalog.operations()[0].state == "done"


def test_only_what_is_held_can_be_committed(catalog, owner, other):
    operation = catalog.begin("assign", [A], owner=owner)
    catalog.begin("assign", [B], owner=other)

    for key in (B, C):
        with pytest.raises(Conflict, match=f"machine {key[1]}: is not held by this assign"):
            catalog.commit(operation.id, {A: {"x": 1}, key: {"x": 1}})
    assert revisions(catalog, A, B, C) == [1, 1, 1]


def test_commit_after_the_end_is_refused(catalog, owner):
    operation = catalog.begin("assign", [A], owner=owner)
    catalog.commit(operation.id, {})

    with pytest.raises(Conflict, match="is over"):
        catalog.commit(operation.id, {A: {"x": 1}})
    with pytest.raises(Conflict, match="is over"):
        catalog.renew(operation.id, 60)
    with pytest.raises(Conflict, match="not in the journal"):
        catalog.commit("unknown", {})


def test_abort_releases_and_changes_nothing(catalog, owner):
    operation = catalog.begin("assign", [A], owner=owner)

    catalog.abort(operation.id)
    catalog.abort(operation.id)

    assert (holder(catalog, A), revisions(catalog, A), catalog.operations()[0].state) == (None, [1], "failed")


# Takeover


def test_a_dead_owner_is_taken_over_and_its_late_commit_refused(catalog, owner, dead):
    first = catalog.begin("assign", [A, B], owner=dead, lease_s=3600)

    second = catalog.begin("assign", [A], owner=owner)

    assert second.recovered == [first.id]
    assert [entry.state for entry in catalog.operations()] == ["failed", "running"]
    successor = f"is over .*assign by {owner.user} .mine.yml, pid {owner.pid} on .* took over"
    with pytest.raises(Conflict, match=successor):
        catalog.commit(first.id, {B: {"x": 1}})
    with pytest.raises(Conflict, match=successor):
        catalog.renew(first.id, 60)
    catalog.abort(first.id)
    assert holder(catalog, A) == second.id


def test_the_other_targets_of_a_dead_operation_are_reported_when_their_turn_comes(catalog, owner, dead):
    first = catalog.begin("assign", [A, B], owner=dead)
    second = catalog.begin("assign", [A], owner=owner)
    catalog.commit(second.id, {})

    assert holder(catalog, B) == first.id
    assert catalog.begin("assign", [B], owner=owner).recovered == [first.id]


def test_a_lease_that_is_over_is_taken_over(catalog, owner, other):
    first = catalog.begin("assign", [A], owner=other)
    with pytest.raises(Conflict):
        catalog.begin("assign", [A], owner=owner)
    catalog.renew(first.id, 0.05)
    time.sleep(0.1)

    assert catalog.begin("assign", [A], owner=owner).recovered == [first.id]
    with pytest.raises(Conflict, match="is over"):
        catalog.commit(first.id, {A: {"x": 1}})


def test_an_owner_over_its_lease_may_commit_while_nobody_took_over(catalog, other):
    operation = catalog.begin("assign", [A], owner=other, lease_s=0.01)
    time.sleep(0.05)

    assert catalog.commit(operation.id, {A: {"x": 1}})[A].revision == 2


def test_renewing_prolongs(catalog, owner, other):
    operation = catalog.begin("assign", [A], owner=other, lease_s=0.2)

    assert catalog.renew(operation.id, 60).until > operation.until + 50
    time.sleep(0.3)
    with pytest.raises(Conflict):
        catalog.begin("assign", [A], owner=owner)


# Operations within operations


def test_an_inner_operation_gives_the_objects_back(catalog, owner):
    outer = catalog.begin("deploy", [A, B], owner=owner)
    inner = catalog.begin("assign", [A], owner=owner, alongside=[outer.id])

    assert [holder(catalog, A), holder(catalog, B)] == [inner.id, outer.id]
    with pytest.raises(Conflict, match="is not held by this deploy"):
        catalog.commit(outer.id, {A: {"x": 1}})
    catalog.commit(inner.id, {A: {"x": 1}})
    assert holder(catalog, A) == outer.id
    catalog.commit(outer.id, {})
    assert [holder(catalog, A), holder(catalog, B)] == [None, None]


def test_an_inner_operation_does_not_free_the_object_for_others(catalog, owner, other):
    outer = catalog.begin("deploy", [A], owner=owner)
    inner = catalog.begin("assign", [A], owner=owner, alongside=[outer.id])

    with pytest.raises(Conflict) as conflict:
        catalog.begin("retire", [A], owner=other)
    assert conflict.value.holder["operation"] == inner.id
    catalog.abort(inner.id)
    with pytest.raises(Conflict) as conflict:
        catalog.begin("retire", [A], owner=other)
    assert conflict.value.holder["operation"] == outer.id


def test_a_dead_inner_operation_does_not_hand_the_object_to_others(catalog, owner, other, dead):
    outer = catalog.begin("deploy", [A], owner=owner)
    inner = catalog.begin("assign", [A], owner=dead, alongside=[outer.id])

    with pytest.raises(Conflict) as conflict:
        catalog.begin("retire", [A], owner=other)
    assert conflict.value.holder["operation"] == outer.id
    again = catalog.begin("assign", [A], owner=owner, alongside=[outer.id])
    assert again.recovered == [inner.id]
    catalog.commit(again.id, {})
    assert holder(catalog, A) == outer.id


def test_dead_inner_and_outer_operations_are_both_taken_over(catalog, owner, dead):
    outer = catalog.begin("deploy", [A], owner=dead)
    inner = catalog.begin("assign", [A], owner=dead, alongside=[outer.id])

    assert catalog.begin("retire", [A], owner=owner).recovered == sorted([inner.id, outer.id])


def test_nothing_begins_within_an_operation_that_was_taken_over(catalog, owner, dead):
    outer = catalog.begin("deploy", [A], owner=dead)
    catalog.commit(catalog.begin("retire", [A], owner=owner).id, {})

    with pytest.raises(Conflict, match=f"deploy by .* is over .*retire by .*pid {owner.pid} .*took over"):
        catalog.begin("assign", [A], owner=dead, alongside=[outer.id])
    assert holder(catalog, A) is None


def test_an_object_is_free_when_the_outer_operation_ended_before_the_inner_one(catalog, owner):
    outer = catalog.begin("deploy", [A, B], owner=owner)
    inner = catalog.begin("assign", [A], owner=owner, alongside=[outer.id])
    catalog.commit(outer.id, {})

    assert holder(catalog, A) == inner.id
    catalog.commit(inner.id, {})
    assert holder(catalog, A) is None


# Writing beside operations


def test_a_leased_object_cannot_be_put_or_deleted_by_others(catalog, owner, other):
    operation = catalog.begin("assign", [A], owner=other)

    with catalog.transaction() as transaction:
        with pytest.raises(Conflict, match="is busy: assign by alice"):
            transaction.put(*A, {"x": 1}, owner=owner)
        with pytest.raises(Conflict, match="is busy: assign by alice"):
            transaction.delete(*A)
        transaction.put(*A, {"x": 1}, owner=other)
        transaction.put(*A, {"x": 2}, owner=owner, alongside=[operation.id])
    assert holder(catalog, A) == operation.id


def test_an_object_left_by_a_dead_owner_can_be_put_but_is_still_reported(catalog, owner, dead):
    operation = catalog.begin("assign", [A], owner=dead)

    with catalog.transaction() as transaction:
        transaction.put(*A, {"x": 1}, owner=owner)
    assert catalog.begin("assign", [A], owner=owner).recovered == [operation.id]


# What was seen of objects


def seen_now(catalog, *keys):
    return dict.fromkeys(keys, catalog.now())


def test_what_was_seen_of_a_free_object_that_stays_is_to_be_trusted(catalog, owner, dead):
    catalog.begin("assign", [A], owner=dead)
    catalog.begin("assign", [B], owner=owner)

    with catalog.transaction() as transaction:
        transaction.refuse_unsettled(seen_now(catalog, A, B, C, ("machine", "never")), owner=owner)


def test_what_was_seen_of_an_object_that_is_worked_on_tells_nothing(catalog, owner, other):
    operation = catalog.begin("assign", [B], owner=other)

    with catalog.transaction() as transaction, pytest.raises(Conflict, match="machine b: is busy: assign by") as busy:
        transaction.refuse_unsettled(seen_now(catalog, A, B), owner=owner)
    assert busy.value.holder["operation"] == operation.id


@pytest.mark.parametrize("body", [{"provider": "kvm-2"}, None], ids=["changed", "deleted"])
def test_what_was_seen_before_a_change_is_old(catalog, owner, other, body):
    seen_at = seen_now(catalog, A, B)
    while catalog.now() <= seen_at[B]:
        time.sleep(0.001)  # a store's clock may tick in milliseconds
    operation = catalog.begin("migrate", [B], owner=other)
    catalog.commit(operation.id, {B: body})

    told = rf"machine b: was changed by somebody else, in migrate by {other.user} .*, after this run had looked at it"
    with catalog.transaction() as transaction, pytest.raises(Conflict, match=told):
        transaction.refuse_unsettled(seen_at, owner=owner)
    with catalog.transaction() as transaction:
        transaction.refuse_unsettled(seen_now(catalog, A, B), owner=owner)


# Heartbeat


def test_a_heartbeat_keeps_the_lease_while_the_work_lasts(catalog, owner, other):
    operation = catalog.begin("assign", [A], owner=other, lease_s=2)

    with Heartbeat(catalog, operation.id, lease_s=2, max_s=60) as heartbeat:
        time.sleep(3)
        with pytest.raises(Conflict):
            catalog.begin("assign", [A], owner=owner)
    assert heartbeat.lost is None


def test_a_heartbeat_is_bounded(catalog, owner, other):
    operation = catalog.begin("assign", [A], owner=other, lease_s=0.3)

    with Heartbeat(catalog, operation.id, lease_s=0.3, max_s=0):
        time.sleep(0.5)
        assert catalog.begin("assign", [A], owner=owner).recovered == [operation.id]


def test_a_heartbeat_tells_that_the_lease_is_lost(catalog, owner, dead):
    operation = catalog.begin("assign", [A], owner=dead, lease_s=0.3)
    catalog.begin("assign", [A], owner=owner)

    taken = threading.Event()
    with Heartbeat(catalog, operation.id, lease_s=0.3, max_s=60, when_taken=taken.set) as heartbeat:
        assert taken.wait(30)
    assert isinstance(heartbeat.lost, Conflict)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects, transactions, claims, history, facts: what every store must keep."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
)


def put(catalog, kind, name, body, **options):
    with catalog.transaction() as transaction:
        return transaction.put(kind, name, body, **options)


def delete(catalog, kind, name, **options):
    with catalog.transaction() as transaction:
        transaction.delete(kind, name, **options)


def machine(server, **fields):
    return {"provider": "kvm-1", "server": server, "deployment": "web", **fields}


# Objects


def test_an_absent_object_is_none_and_required_is_an_error(catalog):
    assert catalog.get("master", "web-v1") is None
    with pytest.raises(NotFound, match="master web-v1: does not exist"):
        catalog.require("master", "web-v1")


def test_a_record_comes_back_as_it_was_put(store, catalog):
    body = {"function": "wéb", "volumes": [{"name": "root", "virtual_bytes": 2**40}], "none": None, "yes": True}

    row = put(catalog, "master", "web-v1", body)

    assert (row.kind, row.name, row.revision, row.body, row.lease) == ("master", "web-v1", 1, body, None)
    assert store.open().require("master", "web-v1") == row


def test_an_equal_record_is_not_written_again(catalog):
    first = put(catalog, "master", "web-v1", {"a": 1, "b": 2})

    assert put(catalog, "master", "web-v1", {"b": 2, "a": 1}) == first
    assert len(catalog.history("master", "web-v1")) == 1


def test_one_and_true_are_not_equal(catalog):
    put(catalog, "master", "web-v1", {"a": 1})

    assert put(catalog, "master", "web-v1", {"a": True}).revision == 2


def test_each_change_is_a_new_revision(catalog):
    put(catalog, "master", "web-v1", {"a": 1})

    assert put(catalog, "master", "web-v1", {"a": 2}, expected_revision=1).revision == 2


def test_several_records_are_put_at_once(catalog, owner, other):
    first = put(catalog, "machine", "a", machine("web-1"))
    put(catalog, "machine", "b", machine("web-2"))

    with catalog.transaction() as transaction:
        transaction.put_all(
            {("machine", "a"): machine("web-1"), ("machine", "b"): machine("web-3"), ("pool", "p"): {"pool": "p"}}
        )

    found = catalog.get_some([("machine", "a"), ("machine", "b"), ("machine", "c"), ("pool", "p")])
    assert {key: row.revision for key, row in found.items()} == {
        ("machine", "a"): 1,
        ("machine", "b"): 2,
        ("pool", "p"): 1,
    }
    assert found["machine", "a"] == first
    catalog.begin("assign", [("machine", "b")], owner=other)
    with pytest.raises(Conflict, match="machine b: is busy: assign by alice"), catalog.transaction() as transaction:
        transaction.put_all({("machine", "a"): machine("web-4"), ("machine", "b"): machine("web-5")}, owner=owner)
    assert catalog.get("machine", "a") == first


def test_of_records_put_at_once_no_two_have_the_same(catalog):
    with (
        pytest.raises(Conflict, match="machine b: server web-1 belongs to machine a"),
        catalog.transaction() as transaction,
    ):
        transaction.put_all({("machine", "a"): machine("web-1"), ("machine", "b"): machine("web-1")})
    assert catalog.find("machine") == []


def test_a_stale_revision_is_a_conflict(catalog):
    put(catalog, "master", "web-v1", {"a": 1})
    put(catalog, "master", "web-v1", {"a": 2})

    with pytest.raises(Conflict, match="is at revision 2, not 1"):
        put(catalog, "master", "web-v1", {"a": 3}, expected_revision=1)
    with pytest.raises(Conflict, match="is at revision 2, not 1"):
        delete(catalog, "master", "web-v1", expected_revision=1)
    assert catalog.require("master", "web-v1").body == {"a": 2}


def test_revision_zero_means_that_there_is_none_yet(catalog):
    put(catalog, "master", "web-v1", {"a": 1}, expected_revision=0)

    with pytest.raises(Conflict, match="exists already"):
        put(catalog, "master", "web-v1", {"a": 2}, expected_revision=0)
    with pytest.raises(Conflict, match="does not exist any more"):
        put(catalog, "master", "web-v2", {"a": 2}, expected_revision=1)


def test_a_name_used_again_goes_on_counting(catalog):
    put(catalog, "master", "web-v1", {"a": 1})
    delete(catalog, "master", "web-v1")
    assert catalog.get("master", "web-v1") is None

    assert put(catalog, "master", "web-v1", {"a": 1}).revision == 3


def test_deleting_what_is_not_there_is_an_error(catalog):
    with pytest.raises(NotFound):
        delete(catalog, "master", "web-v1")


def test_kinds_have_namespaces_of_their_own(catalog):
    put(catalog, "pool", "x", {"a": 1})
    put(catalog, "provider", "x", {"a": 2})

    assert catalog.require("pool", "x").body == {"a": 1}
    assert catalog.require("provider", "x").body == {"a": 2}


@pytest.mark.parametrize("kind", ["snapshot", ""])
def test_an_unknown_kind_is_refused(catalog, kind):
    with pytest.raises(InvalidRequest, match="there is no kind"):
        put(catalog, kind, "x", {})
    with pytest.raises(InvalidRequest, match="there is no kind"):
        catalog.find(kind)


@pytest.mark.parametrize(("name", "body"), [("", {}), ("x", ["list"]), ("x", {"a": object()})])
def test_a_bad_record_is_refused(catalog, name, body):
    with pytest.raises(InvalidRequest):
        put(catalog, "master", name, body)
    assert catalog.find("master") == []


def test_a_secret_is_refused_by_its_key_and_nothing_is_written(catalog):
    class Vaulted(str):
        __ENCRYPTED__ = True

    with pytest.raises(InvalidRequest, match=r"clone c, customization\.inputs\.password"):
        put(catalog, "clone", "c", {"customization": {"inputs": {"password": Vaulted("swordfish")}}})
    assert catalog.get("clone", "c") is None


# Queries


def test_find_by_tags(catalog):
    for number, (server, provider) in enumerate([("web-2", "b"), ("web-1", "a"), ("db-1", "a")]):
        deployment = server.partition("-")[0]
        put(catalog, "machine", f"m{number}", {"server": server, "provider": provider, "deployment": deployment})

    def find(**tags):
        return [row.body["server"] for row in catalog.find("machine", **tags)]

    assert find() == ["web-2", "web-1", "db-1"]
    assert find(deployment="web") == ["web-2", "web-1"]
    assert find(deployment="web", provider="a") == ["web-1"]
    assert find(server=["db-1", "web-2", "no-1"]) == ["web-2", "db-1"]
    assert find(server=[]) == []
    assert find(server="nobody") == []


def test_find_follows_changes_and_deletions(catalog):
    put(catalog, "master", "web-v1", {"version": 1, "state": "importing"})
    put(catalog, "master", "web-v1", {"version": 1, "state": "available"})

    assert catalog.find("master", state="importing") == []
    assert [row.name for row in catalog.find("master", state="available", version=1)] == ["web-v1"]
    delete(catalog, "master", "web-v1")
    assert catalog.find("master", version="1") == []


def test_a_pool_is_found_by_each_of_its_providers(catalog):
    put(catalog, "pool", "shared", {"pool": "shared", "providers": ["kvm-1", "kvm-2"]})

    assert [row.name for row in catalog.find("pool", provider="kvm-2")] == ["shared"]


def test_an_unknown_tag_is_refused(catalog):
    with pytest.raises(InvalidRequest, match=r"there is no tag 'colour'. Use one of: function, version, state"):
        catalog.find("master", colour="red")


def test_no_value_of_a_query_is_read_as_sql(catalog):
    put(catalog, "machine", "m'; DROP TABLE object; --", machine("a'b"))

    assert [row.name for row in catalog.find("machine", server="a'b")] == ["m'; DROP TABLE object; --"]
    assert catalog.find("machine", server="' OR 1=1 --") == []


# Transactions


def test_a_transaction_is_done_as_a_whole_or_not_at_all(catalog):
    with pytest.raises(ZeroDivisionError), catalog.transaction() as transaction:
        transaction.put("master", "web-v1", {"version": 1})
        transaction.next_number("clones")
        assert transaction.find("master", version=1)
        raise ZeroDivisionError

    assert catalog.find("master", version=1) == []
    assert catalog.history("master", "web-v1") == []
    with catalog.transaction() as transaction:
        assert transaction.next_number("clones") == 1


def test_numbers_count_up_for_each_sequence(catalog):
    with catalog.transaction() as transaction:
        assert [transaction.next_number("a"), transaction.next_number("a"), transaction.next_number("b")] == [1, 2, 1]


def test_an_error_of_the_caller_is_not_changed(catalog):
    with pytest.raises(FileNotFoundError), catalog.transaction():
        raise FileNotFoundError("mine")


# Claims


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"nics": [{"mac": "AA:00", "address": "10.0.0.9"}]}, "mac aa:00 belongs to machine db-1"),
        ({"nics": [{"mac": "bb", "address": "10.0.0.5"}]}, "address 10.0.0.5 belongs to machine db-1"),
        ({"server": "db-1"}, "server db-1 belongs to machine db-1"),
        ({"uuid": "U"}, "uuid u belongs to machine db-1"),
        ({"clone": "c"}, "clone on machine c belongs to machine db-1"),
    ],
)
def test_what_a_machine_has_no_other_can_have(catalog, fields, problem):
    nics = [{"mac": "aa:00", "address": "10.0.0.5"}]
    put(catalog, "machine", "db-1", machine("db-1", nics=nics, uuid="u", clone="c"))

    with pytest.raises(Conflict, match=f"machine db-2: {problem}"):
        put(catalog, "machine", "db-2", {"server": "db-2", **fields})
    assert catalog.get("machine", "db-2") is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"volumes": [{"path": "/p/root.qcow2"}]}, "volume kvm-1:/p/root.qcow2 belongs to clone a"),
        ({"identity": {"machine_id": "m"}}, "machine id m belongs to clone a"),
        ({"identity": {"host_keys": {"rsa": "SHA256:k"}}}, "host key SHA256:k belongs to clone a"),
    ],
)
def test_what_a_clone_has_no_other_can_have(catalog, fields, problem):
    identity = {"machine_id": "m", "host_keys": {"ed25519": "SHA256:k"}}
    put(catalog, "clone", "a", {"provider": "kvm-1", "volumes": [{"path": "/p/root.qcow2"}], "identity": identity})

    with pytest.raises(Conflict, match=f"clone b: {problem}"):
        put(catalog, "clone", "b", {"provider": "kvm-1", **fields})
    put(catalog, "clone", "b", {"provider": "kvm-2", "volumes": [{"path": "/p/root.qcow2"}]})


def test_a_claim_is_free_once_it_is_let_go(catalog):
    put(catalog, "machine", "a", machine("web-1"))
    put(catalog, "machine", "b", machine("web-2"))
    put(catalog, "machine", "a", machine("web-3"))
    delete(catalog, "machine", "b")

    put(catalog, "machine", "c", machine("web-1"))
    put(catalog, "machine", "d", machine("web-2"))


def test_two_machines_may_exchange_addresses_in_one_commit(catalog, owner):
    keys = [("machine", "a"), ("machine", "b")]
    bodies = [machine("a", nics=[{"address": "10.0.0.1"}]), machine("b", nics=[{"address": "10.0.0.2"}])]
    for key, body in zip(keys, bodies):
        put(catalog, *key, body)
    operation = catalog.begin("assign", keys, owner=owner)
    exchanged = [{**bodies[0], "nics": bodies[1]["nics"]}, {**bodies[1], "nics": bodies[0]["nics"]}]

    catalog.commit(operation.id, dict(zip(keys, exchanged)))

    assert [catalog.require(*key).body for key in keys] == exchanged


def test_a_commit_whose_claim_is_taken_changes_nothing(catalog, owner):
    put(catalog, "machine", "a", machine("a"))
    put(catalog, "machine", "b", machine("b"))
    operation = catalog.begin("assign", [("machine", "b")], owner=owner)

    with pytest.raises(Conflict, match="server a belongs to machine a"):
        catalog.commit(operation.id, {("machine", "b"): machine("a")})
    assert catalog.require("machine", "b").body == machine("b")
    assert catalog.require("machine", "b").lease.operation == operation.id


# History


def test_history_tells_who_changed_what(catalog, owner):
    put(catalog, "clone", "c", {"stage": "planned", "volumes": [{"path": None}]}, verb="clone", owner=owner)
    operation = catalog.begin("attach", [("clone", "c")], owner=owner)
    catalog.commit(operation.id, {("clone", "c"): {"stage": "attached", "volumes": [{"path": "/p"}]}})
    delete(catalog, "clone", "c", owner=owner)

    deleted, attached, made = catalog.history("clone", "c")
    assert (made.revision, made.verb, made.operation, made.run) == (1, "clone", None, "mine.yml")
    assert (attached.revision, attached.verb, attached.operation) == (2, "attach", operation.id)
    assert (attached.user, attached.run) == (owner.user, "mine.yml")
    assert attached.changes == {"stage": ["planned", "attached"], "volumes[0].path": [None, "/p"]}
    assert (deleted.revision, deleted.verb, deleted.changes["stage"]) == (3, "delete", ["attached", None])
    assert made.at <= attached.at <= deleted.at
    assert catalog.history("clone", "c", limit=1) == [deleted]


def test_history_keeps_the_newest_fifty(catalog):
    for number in range(55):
        put(catalog, "provider", "kvm-1", {"n": number})

    entries = catalog.history("provider", "kvm-1", limit=1000)
    assert [entry.revision for entry in entries] == list(range(55, 5, -1))


# Facts


def test_facts_merge_by_key(store):
    one, two = store.open(), store.open()
    one.facts_set("h", {"a": 1, "b": {"c": [1, None]}})
    two.facts_set("h", {"b": 2, "d": 3})

    assert one.facts_get("h") == {"a": 1, "b": 2, "d": 3}
    assert one.facts_hosts() == ["h"]


def test_facts_of_one_host_are_deleted(catalog):
    catalog.facts_set("h", {"a": 1})
    catalog.facts_set("i", {"a": 1})
    catalog.facts_delete("h")
    catalog.facts_delete("nobody")

    assert catalog.facts_get("h") == {}
    assert catalog.facts_hosts() == ["i"]


def test_unchanged_facts_are_not_written(catalog, monkeypatch):
    catalog.facts_set("h", {"a": {"x": 1, "y": 2}})
    monkeypatch.setattr(catalog, "writing", lambda: pytest.fail("it wrote"))

    catalog.facts_set("h", {"a": {"y": 2, "x": 1}})
    catalog.facts_delete("nobody")


def test_facts_and_objects_do_not_meet(catalog):
    put(catalog, "machine", "h", machine("h"))
    catalog.facts_set("h", {"server": "changed"})
    catalog.facts_delete("h")

    assert catalog.require("machine", "h").body == machine("h")


# Reading only


def test_reading_makes_nothing(store, tmp_path):
    catalog = store.open(create=False)

    assert catalog.get("master", "x") is None
    assert catalog.find("machine") == catalog.operations() == catalog.history("master", "x") == []
    assert catalog.facts_get("h") == {}
    assert catalog.facts_hosts() == []
    assert catalog.uuid == ""
    with pytest.raises(NotFound):
        catalog.require("master", "x")
    with pytest.raises(StoreUnavailable, match="opened only for reading"):
        catalog.facts_set("h", {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_is_made_later(store, catalog):
    reader = store.open(create=False)
    assert reader.find("master") == []

    put(catalog, "master", "web-v1", {"version": 1})

    assert [row.name for row in reader.find("master")] == ["web-v1"]
    with pytest.raises(StoreUnavailable, match="opened only for reading"):
        put(reader, "master", "web-v2", {})


def test_a_catalog_has_one_id(store, catalog):
    assert len(catalog.uuid) == 36
    assert store.open().uuid == catalog.uuid

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A catalog that moves to another store, with all that it holds, and the control node that was not told."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
)
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.location import describe_url
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.moving import move_catalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

from tests.contract.conftest import Store, put_servers
from tests.contract.crowd import TIMEOUT_S, fork

VM, VM_2 = ("machine", "vm-1"), ("machine", "vm-2")


@pytest.fixture(params=["into a database", "out of it"])
def stores(request, tmp_path, database):
    """Return where the catalog is and where it goes."""
    places = Store(f"sqlite://{tmp_path}/catalog.sqlite"), Store(database)
    return places if request.param == "into a database" else places[::-1]


@pytest.fixture
def source(stores, owner, dead):
    """Return a catalog with servers, a history, operations that ended well, badly and not at all, and facts."""
    source = stores[0].open()
    with source.transaction() as transaction:
        put_servers(transaction)
        transaction.put("master", "old-v1", {"function": "old", "version": 1})
        transaction.next_number("web-server-v2")
    with source.transaction() as transaction:
        transaction.delete("master", "old-v1")
    done = source.begin("activate", [VM], owner=owner)
    source.commit(done.id, {VM: {**source.require(*VM).body, "cpus": 2}})
    source.abort(source.begin("activate", [VM], owner=owner).id)
    source.begin("activate", [VM_2], owner=dead, lease_s=3600)
    source.facts_set("h1", {"a": {"b": [1, 2.5, None]}, "é": "\u0000"})
    yield source
    source.close()


def read_all(catalog):
    kinds = ("master", "clone", "machine", "deployment")
    rows = [row for kind in kinds for row in catalog.find(kind)]
    names = [*(row.key for row in rows), ("master", "old-v1")]
    history = [entry for key in names for entry in catalog.history(*key)]
    return catalog.uuid, rows, history, catalog.operations(), catalog.facts_get("h1"), catalog.facts_hosts()


def move(stores):
    return move_catalog(open_catalog, stores[0].url, stores[1].url)


def test_all_of_it_arrives(stores, source, owner):
    before = read_all(source)

    moved = move(stores)

    target = stores[1].open()
    assert read_all(target) == before
    assert moved.changed
    assert (moved.counts["object"], moved.counts["fact"], moved.counts["operation"]) == (9, 2, 3)
    with target.transaction() as transaction:
        assert transaction.next_number("web-server-v2") == 2
        with pytest.raises(Conflict, match=r"address 10\.0\.0\.1 belongs to machine vm-1"):
            transaction.put("machine", "vm-9", {"nics": [{"address": "10.0.0.1"}]})
        assert [row.name for row in transaction.find("clone", machine="vm-3")] == ["web-server-v2-3"]
        assert transaction.put("master", "old-v1", {"function": "old"}).revision == 3
    assert target.begin("activate", [VM_2], owner=owner).recovered == [before[3][2].id]
    assert [entry.verb for entry in target.history("master", "old-v1")] == ["put", "delete", "put"]


def test_who_was_not_told_learns_where_it_went(stores, source, owner):
    forgotten = stores[0].open(create=False)
    assert forgotten.require(*VM)
    move(stores)

    problem = rf"moved to {describe_url(stores[1].url)} on \d{{4}}-.*\. Name that one in ansible.cfg"
    with pytest.raises(StoreUnavailable, match=problem):
        source.begin("activate", [VM], owner=owner)
    for options in ({}, {"create": False}):
        with pytest.raises(StoreUnavailable, match=problem):
            stores[0].open(**options).find("machine")
    assert forgotten.require(*VM), "the run that moves a catalog must be able to end"


def test_the_second_time_nothing_is_moved(stores, source):
    move(stores)
    with stores[1].open().transaction() as transaction:
        transaction.put("provider", "kvm-1", {})
    before = stores[1].dump()

    again = move(stores)

    assert (again.changed, again.counts["object"]) == (False, 10)
    assert stores[1].dump() == before


def test_nothing_moves_while_anything_is_busy(stores, source, other):
    source.begin("deploy", [VM], owner=other)

    with pytest.raises(Conflict, match="machine vm-1: is busy: deploy by alice"):
        move(stores)
    assert stores[1].open().find("machine") == []
    assert source.require(*VM)


def test_a_place_that_is_taken_is_refused(stores, source):
    with stores[1].open().transaction() as transaction:
        transaction.put("provider", "kvm-9", {})

    with pytest.raises(InvalidRequest, match="is not empty: it holds 1 rows of object"):
        move(stores)
    assert [row.name for row in stores[1].open().find("provider")] == ["kvm-9"]
    with source.transaction() as transaction:
        transaction.put("provider", "kvm-1", {})


def test_a_catalog_that_is_not_there_is_not_made(stores):
    with pytest.raises(NotFound, match="does not exist"):
        move(stores)
    assert stores[0].dump() == stores[1].dump() == {}


def test_a_catalog_does_not_move_to_where_it_is(stores, source):
    with pytest.raises(InvalidRequest, match="is where the catalog is already"):
        move((stores[0], stores[0]))


def test_a_run_that_is_killed_between_the_commits_is_ended_by_the_next(stores, source):
    before = read_all(source)

    def open_and_die(url, *, create):
        catalog = open_catalog(url, create=create)
        if create and url == stores[0].url:
            writing = catalog.writing

            @contextlib.contextmanager
            def write_and_die():
                with writing() as tables:
                    try:
                        yield tables
                    finally:
                        os.kill(os.getpid(), signal.SIGKILL)

            catalog.writing = write_and_die
        return catalog

    process = fork.Process(target=move_catalog, args=(open_and_die, stores[0].url, stores[1].url))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode == -signal.SIGKILL
    assert read_all(stores[1].open()) == read_all(source) == before

    assert move(stores).changed
    assert read_all(stores[1].open()) == before
    with pytest.raises(StoreUnavailable, match="moved to"):
        stores[0].open().find("machine")


def test_the_playbook_moves_a_project(project, servers, database):
    words = ["-e", f"encompass_catalog_target={database}"]
    before = (Store(project.url).dump(), Store(database).dump())

    def run(*arguments, **options):
        return project.run("ansible-playbook", "encompass.images.move_catalog", *words, *arguments, **options)

    planned = run("--check")
    assert f"catalog {describe_url(database)}: object 9, history 9, operation 0, fact 0" in planned
    assert "changed=1" in planned
    assert (Store(project.url).dump(), Store(database).dump()) == before
    assert "changed=1" in run()
    assert "changed=0" in run("-e", f"encompass_catalog_source={project.url}", ENCOMPASS_CATALOG_URL=database)

    assert "moved to postgresql://127.0.0.1" in project.play("- ansible.builtin.meta: noop", succeeds=False)
    listed = project.list_inventory(ENCOMPASS_CATALOG_URL=database)
    assert listed["function_web_server"]["hosts"] == ["web-1", "web-2"]

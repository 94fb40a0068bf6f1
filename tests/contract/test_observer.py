# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observer of the burn-in sees what it is there for, and what runs are told is judged."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import types

import pytest

from tests.contract.conftest import Store
from tests.lab.commands import wait_until
from tests.trials import observer
from tests.trials.burnin import EXPECTED, list_messages
from tests.trials.observer import Look, Observer, find_mismatches, find_shared_volumes, read_catalog

MACHINE = {"provider": "hv1", "server": "web-1", "clone": "web-v1-1", "data": ["db"]}
VOLUME = "hv1:/pool/clones/web-v1-1/root.qcow2"
DATA = "/srv/shared/pool/data/web-1/db.raw"
RUNNING = {("hv1", "web-1"): {VOLUME, DATA}}
MASTER = {
    "volumes": [{"name": "root", "digest": "d1"}],
    "replicas": [{"provider": "hv1", "volumes": {"root": {"path": "/pool/masters/d1.qcow2"}}}],
}


def make_look(stage="active", mark=None, revision=1, others=None, **machine):
    """Return the catalog with one server, its clone and its data volume; ``others`` are records beside or instead."""
    volumes = [{"path": "/pool/clones/web-v1-1/root.qcow2"}]
    clone = {"stage": stage, "machine": "web-1", "provider": "hv1", "volumes": volumes}
    records = {
        ("machine", "web-1"): (1, None, {**MACHINE, **machine}),
        ("clone", "web-v1-1"): (revision, mark, clone),
        ("volume", "web-1.db"): (1, None, {"provider": "hv1", "path": DATA}),
    }
    records.update({key: body and (1, None, body) for key, body in (others or {}).items()})
    return Look({key: record for key, record in records.items() if record is not None}, [])


def test_a_volume_in_two_domains_is_found():
    assert find_shared_volumes({**RUNNING, ("hv2", "web-1"): {VOLUME}}) == [
        f"volume {VOLUME} is in hv1/web-1 and hv2/web-1"
    ]
    assert find_shared_volumes({**RUNNING, ("hv2", "web-1"): {"hv2:/pool/clones/web-v1-1/root.qcow2"}}) == []


@pytest.mark.parametrize(
    ("look", "running", "problem"),
    [
        (make_look(), {}, "its clone web-v1-1 is active, and it does not run"),
        (make_look("attached"), RUNNING, "it runs, and its clone web-v1-1 is attached"),
        (make_look(), {("hv1", "web-1"): {"hv1:/pool/clones/other/root"}}, "not with its clone web-v1-1"),
        (make_look(), {**RUNNING, ("hv2", "web-1"): {"x"}}, "domain hv2/web-1 runs, and its machine is on hv1"),
        (make_look(), {**RUNNING, ("hv1", "web-9"): {"x"}}, "domain hv1/web-9 runs, and no machine has its name"),
        (make_look(), {("hv1", "web-1"): {VOLUME}}, f"machine web-1: it runs with the data [], not with ['{DATA}']"),
        (make_look(data=[]), RUNNING, f"machine web-1: it runs with the data ['{DATA}'], not with []"),
    ],
)
def test_what_runs_and_what_is_on_record_are_compared(look, running, problem):
    (found,) = find_mismatches(look, look, running)
    assert problem in found


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({("machine", "web-1"): None}, "clone web-v1-1 is active, and there is no machine web-1"),
        (
            {("clone", "web-v2-1"): {"stage": "active", "machine": "web-1", "provider": "hv1", "volumes": []}},
            "clone web-v2-1 is active, and machine web-1 serves web-v1-1",
        ),
        ({("clone", "web-v1-1"): None}, "machine web-1: there is no clone web-v1-1"),
        ({("volume", "web-1.db"): None}, "machine web-1: there is no volume web-1.db"),
        (
            {("machine", "web-2"): {**MACHINE, "server": "web-2", "data": []}},
            "clone web-v1-1 is on record for machine web-1 and machine web-2",
        ),
        (
            {
                ("machine", "web-2"): {**MACHINE, "clone": "web-v1-2"},
                ("clone", "web-v1-2"): {"stage": "planned", "volumes": []},
            },
            "volume web-1.db is on record for machine web-1 and machine web-2",
        ),
        (
            {("volume", "web-2.db"): {"provider": "hv2", "path": DATA}},
            f"file {DATA} is on record for volume web-1.db and volume web-2.db",
        ),
        (
            {("clone", "web-v1-2"): {"stage": "assigned", "provider": "hv1", "volumes": [{"path": VOLUME[4:]}]}},
            f"file {VOLUME} is on record for clone web-v1-1 and clone web-v1-2",
        ),
    ],
)
def test_records_are_compared_with_each_other(others, problem):
    look = make_look(others=others)
    assert problem in find_mismatches(look, look, RUNNING)


@pytest.mark.parametrize(
    ("before", "after", "running"),
    [
        (make_look(), make_look(), RUNNING),
        (make_look(mark="operation"), make_look(), {}),
        (make_look(), make_look(mark="operation"), {}),
        (make_look(), make_look("attached", revision=2), {}),
        (make_look(others={("machine", "web-1"): None}), make_look(mark="operation"), RUNNING),
        (make_look(), make_look(others={("clone", "web-v1-1"): None}), {}),
        (make_look(), make_look(others={("volume", "web-1.db"): None}), {("hv1", "web-1"): {VOLUME}}),
        (
            make_look(),
            make_look(others={("clone", "web-v1-2"): {"provider": "hv2", "volumes": [{"path": VOLUME[4:]}]}}),
            RUNNING,
        ),
    ],
)
def test_what_is_under_way_is_left_out(before, after, running):
    assert find_mismatches(before, after, running) == []


class Host:
    """Stands for a provider: says which domains run and what the masters' files hold."""

    def __init__(self):
        self.domains = {}
        self.files = {"/pool/masters/d1.qcow2": "d1"}

    def exec(self, *argv, check=True):
        """Answer as virsh and sha256sum do."""
        if "list" in argv:
            return self._say("\n".join(self.domains))
        if "dumpxml" in argv:
            return self._say(self.domains[argv[-1]])
        return self._say("".join(f"{digest}  {path}\n" for path, digest in self.files.items()))

    def _say(self, text):
        return subprocess.CompletedProcess([], 0, text, "")


@pytest.fixture
def site(tmp_path):
    """Return a provider and a real catalog, in which a machine was changed three times and another was made again."""
    path = tmp_path / "catalog.sqlite"
    catalog = Store(f"sqlite://{path}").open()
    for cpus in (1, 2, 3):
        with catalog.transaction() as transaction:
            transaction.put("provider", "hv1", {"cpus": cpus})
            transaction.put("provider", "hv2", {"cpus": cpus})
            transaction.put("master", "web-v1", MASTER)
            if cpus == 2:
                transaction.delete("provider", "hv2")
    catalog.close()
    return types.SimpleNamespace(controller=types.SimpleNamespace(catalog=path), providers={"hv1": Host()})


def spoil(site, statement):
    """Change the catalog past all our code."""
    with contextlib.closing(sqlite3.connect(site.controller.catalog, isolation_level=None)) as store:
        store.execute(statement)


def test_a_whole_history_has_no_gaps(site):
    assert read_catalog(site).gaps == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "delete from history where name = 'hv1' and revision = 2",
            "the history of provider hv1 has the revisions [1, 3]",
        ),
        (
            "delete from history where name = 'hv1' and revision = 3",
            "provider hv1 is at revision 3, its history ends with 2",
        ),
        ("delete from history where name = 'hv1'", "provider hv1 is at revision 3, its history ends with 0"),
        (
            "update history set revision = 2 where name = 'hv1' and revision = 3",
            "the history of provider hv1 has the revisions [1, 2, 2]",
        ),
    ],
)
def test_gaps_in_a_history_are_found(site, statement, problem):
    spoil(site, statement)
    looker = Observer(site)
    looker.look()
    assert problem in looker.findings
    assert looker.looks == 1


def test_what_a_look_finds_is_kept_once(site):
    domain = "<domain><devices><disk device='disk'><source file='/x'/></disk></devices></domain>"
    site.providers["hv1"].domains = {"web-8": domain, "web-9": domain}
    looker = Observer(site)
    looker.look()
    looker.look()
    assert sorted(looker.findings) == [
        "domain hv1/web-8 runs, and no machine has its name",
        "domain hv1/web-9 runs, and no machine has its name",
        "volume hv1:/x is in hv1/web-8 and hv1/web-9",
    ]


@pytest.mark.parametrize("held", [{"/pool/masters/d1.qcow2": "d2"}, {}])
def test_a_spoiled_master_is_found(site, held):
    with Observer(site) as looker:
        site.providers["hv1"].files = held
    assert looker.digest_looks == 2
    assert looker.findings == [
        f"master web-v1: hv1:/pool/masters/d1.qcow2 holds {held.get('/pool/masters/d1.qcow2', 'nothing')}",
        "the masters are not what they were",
    ]


def test_a_file_beside_the_masters_must_stay_as_well(site):
    with Observer(site) as looker:
        site.providers["hv1"].files["/pool/masters/d2.qcow2"] = "d2"
    assert looker.findings == ["the masters are not what they were"]


def test_masters_are_looked_at_now_and_then(site, monkeypatch):
    monkeypatch.setattr(observer, "EVERY_S", 0.01)
    with Observer(site, digests_every_s=0.0) as looker:
        wait_for_looks(looker, 3)
        site.providers["hv1"].files["/pool/masters/d1.qcow2"] = "d2"
        wait_for_looks(looker, looker.digest_looks + 2)
        site.providers["hv1"].files["/pool/masters/d1.qcow2"] = "d1"
    assert "master web-v1: hv1:/pool/masters/d1.qcow2 holds d2" in looker.findings


def wait_for_looks(looker, count):
    """Wait until the masters were looked at so many times."""
    wait_until(lambda: looker.digest_looks >= count, timeout_s=10, what="looks at masters")


def test_masters_that_change_in_the_catalog_may_change_on_disk(site):
    added = '{"volumes": [{"name": "root", "digest": "d2"}], "replicas": []}'
    with Observer(site) as looker:
        site.providers["hv1"].files["/pool/masters/d2.qcow2"] = "d2"
        spoil(site, f"insert into object values ('master', 'web-v2', 1, '{added}', 0, null)")
        spoil(site, "insert into history values (99, 0, 'master', 'web-v2', 1, 'add', null, '', '', '{}')")
    assert (looker.findings, looker.digest_looks) == ([], 2)


def test_masters_that_somebody_works_on_are_left_out(site):
    looker = Observer(site)
    spoil(site, "update object set operation = 'adding' where kind = 'master'")
    site.providers["hv1"].files = {}
    looker.look_at_masters()
    assert (looker.findings, looker.digest_looks) == ([], 0)


def test_an_observer_that_breaks_says_so(site, monkeypatch):
    monkeypatch.setattr(observer, "EVERY_S", 0.01)
    with Observer(site) as looker:
        site.providers["hv1"].domains = {"web-1": "no XML"}
        looker._thread.join(10)
        site.providers["hv1"].domains = {}
    (found,) = looker.findings
    assert found.startswith("the observer gave up: ParseError(")


@pytest.mark.parametrize(
    "message",
    [
        "deployment red: is busy: deploy by root (encompass.images.deploy, pid 7 on here), since 10:00:00. Wait.",
        "machine red-1: was changed by somebody else, in retire by root (encompass.images.retire, pid 7 on here)",
        "clone web-server-v1-1: does not exist. Check the name.",
        "server red-1: the clone web-server-v1-1, which it would go back to, is not in the catalog any more. Update",
        "deployment red: the catalog has no deployment of this name (it has blue)",
        "reservation 10.0.0.7 on encompass: it belongs to machine red-1. Verify again.",
    ],
)
def test_a_run_may_be_told_that_another_was_faster(message):
    assert EXPECTED.match(message)


@pytest.mark.parametrize(
    "message",
    [
        "master web-server-v1: does not exist. The library has none.",
        "catalog /x/catalog.sqlite: does not exist. Check the option source.",
        "catalog postgresql://db/x: the server refuses: database x does not exist",
        "master web-server-v1: was changed by somebody else",
        "clone web-server-v1-1: its backing file does not exist",
        "server red-1: its clone web-server-v1-1 is attached, not active",
    ],
)
def test_a_run_may_be_told_nothing_else(message):
    assert not EXPECTED.match(message)


def test_each_problem_is_judged_for_itself():
    busy, broken = "clone a: is busy: deploy by root", "server b: it did not answer"
    assert list_messages({"msg": f"{busy}; {broken}", "problems": [busy, broken]}) == [busy, broken]
    assert list_messages({"msg": busy}) == [busy]

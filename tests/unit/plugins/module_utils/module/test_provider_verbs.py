# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs on a provider, run by the runner on a host with a memory: each in check mode, for real, and again."""

from __future__ import annotations

import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.activation import read_activation
from ansible_collections.encompass.images.plugins.module_utils._core.addressing import read_assignment
from ansible_collections.encompass.images.plugins.module_utils._core.attachment import read_attachment
from ansible_collections.encompass.images.plugins.module_utils._core.domain import read_domain
from ansible_collections.encompass.images.plugins.module_utils._core.network import read_network
from ansible_collections.encompass.images.plugins.module_utils._core.networking import NetworkRequest
from ansible_collections.encompass.images.plugins.module_utils._core.pooling import read_pool
from ansible_collections.encompass.images.plugins.module_utils._core.provider import NetworkSeen, Power
from ansible_collections.encompass.images.plugins.module_utils._drivers import locks
from ansible_collections.encompass.images.plugins.module_utils._module import activations
from ansible_collections.encompass.images.plugins.module_utils._module.activations import ActivateVerb
from ansible_collections.encompass.images.plugins.module_utils._module.assignments import AssignVerb
from ansible_collections.encompass.images.plugins.module_utils._module.attachments import AttachVerb
from ansible_collections.encompass.images.plugins.module_utils._module.networks import NetworkVerb
from ansible_collections.encompass.images.plugins.module_utils._module.pools import PoolVerb
from ansible_collections.encompass.images.plugins.module_utils._module.runner import Job, Outcome, run_job
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.golden import read_case
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.drivers.test_readiness import free_port, serve
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.module.fake_host import FakeHost

MACHINE = read_case("domain_xml", "plain")
NETWORK = {"name": "encompass", "mode": "nat", "subnet": "10.45.0.0/24"}
NIC = {"network": "encompass", "mac": "52:54:00:00:00:01", "address": "10.45.0.11", "hostname": "web-1"}


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_FILE", tmp_path / "lock")


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def machine(number: int) -> dict[str, t.Any]:
    """Return options of one of several machines."""
    disk = {"path": f"/pool/clones/c{number}/root.qcow2", "format": "qcow2"}
    return {
        **MACHINE,
        "name": f"web-{number}",
        "uuid": f"5f1d0c4e-8a07-4c9e-8a6f-3d9a5c1b7e{number:02d}",
        "disks": [disk],
    }


def attach_job(host: FakeHost, state: str = "attached", count: int = 3) -> Job:
    items = [read_attachment(state, machine(number)) for number in range(count)]
    return Job(AttachVerb(host, workers=4), {item.name: item for item in items})


def assign_job(host: FakeHost, state: str = "assigned") -> Job:
    host.networks.setdefault("encompass", NetworkSeen(read_network(NETWORK)))
    item = read_assignment(state, {"name": "web-1", "nics": [NIC]}, release=True)
    return Job(AssignVerb(host, workers=4), {item.name: item})


def network_job(host: FakeHost, state: str = "present") -> Job:
    item = NetworkRequest("encompass", read_network(NETWORK) if state == "present" else None)
    return Job(NetworkVerb(t.cast("t.Any", host)), {item.name: item})


def activate_job(
    host: FakeHost, state: str = "active", *, count: int = 3, ready: t.Any = None, stop_timeout_s: float = 1
) -> Job:
    options = {"address": "127.0.0.1", "ready": ready, "stop_timeout_s": stop_timeout_s}
    items = {}
    for number in range(count):
        item = read_activation(state, {**options, "name": f"web-{number}", "uuid": machine(number)["uuid"]})
        items[item.name] = item
        host.domains[item.name] = read_domain(machine(number))
    return Job(ActivateVerb(host, workers=4), items)


def errors_of(outcomes: t.Sequence[Outcome]) -> dict[str, str]:
    return {outcome.name: str(outcome.error) for outcome in outcomes if outcome.error}


@pytest.mark.parametrize("make", [attach_job, assign_job, network_job, activate_job])
def test_each_verb_runs_four_times(make: t.Callable[..., Job], host: FakeHost) -> None:
    """Check mode and the run itself change alike; afterwards neither finds anything to do."""
    planned = run_job(make(host), check_mode=True)
    assert host.calls == []
    done = run_job(make(host), check_mode=False)
    assert errors_of(done) == {}
    assert host.calls
    host.calls.clear()
    again = run_job(make(host), check_mode=False)
    checked = run_job(make(host), check_mode=True)
    assert host.calls == []
    assert [[o.changed for o in run] for run in (planned, done, again, checked)] == [
        [True] * len(done),
        [True] * len(done),
        [False] * len(done),
        [False] * len(done),
    ]
    assert [o.record for o in planned] == [o.record for o in done] == [o.record for o in again]


@pytest.mark.parametrize(
    ("make", "state"),
    [(attach_job, "detached"), (assign_job, "unassigned"), (network_job, "absent"), (activate_job, "inactive")],
)
def test_each_verb_is_undone(make: t.Callable[..., Job], state: str, host: FakeHost) -> None:
    run_job(make(host), check_mode=False)
    undone = run_job(make(host, state), check_mode=False)
    assert errors_of(undone) == {}
    assert all(outcome.changed for outcome in undone)
    assert not any(outcome.changed for outcome in run_job(make(host, state), check_mode=False))
    assert not any(host.powers.get(name) is Power.RUNNING for name in host.domains)
    assert all(not seen.network.reservations for seen in host.networks.values())


@pytest.mark.parametrize("make", [attach_job, activate_job])
def test_one_failure_does_not_lose_the_others(make: t.Callable[..., Job], host: FakeHost) -> None:
    job = make(host)
    host.broken.add("web-1")
    outcomes = run_job(job, check_mode=False)
    assert errors_of(outcomes) == {"web-1": "web-1: it is broken"}


def test_a_pool_is_made(host: FakeHost, tmp_path: Path) -> None:
    item = read_pool({"name": "default", "path": str(tmp_path / "a" / "pool")})
    job = Job(PoolVerb(host), {item.name: item})
    [planned] = run_job(job, check_mode=True)
    assert not (tmp_path / "a").exists()
    [done] = run_job(job, check_mode=False)
    assert (planned.changed, done.changed, done.error) == (True, True, None)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a" / "pool").iterdir()}
    assert modes == {"masters": 0o711, "clones": 0o711, ".staging": 0o700}
    [again] = run_job(job, check_mode=False)
    assert not again.changed


def test_pools_with_a_problem_fail_alone(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    items = [read_pool({"name": name, "path": str(tmp_path / name)}) for name in ("file", "fine")]
    outcomes = run_job(Job(PoolVerb(host), {item.name: item for item in items}), check_mode=False)
    assert list(errors_of(outcomes)) == ["file"]


def test_two_machines_of_a_batch_cannot_have_one_volume(host: FakeHost) -> None:
    items = [read_attachment("attached", {**machine(number), "disks": machine(0)["disks"]}) for number in (0, 1)]
    outcomes = run_job(Job(AttachVerb(host, workers=4), {item.name: item for item in items}), check_mode=False)
    assert errors_of(outcomes) == {
        "web-0": "machine web-0: the volume /pool/clones/c0/root.qcow2 is used by domain web-1. Detach it there first.",
        "web-1": "machine web-1: the volume /pool/clones/c0/root.qcow2 is used by domain web-0. Detach it there first.",
    }
    assert host.calls == []


def test_paths_that_lead_to_one_file_are_one_volume(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "root.raw").touch()
    (tmp_path / "link.raw").symlink_to(tmp_path / "root.raw")
    other = read_domain({**machine(7), "disks": [{"path": str(tmp_path / "link.raw"), "format": "raw"}]})
    host.domains[other.name] = other
    wanted = {**machine(0), "disks": [{"path": str(tmp_path / "root.raw"), "format": "raw"}]}
    item = read_attachment("attached", wanted)
    [outcome] = run_job(Job(AttachVerb(host, workers=1), {item.name: item}), check_mode=False)
    assert "is used by domain web-7" in str(outcome.error)


def test_servers_are_waited_for_together(host: FakeHost) -> None:
    number = free_port()

    def come_late() -> None:
        time.sleep(1)
        with serve(number):
            time.sleep(3)

    thread = threading.Thread(target=come_late)
    thread.start()
    started = time.monotonic()
    job = activate_job(host, count=10, ready={"port": number, "url": "/", "timeout_s": 10})
    outcomes = run_job(job, check_mode=False)
    took_s = time.monotonic() - started
    thread.join()
    assert errors_of(outcomes) == {}
    assert took_s < 5
    for outcome in outcomes:
        assert outcome.record["stage"] == "active"
        assert outcome.record["answered"]["status"] == 200
        assert outcome.record["answered"]["after_s"] > 0.5


def test_a_server_that_does_not_answer_is_left_running(host: FakeHost) -> None:
    job = activate_job(host, count=1, ready={"port": free_port(), "timeout_s": 0.5})
    [outcome] = run_job(job, check_mode=False)
    assert "did not answer within 0.5 s (connection refused)" in str(outcome.error)
    assert "/var/log/libvirt/qemu/web-0-console.log" in str(outcome.error)
    assert host.powers == {"web-0": Power.RUNNING}


def test_a_machine_whose_volume_is_in_use_is_not_waited_for(host: FakeHost) -> None:
    job = activate_job(host, count=2, ready={"port": free_port(), "timeout_s": 0.3})
    host.locked.add("web-0")
    started = time.monotonic()
    outcomes = run_job(job, check_mode=False)
    assert "volume /x is in use" in errors_of(outcomes)["web-0"]
    assert "did not answer" in errors_of(outcomes)["web-1"]
    assert time.monotonic() - started < 5


def test_starting_what_is_not_attached_fails_only_when_done(host: FakeHost) -> None:
    job = activate_job(host, count=1)
    host.domains.clear()
    assert errors_of(run_job(job, check_mode=True)) == {}
    assert "no such domain" in errors_of(run_job(job, check_mode=False))["web-0"]


def test_a_guest_that_does_not_obey_is_switched_off(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "REPEAT_S", 0.3)
    run_job(activate_job(host), check_mode=False)
    host.deaf.add("web-1")
    host.calls.clear()
    outcomes = run_job(activate_job(host, "inactive"), check_mode=False)
    assert {outcome.name: outcome.record["stopped"] for outcome in outcomes} == {
        "web-0": "shut down",
        "web-1": "destroyed",
        "web-2": "shut down",
    }
    assert host.calls.count(("shutdown", "web-1")) > 1
    assert host.calls.count(("shutdown", "web-0")) == 1


def test_paused_machines_go_on_or_off(host: FakeHost) -> None:
    job = activate_job(host, count=1)
    host.powers["web-0"] = Power.PAUSED
    run_job(job, check_mode=False)
    assert host.calls == [("resume", "web-0")]
    host.powers["web-0"] = Power.PAUSED
    [outcome] = run_job(activate_job(host, "inactive", count=1), check_mode=False)
    assert host.calls[1:] == [("destroy", "web-0")]
    assert outcome.record["stopped"] == "destroyed"


def test_a_host_that_goes_away_fails_what_is_waited_for(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(activate_job(host, count=1), check_mode=False)
    host.deaf.add("web-0")
    verb = t.cast("ActivateVerb", activate_job(host, "inactive", count=1).verb)
    item = read_activation("inactive", {"name": "web-0", "stop_timeout_s": 5})
    steps = verb.plan(item, t.cast("t.Any", verb.observe({"web-0": item})["web-0"]))
    host.broken.add("everything")
    monkeypatch.setattr(host, "observe_power", lambda _names: host.note("observe", "everything"))
    assert "it is broken" in str(verb.perform({"web-0": steps})["web-0"])

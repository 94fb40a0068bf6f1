# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are cut off, and runs that meet: nothing lost, nothing doubled, nothing left over."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._actions.base import LEASE_S

from tests.integration.conftest import MakeSite
from tests.integration.site import Site, make_web
from tests.lab.commands import LabError, wait_until
from tests.trials.runs import race_runs


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture(autouse=True)
def _clean(site: Site) -> t.Iterator[None]:
    yield
    site.controller.end_runs()
    site.retire(*site.find("deployment")).require_success()
    assert site.orphans() == []


def wait_for_clone(site: Site, stage: str) -> None:
    """Wait until a clone is in this stage; short stages want quick looks."""
    wait_until(
        lambda: any(clone["stage"] == stage for clone in site.find("clone").values()),
        timeout_s=300,
        what=f"a clone that is {stage}",
        every_s=0.02,
    )


@pytest.mark.parametrize("stage", ["planned", "unassigned", "assigned", "attached"])
def test_a_killed_run_is_finished_by_the_next(site: Site, stage: str) -> None:
    web = make_web()
    run = site.controller.start("encompass.images.deploy", encompass_deployments=[web])
    wait_for_clone(site, stage)
    run.kill()
    run.wait()
    reserved = {name: machine["nics"] for name, machine in site.find("machine").items()}
    site.deploy(web).require_success()
    machines = site.find("machine")
    assert sorted(machines) == ["web-1", "web-2"]
    assert {name: machine["nics"] for name, machine in machines.items()} == reserved
    assert [site.fetch(name).split()[2] for name in machines] == ["web-1", "web-2"]
    assert site.orphans() == []
    site.deploy(web).require_unchanged()


def test_ctrl_c_is_no_different(site: Site) -> None:
    web = make_web()
    run = site.controller.start("encompass.images.deploy", encompass_deployments=[web])
    wait_for_clone(site, "assigned")
    run.interrupt()
    # Ansible may hang on a queue that its worker left locked (then people kill it); that must not matter either.
    with contextlib.suppress(LabError):
        assert run.wait(timeout_s=30).returncode != 0
    site.deploy(web).require_success()
    assert site.fetch("web-1").startswith("hello from web-1")


def test_a_killed_retirement_is_finished_by_the_next(site: Site) -> None:
    site.deploy(make_web()).require_success()
    run = site.controller.start("encompass.images.retire", encompass_retire=["web"])
    wait_for_clone(site, "attached")
    run.kill()
    run.wait()
    site.retire("web").require_success()
    assert (site.find("machine"), site.find("clone"), site.domains()) == ({}, {}, {})


def test_different_deployments_at_the_same_time_both_succeed(site: Site) -> None:
    runs = [
        site.controller.start("encompass.images.deploy", encompass_deployments=[make_web(name)])
        for name in ("blue", "green")
    ]
    for run in runs:
        run.wait().require_success()
    machines = site.find("machine")
    assert sorted(machines) == ["blue-1", "blue-2", "green-1", "green-2"]
    assert len({machine["nics"][0]["address"] for machine in machines.values()}) == 4


def test_of_the_same_deployment_one_wins_and_the_other_says_who(site: Site) -> None:
    first = site.controller.start("encompass.images.deploy", encompass_deployments=[make_web()])
    wait_until(lambda: "web" in site.find("deployment"), timeout_s=300, what="a reserved deployment", every_s=0.02)
    second = site.controller.run("encompass.images.deploy", encompass_deployments=[make_web(count=3)])
    assert second.returncode != 0
    (failure,) = second.failures
    message = failure["result"]["msg"]
    assert "deployment web" in message
    assert f"pid {first.process.pid}" in message
    first.wait().require_success()
    assert sorted(site.find("machine")) == ["web-1", "web-2"]


def test_of_runs_that_start_together_one_wins_and_the_others_say_who(site: Site) -> None:
    assert race_runs(site, 3) == []


def test_a_frozen_run_that_goes_on_after_a_takeover_changes_nothing(site: Site) -> None:
    web = make_web(count=1)
    first = site.controller.start("encompass.images.deploy", encompass_deployments=[web])
    wait_for_clone(site, "assigned")
    with first.frozen():
        assert f"pid {first.process.pid} " in site.deploy(web).failures[-1]["result"]["msg"]
        end_leases(site)
        second = site.controller.start("encompass.images.deploy", encompass_deployments=[web])
        second.wait().require_success()
        before = (site.find_all(), site.files(), site.domains(), site.identity("web-1"))
    late = first.wait()
    assert late.returncode != 0
    assert "took over" in late.failures[0]["result"]["msg"]
    assert f"pid {second.process.pid} " in late.failures[-1]["result"]["msg"]
    assert (site.find_all(), site.files(), site.domains(), site.identity("web-1")) == before
    site.deploy(web).require_unchanged()


# Stands in for Python: the module that it is to run arrives, and then nothing happens for a while.
LATE_PYTHON = """#!/bin/sh
code=$(mktemp)
cat >"$code"
if grep -q "plugins.modules.activate'" "$code" && [ ! -e /srv/local/late ]; then
    echo $$ >/srv/local/late
    kill -STOP $$
fi
exec /usr/bin/python3 "$@" <"$code"
"""


def test_a_module_that_arrives_after_a_takeover_does_nothing(site: Site) -> None:
    web = make_web(count=1)
    site.deploy(web).require_success()
    host = site.providers[site.find("machine")["web-1"]["provider"]]
    for each in site.providers.values():
        each.exec("sh", "-c", "cat >/srv/local/late-python; chmod +x /srv/local/late-python", stdin=LATE_PYTHON)
    first = site.controller.start(
        "encompass.images.retire", encompass_retire=["web"], ansible_python_interpreter="/srv/local/late-python"
    )
    late = host.local / "late"
    wait_until(late.exists, timeout_s=120, what="the module that switches the server off")
    with first.frozen():
        end_leases(site)
        second = site.controller.start("encompass.images.deploy", encompass_deployments=[web])
        second.wait().require_success()
        time.sleep(LEASE_S / 3)  # a lease that has ended was due to be renewed long before
        before = (site.find_all(), site.files(), site.domains(), host.exec("virsh", "-q", "domid", "web-1").stdout)
    host.exec("kill", "-CONT", late.read_text(encoding="ascii").strip())
    ended = first.wait()
    assert "took over" in ended.failures[0]["result"]["msg"]
    time.sleep(3)  # nobody tells whether the module has ended
    after = (site.find_all(), site.files(), site.domains(), host.exec("virsh", "-q", "domid", "web-1").stdout)
    assert after == before
    site.deploy(web).require_unchanged()


def end_leases(site: Site) -> None:
    """Have an hour pass for all leases, as the store sees it."""
    with contextlib.closing(sqlite3.connect(site.controller.catalog, timeout=30, isolation_level=None)) as store:
        store.execute("update operation set until = until - 3600 where state = 'running'")


def test_a_server_that_never_answers_leaves_the_others_alone(site: Site) -> None:
    ready = {"url": "http://{address}/first-boots", "timeout_s": 150}
    silent = make_web("silent", count=1, ready={"port": 81, "timeout_s": 8})
    run = site.deploy(silent, make_web("loud", ready=ready))
    assert run.returncode != 0
    message = run.failures[-1]["result"]["msg"]
    assert "silent-1" in message
    assert "did not answer within 8 s" in message
    stages = {clone["machine"]: clone["stage"] for clone in site.find("clone").values()}
    assert stages == {"silent-1": "attached", "loud-1": "active", "loud-2": "active"}
    assert site.find("clone")[site.find("machine")["silent-1"]["clone"]]["last_error"]["verb"] == "activate"
    site.deploy({**silent, "ready": {"port": 80}}).require_success()

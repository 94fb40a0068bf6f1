# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that change what they serve: update, rollback, reassignment, watched by a client throughout."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import MASTER, Site, make_web
from tests.lab.commands import wait_until
from tests.lab.controller import PlaybookRun
from tests.lab.watcher import Watcher

ALL = ("web-1", "web-2", "web-3")
PAGE, *OTHER_ITEMS = t.cast("list[dict[str, t.Any]]", MASTER["items"])
WEB = make_web(count=3, ready={"url": "http://{address}/", "timeout_s": 40})
STEADY_S = 1.5
"""Servers that nobody touches may answer late on a machine that boots others."""


@pytest.fixture(scope="module")
def site(make_site: MakeSite, broken_image: Path) -> Site:
    """Return a site with a next version, one whose web server does not start, and another function."""
    site = make_site()
    site.controller.write("templates/next.j2", "{{ greeting }} of the next version from {{ server_name }}\n")
    site.controller.write("templates/night.j2", "{{ server_name }} counts stars, as {{ function }}\n")
    shutil.copy(broken_image, site.lab.shared / "broken.qcow2")
    return site


@pytest.fixture(autouse=True)
def _clean(site: Site) -> t.Iterator[None]:
    yield
    site.retire(*site.find("deployment")).require_success()
    assert site.orphans() == []


def add_next(site: Site) -> None:
    site.add_master(version=2, items=[{**PAGE, "src": "next.j2"}, *OTHER_ITEMS])


def run(site: Site, scenario: str, *arguments: str, **variables: t.Any) -> PlaybookRun:
    arguments_of_play = {"encompass_deployments": [WEB], **variables}
    return site.controller.run(f"encompass.images.{scenario}", *arguments, **arguments_of_play, timeout_s=400)


def plan_only(site: Site, scenario: str, **variables: t.Any) -> str:
    """Run a scenario in check mode; return what it says. Something would change, and nothing does."""
    before = (site.dump(), site.domains(), site.files(), site.reservations())
    planned = run(site, scenario, "--check", "--diff", **variables).require_success()
    assert any(planned.changed.values())
    assert (site.dump(), site.domains(), site.files(), site.reservations()) == before
    return planned.stdout


def is_done(site: Site, scenario: str, **variables: t.Any) -> None:
    """Run a scenario that is done once more, and in check mode too: nothing changes."""
    run(site, scenario, **variables).require_unchanged()
    run(site, scenario, "--check", **variables).require_unchanged()


def pages(site: Site) -> dict[str, str]:
    return {name: site.fetch(name).strip() for name in ALL}


def addresses(site: Site, *names: str) -> dict[str, str]:
    return {name: site.address_of(name) for name in names}


def who_serves(site: Site) -> dict[str, str]:
    return {name: machine["clone"] for name, machine in site.find("machine").items()}


def test_the_life_of_a_version(site: Site) -> None:
    run(site, "deploy").require_success()
    first, machines = who_serves(site), site.find("machine")
    add_next(site)

    assert "moves from web-server-v1 to web-server-v2" in plan_only(site, "update")

    with Watcher(addresses(site, *ALL)) as watcher:
        waves = {"encompass_deployments": [WEB], "encompass_update_waves": [1, "100%"]}
        updating = site.controller.start("encompass.images.update", **waves)
        wait_until(lambda: len(site.find("clone")) > 3, timeout_s=60, what="a reserved update")
        busy = run(site, "update")
        updated = updating.wait(timeout_s=400).require_success()
    assert busy.returncode != 0
    assert "deployment web: is busy: update by" in busy.failures[0]["result"]["msg"]
    print(f"update, longest silence: {watcher.describe()}")
    assert pages(site) == {name: f"hello of the next version from {name}" for name in ALL}
    second = who_serves(site)
    assert not set(second.values()) & set(first.values())
    kept = ("uuid", "nics", "provider", "server")
    for name, machine in site.find("machine").items():
        assert {key: machine[key] for key in kept} == {key: machines[name][key] for key in kept}
    began = {name: next(when for when, text in seen.answers if "next" in text) for name, seen in watcher.seen.items()}
    assert began["web-1"] < min(began["web-2"], began["web-3"])
    is_done(site, "update")
    is_done(site, "deploy")
    assert updated.recap["localhost"]["changed"] == 1

    plan_only(site, "rollback", encompass_rollback=["web"])
    with Watcher(addresses(site, *ALL)) as watcher:
        back = run(site, "rollback", encompass_rollback=["web"]).require_success()
    print(f"rollback, longest silence: {watcher.describe()}")
    assert who_serves(site) == first
    assert all(site.fetch(name).startswith(f"hello from {name} at") for name in ALL)
    assert not back.results(action="encompass.images.clone", status="ok")
    is_done(site, "rollback", encompass_rollback=["web"])


def test_a_version_that_does_not_serve_stops_at_the_first_wave(site: Site) -> None:
    run(site, "deploy", encompass_deployments=[make_web(count=3, version=1)]).require_success()
    site.add_master(version=3, source="/srv/shared/broken.qcow2")
    others = addresses(site, "web-2", "web-3")
    with Watcher(others) as watcher:
        failed = run(site, "update", encompass_update_version=3, encompass_update_waves=[1])
        assert failed.returncode != 0
        assert "web-1" in failed.failures[-1]["result"]["msg"]
        run(site, "rollback", encompass_rollback=["web"]).require_success()
    print(f"failed update and rollback, longest silence: {watcher.describe()}")
    for name, seen in watcher.seen.items():
        assert seen.longest_s < STEADY_S, name
    assert site.fetch("web-1").startswith("hello from web-1")
    masters = {clone["master"] for clone in site.find("clone").values() if clone["stage"] == "active"}
    assert masters == {"web-server-v1"}


def test_machines_serve_by_day_and_by_night(site: Site) -> None:
    site.add_master(function="astronomer", items=[{**PAGE, "src": "night.j2"}])
    site.add_master(function="dead", source="/srv/shared/broken.qcow2", items=[], inputs=[])
    run(site, "deploy", encompass_deployments=[make_web(count=3, version=1)]).require_success()
    day = who_serves(site)
    stars = {"function": "astronomer", "machines": ["web-1", "web-3"]}
    plan_only(site, "reassign", encompass_reassign=[stars])
    run(site, "reassign", encompass_reassign=[stars]).require_success()
    assert site.fetch("web-1") == "web-1 counts stars, as astronomer\n"
    assert site.fetch("web-2").startswith("hello from web-2")
    is_done(site, "reassign", encompass_reassign=[stars])
    groups = site.controller.command("ansible-inventory", "--graph").stdout
    assert "@function_astronomer" in groups

    home = {"function": "web-server", "deployment": "web"}
    run(site, "reassign", encompass_reassign=[home]).require_success()
    assert who_serves(site) == day

    dead = {"function": "dead", "machines": ["web-2"], "ready": {"port": 80, "timeout_s": 12}}
    failed = run(site, "reassign", encompass_reassign=[dead])
    assert failed.returncode != 0
    assert "web-2" in failed.failures[-1]["result"]["msg"]
    assert who_serves(site) == day
    assert site.fetch("web-2").startswith("hello from web-2")

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of one function over their life: added, followed, pinned, deprecated, deferred and deleted."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import MASTER, POOL, Site, make_web
from tests.lab.commands import run
from tests.lab.controller import PlaybookRun


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


def declare(site: Site, number: int, **changes: t.Any) -> dict[str, t.Any]:
    """Make an image with a few other bytes in front of its partition; return it as a master without a version."""
    image = site.lab.shared / f"image-{number}.qcow2"
    if not image.exists():
        run("cp", site.lab.shared / "web-server.qcow2", image)
        run("qemu-io", "-f", "qcow2", "-c", f"write -P {number} 4096 512", image)
    entry = {key: value for key, value in MASTER.items() if key not in ("version", "items")}
    return {**entry, "source": f"/srv/shared/{image.name}", "items": [], **changes}


def add(site: Site, *masters: dict[str, t.Any], **variables: t.Any) -> PlaybookRun:
    return site.controller.run("encompass.images.add_master", encompass_masters=list(masters), **variables)


def master_task(site: Site, state: str, version: int, **options: t.Any) -> PlaybookRun:
    """Run module master on all providers."""
    entry = {"function": "web-server", "version": version}
    task = {"name": "Master", "encompass.images.master": {"state": state, "masters": [entry], **options}}
    play = {"hosts": "encompass_providers", "gather_facts": False, "tasks": [task]}
    return site.controller.run([play])


def states(site: Site) -> dict[int, str]:
    return {body["version"]: body["state"] for body in site.find("master").values()}


def current(site: Site) -> int:
    return int(site.find("function")["web-server"]["current"])


def files(site: Site) -> dict[str, int]:
    """Return how many published files each provider has."""
    return {
        name: len(host.exec("find", f"{POOL}/masters", "-name", "*.qcow2").stdout.split())
        for name, host in site.providers.items()
    }


def waiting(run: PlaybookRun) -> dict[str, str]:
    """Return what the last task of module master says to be still there, and why."""
    result = run.results(action="encompass.images.master")[-1]
    return {entry["name"]: entry["reason"] for entry in result["deferred"]}


def test_the_life_of_versions(site: Site) -> None:
    """Go through it in one piece: each step needs the servers of the one before."""
    new = declare(site, 2)
    add(site, new).require_success()
    assert (states(site), current(site), set(files(site).values())) == ({1: "available", 2: "available"}, 2, {2})
    add(site, new).require_unchanged()
    assert set(site.find("profile")["web-server-v2"]["packages"]) >= {"busybox-static", "dropbear-bin"}
    assert "packages" not in json.dumps(site.find("master")["web-server-v2"])

    # New servers follow the current version or the one that they ask for.
    web, old = make_web(count=1), make_web("old", count=1, version=1)
    site.deploy(web, old).require_success()
    clones = {machine: body["clone"] for machine, body in site.find("machine").items()}
    assert {machine: site.find("clone")[name]["master"] for machine, name in clones.items()} == {
        "web-1": "web-server-v2",
        "old-1": "web-server-v1",
    }

    # Nobody is made of a deprecated version; who runs it runs on.
    master_task(site, "deprecated", 2).require_success()
    assert (states(site)[2], current(site)) == ("deprecated", 1)
    plan = site.deploy({**web, "count": 2}, check=True).require_success().stdout
    assert re.search(r"create web-2 on \S+: clone \S+ of web-server-v1", plan)
    assert "runs web-server-v2, web-server-v1 is wanted" in plan
    last = master_task(site, "deprecated", 1)
    assert "no version would be left for deployment web to follow" in last.failures[0]["result"]["msg"]

    # What is used is not deleted, or is as soon as it is not used any more.
    refused = master_task(site, "absent", 2)
    assert f"master web-server-v2: {clones['web-1']} depends on it" in refused.failures[0]["result"]["msg"]
    later = master_task(site, "absent", 2, when_unused=True).require_success()
    assert waiting(later) == {"web-server-v2": f"{clones['web-1']} depends on it"}
    before = (site.dump(), files(site))
    planned = site.retire("web", check=True).require_success()
    assert (site.dump(), files(site)) == before
    assert site.retire("web").require_success().changed == planned.changed
    assert (states(site), set(files(site).values())) == ({1: "available"}, {1})
    assert "web-server-v2" not in site.find("profile")

    # Only so many are kept, but none that somebody needs; a number does not come back.
    kept = add(site, declare(site, 3, inspect=False), encompass_masters_keep=1).require_success()
    assert waiting(kept) == {"web-server-v1": f"{clones['old-1']} depends on it"}
    assert (states(site), current(site)) == ({1: "deprecated", 3: "available"}, 3)
    table = site.controller.run("encompass.images.masters").require_success().stdout
    assert re.search(r"^web-server +1 +no +deprecated, to be deleted +Debian .+ MiB +1 +\S+, \S+$", table, re.MULTILINE)
    assert re.search(r"^web-server +3 +yes +available +- ", table, re.MULTILINE)
    site.retire("old").require_success()
    assert (states(site), set(files(site).values())) == ({3: "available"}, {1})
    assert site.orphans() == []

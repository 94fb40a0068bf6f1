# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes in real guests: they outlive updates, rollbacks and their servers, and are never lost silently."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.site import DATA_ITEM, MASTER, POOL, Site, make_web
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHosts

PAGE = t.cast("list[dict[str, t.Any]]", MASTER["items"])[0]

DB = {"name": "db", "size_mib": 32, "filesystem": "ext4", "label": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[Site]:
    """Return a site whose master can read and write its data volume, and a next version of it."""
    with LabHosts(2) as lab:
        site = Site(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
        site.prepare(mini_image, items=[PAGE, DATA_ITEM])
        site.controller.write("templates/next.j2", "the next version of {{ server_name }}\n")
        site.add_master(version=2, items=[{**PAGE, "src": "next.j2"}, DATA_ITEM])
        yield site


def declare(**changes: t.Any) -> dict[str, t.Any]:
    pack = {"strategy": "pack"}  # one provider, so that its appliance is started once
    return make_web(**{"version": 1, "data": [DB], "placement": pack, **changes})


def run(site: Site, scenario: str, *arguments: str, web: dict[str, t.Any] | None = None, **more: t.Any) -> PlaybookRun:
    variables = {"encompass_deployments": [web or declare()], **more}
    return site.controller.run(f"encompass.images.{scenario}", *arguments, **variables, timeout_s=400)


def words(site: Site, word: str = "") -> dict[str, list[str]]:
    """Return what each server finds in its volume, after a word is added; before it, whether the label is right."""
    query = f"?{word}" if word else ""
    return {name: site.fetch(name, f"/cgi-bin/data{query}").split() for name in site.find("machine")}


def volumes(site: Site) -> dict[str, str]:
    """Return every file below the pools' data directories with its inode."""
    found: dict[str, str] = {}
    for host in site.providers.values():
        listing = host.exec("find", f"{POOL}/data", "-type", "f", "-printf", "%P %i\\n", check=False).stdout
        found.update({line.split()[0]: line.split()[1] for line in listing.splitlines()})
    return found


def test_data_outlives_everything_but_the_wish_to_delete_it(site: Site) -> None:
    planned = run(site, "deploy", "--check").require_success()
    assert "its data volume db (32.0 MiB) is to be made" in planned.stdout
    assert (volumes(site), site.find("volume")) == ({}, {})

    run(site, "deploy").require_success()
    assert words(site, "first") == {"web-1": ["1", "first"], "web-2": ["1", "first"]}
    made = volumes(site)
    assert set(made) == {"web-1/db.qcow2", "web-2/db.qcow2"}
    run(site, "deploy").require_unchanged()

    run(site, "update", web=declare(version=2), encompass_update_waves=["100%"]).require_success()
    assert site.fetch("web-1") == "the next version of web-1\n"
    assert words(site, "second") == {"web-1": ["1", "first", "second"], "web-2": ["1", "first", "second"]}
    run(site, "rollback", encompass_rollback=["web"]).require_success()
    assert site.fetch("web-1").startswith("hello from web-1")
    assert words(site)["web-2"] == ["1", "first", "second"]

    kept = site.retire("web").require_success()
    assert "its data volume web-1.db is kept" in kept.stdout
    assert (site.find("machine"), site.domains(), volumes(site)) == ({}, {}, made)

    one = declare(count=1, data=[{**DB, "size_mib": 48}])
    run(site, "deploy", web=one).require_success()
    assert words(site, "third") == {"web-1": ["1", "first", "second", "third"]}
    host = site.host_of("web-1")
    assert f"{48 << 20}" in host.exec("virsh", "domblkinfo", "web-1", f"{POOL}/data/web-1/db.qcow2").stdout

    gone = run(site, "retire", encompass_retire=["web"], encompass_retire_data=True).require_success()
    assert "its data volume web-2.db is deleted" in gone.stdout
    assert (volumes(site), site.find("volume"), site.find("deployment")) == ({}, {}, {})
    assert site.orphans() == []


def test_a_lost_volume_stops_its_server_alone_until_somebody_decides(site: Site) -> None:
    bare = {"name": "bare", "size_mib": 8, "format": "raw"}
    web = declare(data=[bare])
    for provider in site.providers.values():
        provider.exec("sh", "-c", f"rm -rf {POOL}/data && touch {POOL}/data")
    failed = run(site, "deploy", web=web)
    assert "server web-1: its data volume bare is not made (" in failed.failures[-1]["result"]["msg"]
    assert site.domains() == {}
    for provider in site.providers.values():
        provider.exec("rm", f"{POOL}/data")

    run(site, "deploy", web=web).require_success()
    host = site.host_of("web-1")
    host.exec("rm", f"{POOL}/data/web-1/bare.raw")
    host.exec("virsh", "-q", "destroy", "web-1")
    host.exec("virsh", "-q", "destroy", "web-2")
    failed = run(site, "deploy", web=web)
    assert failed.returncode != 0
    assert "server web-1: its data volume bare is lost" in failed.failures[-1]["result"]["msg"]
    assert site.fetch("web-2").startswith("hello from web-2")
    assert set(volumes(site)) == {"web-2/bare.raw"}

    run(site, "deploy", web=web, encompass_recreate_data=["web-1.bare"]).require_success()
    assert site.fetch("web-1").startswith("hello from web-1")
    assert set(volumes(site)) == {"web-1/bare.raw", "web-2/bare.raw"}
    run(site, "deploy", web=web).require_unchanged()

    detached = run(site, "deploy", web=declare(data=[])).require_success()
    assert "web-1.bare is kept, unused" in detached.stdout
    assert set(volumes(site)) == {"web-1/bare.raw", "web-2/bare.raw"}
    tasks = [{"encompass.images.volume": {"state": "absent", "volumes": [{"name": "web-1.bare"}]}}]
    play = {"hosts": site.find("machine")["web-1"]["provider"], "gather_facts": False, "tasks": tasks}
    site.controller.run([play]).require_success()
    assert (set(volumes(site)), set(site.find("volume"))) == ({"web-2/bare.raw"}, {"web-2.bare"})
    run(site, "retire", encompass_retire=["web"], encompass_retire_data=True).require_success()
    assert (volumes(site), site.find("volume")) == ({}, {})

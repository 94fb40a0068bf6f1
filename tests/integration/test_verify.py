# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify on a real site: silent while all is well, and what was spoiled by hand is found, swept and repaired."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import POOL, Site, make_web
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHost, LabHosts

WEB = make_web(count=2, placement={"strategy": "pack"}, data=[{"name": "db", "size_mib": 8}])
STRANGE_UUID = "7a0e3f1c-0000-4000-8000-00000000beef"
SPOILED = [
    "data_missing",
    "domain_orphaned",
    "domain_stopped",
    "master_changed",
    "staging_left",
    "volume_alien",
    "volume_orphaned",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[Site]:
    with LabHosts(2) as lab:
        site = Site(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
        site.prepare(mini_image)
        yield site


def verify(site: Site, *arguments: str, **variables: t.Any) -> PlaybookRun:
    return site.controller.run("encompass.images.verify", *arguments, **variables)


def find_kinds(run: PlaybookRun) -> list[str]:
    """Return the kinds of finding that a run showed last."""
    shown = run.stdout.rpartition(" findings in ")[2]
    return sorted(set(re.findall(r"^  (?:critical|error|warning): .* \((\w+)\)$", shown, re.MULTILINE)))


def spoil(site: Site, host: LabHost, gone: str) -> None:
    """Do to a provider what goes wrong there; ``gone`` is a clone that was deleted."""
    machine = site.find("machine")["web-2"]
    clone = f"{POOL}/clones/{machine['clone']}"
    host.exec("virsh", "-q", "destroy", "web-1")
    text = host.exec("virsh", "dumpxml", "--inactive", "web-2").stdout
    for word, other in {
        machine["uuid"]: STRANGE_UUID,
        ">web-2<": ">web-7<",
        "/clones/": "/x/",
        "/data/": "/x/",
    }.items():
        text = text.replace(word, other)
    host.exec("sh", "-c", "cat >/tmp/web-7.xml && virsh -q define /tmp/web-7.xml", stdin=text)
    host.exec("cp", "-r", clone, f"{POOL}/clones/{gone}")
    host.exec("cp", "-r", clone, f"{POOL}/clones/another-v1-1")
    host.exec(
        "sh", "-c", f"mkdir {POOL}/.staging/clone~x~$(tr -d '\\n' </etc/machine-id | sha256sum | cut -c1-8)-0-1-1"
    )
    host.exec("sh", "-c", f"touch -r {POOL}/masters/*.qcow2 /tmp/when; touch {POOL}/masters/*.qcow2")
    host.exec("rm", f"{POOL}/data/web-2/db.qcow2")


def test_a_healthy_site_and_a_spoiled_one(site: Site) -> None:
    site.deploy({**WEB, "count": 3}).require_success()
    gone = site.find("machine")["web-3"]["clone"]
    site.deploy(WEB).require_success()  # the data volume of web-3 is kept, and the catalog knows
    healthy = verify(site, encompass_verify_fail_on="warning").require_unchanged()
    assert "nothing to find fault with in " in healthy.stdout

    host = site.host_of("web-1")
    spoil(site, host, gone)
    found = verify(site)
    assert found.returncode != 0
    assert find_kinds(found) == SPOILED
    assert "(and 1 more)" in found.failures[-1]["result"]["msg"]

    before = (site.files(), site.domains())
    assert verify(site, "--check", encompass_verify_repair=True).returncode != 0
    assert (site.files(), site.domains()) == before
    swept = verify(site, encompass_verify_repair=True)
    assert swept.returncode != 0
    assert find_kinds(swept) == ["data_missing", "domain_stopped", "master_changed", "volume_alien"]
    host.exec("test", "!", "-e", f"{POOL}/clones/{gone}")

    host.exec("sh", "-c", f"touch -r /tmp/when {POOL}/masters/*.qcow2")
    host.exec("rm", "-r", f"{POOL}/clones/another-v1-1")
    repair = {"encompass_deployments": [WEB], "encompass_recreate_data": ["web-2.db"]}
    site.controller.run("encompass.images.deploy", timeout_s=400, **repair).require_success()
    verify(site, encompass_verify_repair=True, encompass_verify_fail_on="warning").require_unchanged()
    site.retire("web", data=True).require_success()
    assert site.orphans() == []

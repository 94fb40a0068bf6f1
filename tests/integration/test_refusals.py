# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one clear sentence, and nothing changed."""

from __future__ import annotations

import typing as t

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import POOL, Site, make_web


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


REFUSED: dict[str, tuple[list[dict[str, t.Any]], str]] = {
    "unknown function": ([make_web(function="database")], "no master serves the function database"),
    "negative count": ([make_web(count=-1)], "its count is -1"),
    "name twice": ([make_web(), make_web()], "declared twice"),
    "too big": ([make_web(memory_mib=10_000_000)], "no provider can take it"),
    "address outside": ([make_web(networks=[{"name": "encompass", "addresses": ["192.0.2.9"]}])], "outside the subnet"),
    "no pool": ([make_web(pool="fast")], "does not reach pool fast"),
    "unknown input": ([make_web(inputs={"colour": "red"})], "takes no input colour"),
}


@pytest.mark.parametrize(("deployments", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_deployment_that_cannot_be(site: Site, deployments: list[dict[str, t.Any]], message: str) -> None:
    before = (site.dump(), site.domains(), site.files())
    run = site.deploy(*deployments)
    assert run.returncode != 0
    (failure,) = run.failures
    assert message in failure["result"]["msg"]
    assert (site.dump(), site.domains(), site.files()) == before


def add(site: Site, **changes: t.Any) -> str:
    """Try to add a master; return what was said against it."""
    master = {"function": "bad", "version": 1, "source": "/srv/local/bad.img", "format": "qcow2", **changes}
    run = site.controller.run("encompass.images.add_master", encompass_masters=[master])
    assert run.returncode != 0
    assert "bad-v1" not in {name for name, body in site.find("master").items() if body["state"] == "available"}
    return str(run.failures[0]["result"]["msg"])


def make_image(site: Site, *command: str) -> None:
    for host in site.providers.values():
        host.exec("rm", "-f", "/srv/local/bad.img")
        host.exec(*command)


def test_an_image_with_a_backing_file(site: Site) -> None:
    source = "/srv/shared/web-server.qcow2"
    make_image(site, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", source, "/srv/local/bad.img")
    assert "backing file" in add(site)


def test_an_image_of_another_format_than_declared(site: Site) -> None:
    make_image(site, "qemu-img", "create", "-q", "-f", "qcow2", "/srv/local/bad.img", "8M")
    assert "qcow2" in add(site, format="raw")


def test_an_image_of_undeclared_format(site: Site) -> None:
    make_image(site, "qemu-img", "create", "-q", "-f", "qcow2", "/srv/local/bad.img", "8M")
    assert "format" in add(site, format=None)


def test_a_required_input_that_is_missing(site: Site) -> None:
    inputs = [{"name": "licence", "required": True, "prompt": "The licence key"}]
    site.add_master(version=2, inputs=inputs, items=[])
    run = site.deploy(make_web())
    assert "the input licence is required: The licence key" in run.failures[0]["result"]["msg"]
    site.controller.run(
        [{"hosts": "encompass_providers", "gather_facts": False, "tasks": [remove_master(2)]}]
    ).require_success()


def remove_master(version: int) -> dict[str, t.Any]:
    return {
        "name": "Remove a master",
        "encompass.images.master": {"state": "absent", "masters": [{"function": "web-server", "version": version}]},
    }


def test_a_regexp_that_matches_nothing(site: Site) -> None:
    item = {"name": "typo", "type": "regexp", "path": "/etc/os-release", "pattern": "^NOTHING", "replacement": "x"}
    site.add_master(version=3, inputs=[], items=[item])
    run = site.deploy(make_web("typo", version=3, count=1))
    assert run.returncode != 0
    message = run.failures[-1]["result"]["msg"]
    assert "typo" in message
    assert "^NOTHING" in message
    site.retire("typo").require_success()
    site.add_master(version=3, inputs=[], items=[{**item, "required": False}])
    site.deploy(make_web("typo", version=3, count=1)).require_success()
    site.retire("typo").require_success()
    assert site.orphans() == []


def test_a_master_whose_file_changed(site: Site) -> None:
    digest = site.find("master")["web-server-v1"]["volumes"][0]["digest"]
    path = f"{POOL}/masters/{digest}.qcow2"
    for host in site.providers.values():
        host.exec("cp", "--preserve=all", path, "/srv/local/saved.qcow2")
        host.exec("sh", "-c", f"printf x | dd of={path} bs=1 seek=100000 conv=notrunc status=none")
    run = site.deploy(make_web("changed", version=1))
    assert run.returncode != 0
    assert "web-server" in run.failures[-1]["result"]["msg"]
    assert site.domains() == {}
    for host in site.providers.values():
        host.exec("mv", "/srv/local/saved.qcow2", path)
    site.deploy(make_web("changed", version=1)).require_success()
    site.retire("changed").require_success()


def test_a_full_disk(site: Site) -> None:
    host = next(iter(site.providers.values()))
    host.exec("mkdir", "-p", "/srv/local/small")
    host.exec("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/srv/local/small")
    variables: dict[str, t.Any] = {
        "encompass_pools": [{"name": "small", "path": "/srv/local/small"}],
        "encompass_hosts": host.name,
    }
    try:
        site.controller.run("encompass.images.hypervisor", **variables).require_success()
        master = {"function": "web-server", "version": 1, "source": "/srv/shared/web-server.qcow2", "format": "qcow2"}
        run = site.controller.run(
            "encompass.images.add_master", encompass_masters=[{**master, "pool": "small"}], **variables
        )
        assert run.returncode != 0
        message = run.failures[0]["result"]["msg"]
        assert "small" in message
        assert "free" in message
        assert host.exec("find", "/srv/local/small", "-type", "f").stdout == ""
    finally:
        host.exec("virsh", "-q", "pool-destroy", "small", check=False)
        host.exec("virsh", "-q", "pool-undefine", "small", check=False)
        host.exec("umount", "/srv/local/small")

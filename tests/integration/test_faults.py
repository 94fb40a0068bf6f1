# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider that fails: one sentence that helps, the other one's servers done, and the same command heals it."""

from __future__ import annotations

import typing as t

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import POOL, Site, make_web
from tests.lab.commands import wait_until
from tests.lab.controller import PlaybookRun
from tests.lab.hosts import LabHost

DISK = "/srv/local/disk"


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> t.Iterator[Site]:
    """Return a site; the pool of its first provider is a small disk of its own, without which its directory is empty.

    A connection to a host that is gone ends within seconds, as the README advises.
    """
    site = make_site()
    host = site.lab.hosts[0]
    host.exec("mkdir", DISK)
    host.exec("mount", "-t", "tmpfs", "-o", "size=256m,mode=711", "tmpfs", DISK)
    host.exec("sh", "-c", f"cp -a {POOL}/. {DISK} && rm -r {POOL}/* {POOL}/.staging")
    host.exec("mount", "--bind", DISK, POOL)
    alive = "-o ServerAliveInterval=3 -o ServerAliveCountMax=3"
    site.controller.environment["ANSIBLE_SSH_ARGS"] = f"-o ControlMaster=auto -o ControlPersist=15s {alive}"
    yield site
    site.retire(*site.find("deployment")).require_success()
    assert site.orphans() == []


def fill_pool(host: LabHost) -> None:
    host.exec("sh", "-c", f"cat /dev/zero >{DISK}/filler || true")


def free_pool(host: LabHost) -> None:
    host.exec("rm", f"{DISK}/filler")


def freeze_pool(host: LabHost) -> None:
    host.exec("mount", "--bind", POOL, POOL)
    host.exec("mount", "-o", "remount,bind,ro", POOL)


def unmount_pool(host: LabHost) -> None:
    host.exec("umount", "--lazy", POOL)  # running guests have their volumes open


def mount_pool(host: LabHost) -> None:
    host.exec("mount", "--bind", DISK, POOL)


def stop_libvirtd(host: LabHost) -> None:
    host.exec("sh", "-c", "kill $(cat /run/libvirtd.pid)")


def start_libvirtd(host: LabHost) -> None:
    host.exec("/usr/sbin/libvirtd", "-d")


Change = t.Callable[[LabHost], object]
FAULTS: dict[str, tuple[str, Change, Change, tuple[str, ...]]] = {
    "full": ("planned", fill_pool, free_pool, ("clone web-server-v1", POOL, "bytes free", "Free room")),
    "frozen": ("planned", freeze_pool, unmount_pool, ("clone web-server-v1", "stage it", "Read-only", "writable")),
    "gone": (
        "planned",
        unmount_pool,
        mount_pool,
        ("clone web-server-v1", f"{POOL}/masters", "is not there", "is mounted"),
    ),
    "mute": ("unassigned", stop_libvirtd, start_libvirtd, ("libvirt does not listen at", "Start libvirtd")),
    "far": ("planned", LabHost.partition, LabHost.heal, ("host", "ssh")),
}


def deploy_and_break(site: Site, name: str, stage: str, break_it: Change) -> PlaybookRun:
    """Deploy, and break the first provider once a clone of the deployment has reached a stage."""
    run = site.controller.start("encompass.images.deploy", encompass_deployments=[make_web(name)])

    def is_reached() -> bool:
        clones = site.find("clone").values()
        return any(clone["stage"] == stage and (clone["machine"] or "").startswith(name) for clone in clones)

    wait_until(is_reached, timeout_s=180, what=f"a clone that is {stage}", every_s=0.02)
    break_it(site.lab.hosts[0])
    return run.wait()


def find_stages(site: Site, name: str) -> dict[str, str]:
    """Return the stages of a deployment's clones, by provider."""
    clones = [clone for clone in site.find("clone").values() if (clone["machine"] or "").startswith(name)]
    return {clone["provider"]: clone["stage"] for clone in clones}


@pytest.mark.parametrize("name", FAULTS)
def test_a_provider_that_breaks_in_the_middle(site: Site, name: str) -> None:
    stage, break_it, mend_it, words = FAULTS[name]
    broken, whole = site.lab.hosts
    run = deploy_and_break(site, name, stage, break_it)
    messages = [str(failure["result"]["msg"]) for failure in run.failures]
    stages = find_stages(site, name)
    mend_it(broken)
    assert run.returncode != 0
    assert any(all(word.lower() in message.lower() for word in words) for message in messages), messages
    assert not any("Traceback" in message or "MODULE FAILURE" in message for message in messages)
    assert stages == {broken.name: stage, whole.name: "active"}
    site.deploy(make_web(name)).require_success()
    assert [site.fetch(f"{name}-{number}").split()[2] for number in (1, 2)] == [f"{name}-1", f"{name}-2"]
    assert site.orphans() == []


def test_a_libvirt_that_does_not_run_leaves_its_servers_as_they_are(site: Site) -> None:
    broken, whole = site.lab.hosts
    stop_libvirtd(broken)
    before = site.find("clone")
    run = site.deploy(make_web("early", count=1))
    start_libvirtd(broken)
    (failure,) = run.failures
    assert (failure["host"], run.returncode != 0) == (broken.name, True)
    assert "libvirt does not listen at" in failure["result"]["msg"]
    assert find_stages(site, "early") == {whole.name: "active"}
    assert {name: clone for name, clone in site.find("clone").items() if name in before} == before
    site.deploy(make_web("early", count=1)).require_unchanged()


def test_a_pool_that_is_not_mounted_loses_nothing(site: Site) -> None:
    broken, whole = site.lab.hosts
    web = make_web("still", data=[{"name": "db", "size_mib": 16}])
    site.deploy(web).require_success()
    before = find_records(site, broken)
    unmount_pool(broken)
    runs = [site.deploy(web), site.deploy({**web, "count": 3}), site.retire("still", data=True)]
    left = broken.exec("find", POOL, "-mindepth", "1").stdout
    mount_pool(broken)
    for run in runs:
        (failure,) = run.failures
        assert run.returncode != 0
        assert f"its pool default of {broken.name} cannot be used: {POOL}/masters" in failure["result"]["msg"]
    assert left == ""
    assert (find_records(site, broken), find_records(site, whole)) == (before, {})
    site.deploy(web).require_success()
    assert site.fetch("still-1").split()[2] == "still-1"
    assert site.orphans() == []


def find_records(site: Site, host: LabHost) -> dict[str, t.Any]:
    """Return the records of what is on a provider of the deployment that stands still."""
    kinds = {kind: site.find(kind) for kind in ("clone", "machine", "volume")}
    return {
        f"{kind} {name}": body
        for kind, found in kinds.items()
        for name, body in found.items()
        if body["provider"] == host.name and "still" in f"{name} {body.get('machine')}"
    }

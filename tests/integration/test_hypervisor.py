# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role hypervisor on a host without systemd: from installed packages to a provider, and back to it after faults."""

from __future__ import annotations

import typing as t

from tests.integration.conftest import MakeController
from tests.lab.commands import wait_until
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHost, LabHosts

GUEST = """
<domain type='qemu'><name>bystander</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='raw'/><source file='/srv/local/bystander.raw'/>
<backingStore/><target dev='vda' bus='virtio'/></disk></devices></domain>
"""


def pid_of(host: LabHost, daemon: str) -> str:
    return host.exec("cat", f"/run/{daemon}.pid").stdout.strip()


def stop(host: LabHost, daemon: str) -> None:
    pid = pid_of(host, daemon)
    host.exec("kill", pid)
    wait_until(
        lambda: host.exec("test", "-d", f"/proc/{pid}", check=False).returncode != 0, timeout_s=20, what="its end"
    )


def look_at(host: LabHost) -> t.Any:
    """Return all that the role could change."""
    listed = [host.exec("virsh", word, "--all", "--name").stdout.split() for word in ("net-list", "pool-list", "list")]
    return listed, host.exec("cat", "/etc/libvirt/qemu.conf").stdout, host.exec("ls", "/srv/local").stdout.split()


def tasks_that_changed(run: PlaybookRun) -> list[str]:
    return [event["task"] for event in run.events if event.get("changed")]


def start_bystander(host: LabHost) -> None:
    host.exec("qemu-img", "create", "-q", "-f", "raw", "/srv/local/bystander.raw", "1M")
    host.exec("virsh", "define", "/dev/stdin", stdin=GUEST)
    host.exec("virsh", "start", "bystander")


def test_a_host_becomes_a_provider_and_stays_one(make_controller: MakeController, fresh_lab: LabHosts) -> None:
    host = fresh_lab.hosts[0]
    controller = make_controller(fresh_lab, encompass_pools=[{"name": "default", "path": "/srv/local/pool"}])

    def run(*arguments: str) -> PlaybookRun:
        return controller.run("encompass.images.hypervisor", "--limit", host.name, *arguments).require_success()

    start_bystander(host)
    before = look_at(host)
    assert "Make the pools" in tasks_that_changed(run("--check", "--diff"))
    assert look_at(host) == before
    assert not controller.catalog.exists()

    assert "End the daemon" in tasks_that_changed(run())
    [networks, pools, _domains], settings, files = look_at(host)
    assert (networks, pools) == (["encompass"], ["default"])
    assert 'lock_manager = "lockd"' in settings
    assert "pool" in files
    assert host.exec("virsh", "domstate", "bystander").stdout.strip() == "running"
    run().require_unchanged()

    # A run that was killed between the settings and the restart; and daemons that died
    host.exec("touch", "/etc/libvirt/qemu.conf")
    stop(host, "virtlockd")
    old = pid_of(host, "libvirtd")
    assert tasks_that_changed(run()) == ["Start the other daemons", "End the daemon", "Start the other daemons"]
    assert pid_of(host, "libvirtd") != old
    assert host.exec("virsh", "domstate", "bystander").stdout.strip() == "running"
    run().require_unchanged()


def test_check_mode_reaches_as_far_as_it_can_without_libvirt(
    make_controller: MakeController, fresh_lab: LabHosts
) -> None:
    host = fresh_lab.hosts[0]
    controller: Controller = make_controller(fresh_lab)
    stop(host, "libvirtd")
    run = controller.run("encompass.images.hypervisor", "--limit", host.name, "--check").require_success()
    assert "Libvirt is not there yet, so the pools default and the networks encompass would be made" in run.stdout
    assert host.exec("pgrep", "-x", "libvirtd", check=False).returncode != 0


def test_what_is_refused_says_why(make_controller: MakeController, fresh_lab: LabHosts) -> None:
    host = fresh_lab.hosts[0]
    networks = [{"name": "encompass", "subnet": "10.45.0.0/33"}]
    controller = make_controller(fresh_lab, encompass_networks=networks)
    run = controller.run("encompass.images.hypervisor", "--limit", host.name, encompass_virt_type="kvm")
    assert "network encompass: '10.45.0.0/33' is not an IPv4 subnet" in str(run.failures[-1])
    controller = make_controller(fresh_lab, encompass_virt_type="kvm")
    run = controller.run("encompass.images.hypervisor", "--limit", host.name)
    assert "KVM does not work here: /dev/kvm is not there" in str(run.failures[-1])

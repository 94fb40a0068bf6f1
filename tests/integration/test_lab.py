# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: hosts are apart, guests are reached, faults are faults, and nothing stays behind."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import typing as t
import urllib.request
from pathlib import Path

import pytest

from tests.integration.conftest import MakeController
from tests.lab import labstate
from tests.lab.commands import ProcessId, run, wait_until
from tests.lab.hosts import PROJECT, LabHost, LabHosts

MAC = "52:54:00:12:34:56"
ANY_HOST_KEY = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
OWNER = """
from tests.lab.hosts import LabHosts
lab = LabHosts(1)
lab.up()
print(lab.name, lab.keeper_pid, flush=True)
input()
"""

NETWORK = """
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>guests</name><forward mode='route'/><bridge name='virbr7' stp='off' delay='0'/>
  <ip address='{gateway}' netmask='255.255.255.0'><dhcp><host mac='{mac}' ip='{address}'/></dhcp></ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
"""

DOMAIN = """
<domain type='qemu'>
  <name>guest</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <devices>
    <disk type='file'>
      <driver name='qemu' type='qcow2'/><source file='/srv/local/guest.qcow2'/><target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <interface type='network'>
      <source network='guests'/><mac address='{mac}'/><model type='virtio'/><rom enabled='no'/>
    </interface>
    <serial type='file'><source path='/var/log/libvirt/qemu/guest.serial'/></serial>
  </devices>
</domain>
"""


def fetch(url: str) -> str:
    """Return a page's text; empty as long as nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=0.5) as answer:
            return t.cast("bytes", answer.read()).decode()
    except OSError:
        return ""


def can_connect(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=0.5):
        return True
    return False


def start_guest(host: LabHost, image: Path) -> str:
    """Start a guest with a reserved address on the host; return the address."""
    subnet = ipaddress.IPv4Network(host.guest_subnet)
    address = str(subnet[50])
    shutil.copy(image, host.local / "guest.qcow2")
    network = NETWORK.format(gateway=subnet[1], mac=MAC, address=address)
    host.exec("virsh", "-q", "net-create", "/dev/stdin", stdin=network)
    host.exec("virsh", "-q", "define", "/dev/stdin", stdin=DOMAIN.format(mac=MAC))
    host.exec("virsh", "-q", "start", "guest")
    return address


def test_guest_boots_answers_and_powers_off(fresh_lab: LabHosts, mini_image: Path, guest_key: Path) -> None:
    host, other = fresh_lab.hosts
    address = start_guest(host, mini_image)
    wait_until(lambda: fetch(f"http://{address}/") != "", timeout_s=90, what="web server of the guest", every_s=0.1)
    identity = dict(line.split(": ", 1) for line in fetch(f"http://{address}/cgi-bin/identity").splitlines())
    assert identity["hostname"] == "master"
    assert identity["mac"] == MAC
    assert identity["host_key"].startswith("SHA256:")
    assert run("ssh", "-i", guest_key, *ANY_HOST_KEY, f"root@{address}", "hostname").stdout == "master\n"
    assert "web server of the master" in other.exec("wget", "-q", "-O-", "-T", "5", f"http://{address}/").stdout
    host.exec("virsh", "-q", "shutdown", "guest")
    wait_until(lambda: "shut off" in host.exec("virsh", "domstate", "guest").stdout, timeout_s=30, what="power off")
    host.exec("qemu-img", "check", "-q", "-f", "qcow2", "/srv/local/guest.qcow2")


def test_broken_guest_has_ssh_but_no_web_server(fresh_lab: LabHosts, broken_image: Path) -> None:
    address = start_guest(fresh_lab.hosts[0], broken_image)
    wait_until(lambda: can_connect(address, 22), timeout_s=90, what="sshd of the guest", every_s=0.1)
    assert "broken on purpose" in fresh_lab.hosts[0].exec("cat", "/var/log/libvirt/qemu/guest.serial").stdout
    assert not can_connect(address, 80)


def test_hosts_are_apart(lab: LabHosts) -> None:
    first, second = lab.hosts
    first.exec("sh", "-c", "echo one >/etc/only-here; echo one >/srv/shared/test-lab; echo one >/srv/local/only-here")
    assert second.exec("cat", "/srv/shared/test-lab").stdout == "one\n"
    for path in ("/etc/only-here", "/srv/local/only-here"):
        assert second.exec("test", "-e", path, check=False).returncode == 1
        first.exec("rm", path)
    assert not Path("/etc/only-here").exists()
    first.exec("rm", "/srv/shared/test-lab")
    for command in ("cat /etc/machine-id /etc/ssh/*.pub", "hostname", "virsh capabilities | grep -m1 '<uuid>'"):
        assert first.exec("sh", "-c", command).stdout != second.exec("sh", "-c", command).stdout
    assert first.exec("test", "-e", "/dev/kvm", check=False).returncode == 1


def test_ansible_reaches_hosts_with_their_environment(lab: LabHosts, make_controller: MakeController) -> None:
    controller = make_controller(lab)
    (controller.directory / "ansible.cfg").write_text(
        (controller.directory / "ansible.cfg").read_text().replace("fact_caching = encompass.images.catalog", "")
    )
    tasks = [{"ansible.builtin.command": "printenv LIBGUESTFS_BACKEND_SETTINGS"}]
    done = controller.run([{"hosts": "encompass_providers", "gather_facts": False, "tasks": tasks}]).require_success()
    assert done.changed == {host.name: 1 for host in lab.hosts}
    assert [result["stdout"] for result in done.results(action="ansible.builtin.command")] == ["force_tcg", "force_tcg"]


def test_crash_keeps_disks_and_partition_keeps_guests(fresh_lab: LabHosts) -> None:
    host = fresh_lab.hosts[0]
    host.exec("virsh", "-q", "define", "/dev/stdin", stdin=DOMAIN.format(mac=MAC))
    host.partition()
    assert not can_connect(host.address, 22)
    assert "guest" in run("virsh", "-c", host.uri, "list", "--all").stdout
    host.heal()
    wait_until(lambda: can_connect(host.address, 22), timeout_s=10, what="ssh after the partition")
    host.crash()
    assert not can_connect(host.address, 22)
    host.start()
    assert "guest" in host.exec("virsh", "list", "--all").stdout


def is_gone(directory: Path, processes: list[ProcessId]) -> bool:
    return not directory.exists() and not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("with_keeper", [False, True], ids=["owner-killed", "owner-and-keeper-killed"])
def test_nothing_stays_behind(with_keeper: bool) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    name, keeper_pid = owner.stdout.readline().split()
    pids = [labstate.read_process(labstate.STATE_ROOT / name, process) for process in (f"{name}h1", "keeper")]
    if with_keeper:
        os.kill(int(keeper_pid), signal.SIGKILL)
    owner.kill()
    owner.communicate()
    if with_keeper:
        run(sys.executable, "-m", "tests.lab.hosts", "clean")
    gone = functools.partial(is_gone, labstate.STATE_ROOT / name, [process for process in pids if process])
    wait_until(gone, timeout_s=45, what=f"end of lab {name}", every_s=0.05)
    assert name not in run("ip", "link").stdout
    assert str(labstate.network_of(int(name[3:]))) not in run("ip", "route", "show", "table", "all").stdout
    assert name not in Path("/proc/mounts").read_text(encoding="utf-8")

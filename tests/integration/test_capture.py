# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master is maintained on a server of its own and captured as the next version; what is not fit for it is refused."""

from __future__ import annotations

import ipaddress
import shutil
import threading
import time
import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import Site, make_web
from tests.integration.test_lab import ANY_HOST_KEY, DOMAIN, MAC, fetch
from tests.lab.commands import run, wait_until
from tests.lab.hosts import LabHost

MAINTAINED = "web-server-maintenance-1"
READY = {"url": "http://{address}/", "timeout_s": 150}

# A role of the operator's, for a guest without Python.
CHANGE = [
    {
        "name": "Apply an update",
        "ansible.builtin.raw": "echo updated >/var/www/update; sed -i s/hello/mended/ /var/www/cgi-bin/write",
        "changed_when": True,
    }
]


@pytest.fixture(scope="module")
def site(make_site: MakeSite, guest_key: Path) -> Site:
    site = make_site()
    site.controller.write("roles/mend/tasks/main.yml", CHANGE)
    guests = {"ansible_user": "root", "ansible_ssh_private_key_file": str(guest_key)}
    guests["ansible_ssh_common_args"] = " ".join(ANY_HOST_KEY)
    site.controller.write("inventory/maintenance.json", {"maintenance": {"vars": guests}})
    return site


def clone_of(site: Site, machine: str) -> tuple[str, dict[str, t.Any]]:
    name = site.find("machine")[machine]["clone"]
    return name, site.find("clone")[name]


def log_in(site: Site, guest_key: Path, machine: str, command: str) -> str:
    return run("ssh", "-i", guest_key, *ANY_HOST_KEY, f"root@{site.address_of(machine)}", command).stdout


def maintain(site: Site, **fields: t.Any) -> t.Any:
    wanted = {"function": "web-server", "memory_mib": 96, "ready": READY, "inputs": {"greeting": "secret-greeting"}}
    return site.controller.run(
        "encompass.images.maintain",
        encompass_maintain=fields or wanted,
        encompass_maintain_role=str(site.controller.directory / "roles/mend"),
        encompass_maintain_gather_facts=False,
    )


@pytest.fixture(scope="module")
def maintained(site: Site) -> Site:
    """Return the site with a server in maintenance, changed by a role of the operator's."""
    maintain(site).require_success()
    return site


def test_a_maintenance_server_is_changed_by_the_operators_role(maintained: Site, guest_key: Path) -> None:
    name, clone = clone_of(maintained, MAINTAINED)
    assert (clone["metastate"], clone["stage"]) == ("maintenance", "active")
    assert clone["maintenance_deployment"] == "web-server-maintenance"
    assert maintained.fetch(MAINTAINED, "/update") == "updated\n"
    assert MAINTAINED in maintained.controller.command("ansible-inventory", "--graph", "maintenance").stdout
    again = maintain(maintained).require_success()
    assert again.changed == {host: 0 for host in (*maintained.providers, "localhost")} | {MAINTAINED: 1}
    assert name in str(again.results(action="ansible.builtin.debug"))


def capture(site: Site, *names: str, check: bool = False, **options: t.Any) -> t.Any:
    extra = {f"encompass_capture_{key}": value for key, value in options.items()}
    arguments = ["--check", "--diff"] if check else []
    return site.controller.run("encompass.images.capture", *arguments, encompass_capture=list(names), **extra)


def test_it_is_captured_proved_and_deployed(maintained: Site, guest_key: Path) -> None:
    site = maintained
    name, _clone = clone_of(site, MAINTAINED)
    maintainer = site.identity(MAINTAINED)
    records = site.dump()
    assert (
        capture(site, MAINTAINED, prove=True, check=True).require_success().changed[site.host_of(MAINTAINED).name] > 0
    )
    assert site.dump() == records
    capture(site, MAINTAINED, prove=True).require_success()
    master = site.find("master")["web-server-v2"]
    assert (master["state"], master["parent"], master["captured_from"]) == ("available", "web-server-v1", name)
    assert (site.find("machine"), site.find("clone"), site.orphans()) == ({}, {}, [])
    capture(site, MAINTAINED, prove=True).require_unchanged()
    capture(site, MAINTAINED, prove=True, check=True).require_unchanged()
    site.deploy(make_web(count=1)).require_success()
    assert clone_of(site, "web-1")[1]["master"] == "web-server-v2"
    assert site.fetch("web-1", "/update") == "updated\n"
    assert site.fetch("web-1") == f"hello from web-1 at {site.address_of('web-1')}\n"
    own = site.identity("web-1")
    assert own["hostname"] == "web-1"
    for trait in ("machine_id", "host_key", "random_seed_sha256"):
        assert own[trait] != maintainer[trait]
    assert log_in(site, guest_key, "web-1", "grep -rl secret-greeting /etc /var /root || true") == ""


@pytest.fixture(scope="module")
def served(site: Site) -> Site:
    """Return the site with a declared server."""
    site.deploy(make_web(count=1)).require_success()
    return site


def refusal(run_: t.Any) -> str:
    assert run_.returncode != 0
    return str(run_.failures[-1]["result"]["msg"])


def test_what_is_not_fit_is_refused_and_runs_on(served: Site) -> None:
    boot = served.identity("web-1")["boot_id"]
    masters, name = served.find("master"), clone_of(served, "web-1")[0]
    assert "nobody: the catalog has neither a clone nor a server of this name" in refusal(capture(served, "nobody"))
    expected = f"clone {name}: cannot capture it: it is operational/active. Only a clone in maintenance is captured"
    assert expected in refusal(capture(served, "web-1"))
    maintain(served, clone="web-1").require_success()
    direct = {"hosts": "encompass_providers", "gather_facts": False}
    task = {"encompass.images.capture": {"clones": [{"name": "web-1"}]}}
    running = served.controller.run([{**direct, "hosts": served.host_of("web-1").name, "tasks": [task]}])
    assert "it is maintenance/active, and capture starts from" in refusal(running)
    planned = capture(served, "web-1", check=True).require_success()
    assert planned.changed[served.host_of("web-1").name] > 0
    assert (served.find("master"), served.identity("web-1")["boot_id"]) == (masters, boot)


def test_a_killed_capture_of_a_declared_server_is_finished_by_the_next(served: Site) -> None:
    maintain(served, clone="web-1").require_success()
    name, _clone = clone_of(served, "web-1")
    staging = served.host_of("web-1").local / "pool/.staging"
    running = served.controller.start("encompass.images.capture", encompass_capture=["web-1"])
    wait_until(lambda: list(staging.glob("capture~*")) != [], timeout_s=240, what="a copy that is being made")
    running.kill()
    running.wait()
    # What the killed run began may go on for a while; nobody begins it a second time.
    wait_until(lambda: capture(served, "web-1").returncode == 0, timeout_s=400, what="the end of the capture")
    spent = served.find("clone")[name]
    made = [body for body in served.find("master").values() if body.get("captured_from") == name]
    assert ([body["state"] for body in made], spent["metastate"], spent["stage"]) == (
        ["available"],
        "spent",
        "attached",
    )
    assert list(staging.iterdir()) == []
    capture(served, "web-1").require_unchanged()
    served.retire("web").require_success()
    assert served.orphans() == []


BACKUP = """
<domainbackup mode='pull'><server transport='unix' socket='/var/lib/libvirt/qemu/{name}.sock'/>
  <disks><disk name='vda' type='file'><scratch file='{place}/scratch.qcow2'/></disk></disks></domainbackup>
"""


SECOND_DISK = """
<disk type='file'>
  <driver name='qemu' type='qcow2'/><source file='/srv/local/second.qcow2'/><target dev='vdb' bus='virtio'/>
</disk>
"""


def make_second_disk(host: LabHost, folder: Path) -> None:
    """Make a disk with one file on it."""
    (folder / "tree").mkdir()
    (folder / "tree/marker").write_text("on the second disk\n")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", folder / "tree", folder / "raw", "16M")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "raw", host.local / "second.qcow2")


def start_donor(site: Site, image: Path, folder: Path) -> str:
    """Start a guest with two disks that is nobody's on the site's first provider; return its address."""
    host = site.lab.hosts[0]
    make_second_disk(host, folder)
    address = str(ipaddress.IPv4Network(host.guest_subnet)[50])
    shutil.copy(image, host.local / "guest.qcow2")
    entry = f"<host mac='{MAC}' ip='{address}'/>"
    host.exec("virsh", "-q", "net-update", "encompass", "add", "ip-dhcp-host", entry, "--live")
    domain = DOMAIN.format(mac=MAC).replace("network='guests'", "network='encompass'")
    domain = domain.replace("</disk>", f"</disk>{SECOND_DISK}")
    host.exec("virsh", "-q", "define", "/dev/stdin", stdin=domain)
    host.exec("virsh", "-q", "start", "guest")
    wait_until(lambda: fetch(f"http://{address}/") != "", timeout_s=180, what="web server of the donor", every_s=0.2)
    return address


class Client(threading.Thread):
    """Asks a server again and again; ``silence_s`` is the longest time without an answer."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address, self.is_over, self.silence_s = address, threading.Event(), 0.0

    def run(self) -> None:
        last = time.monotonic()
        while not self.is_over.wait(0.1):
            if fetch(f"http://{self._address}/"):
                self.silence_s = max(self.silence_s, time.monotonic() - last)
                last = time.monotonic()
        self.silence_s = max(self.silence_s, time.monotonic() - last)


def donate(site: Site, **fields: t.Any) -> t.Any:
    donor = {"domain": "guest", "function": "donated", "min_memory_mib": 96, **fields}
    task = {"encompass.images.capture": {"donors": [donor], "virt_type": "qemu"}}
    return site.controller.run([{"hosts": site.lab.hosts[0].name, "gather_facts": False, "tasks": [task]}])


def read_marker(host: LabHost, master: dict[str, t.Any]) -> str:
    """Return what is on the second volume of a master, read without libguestfs."""
    path = master["replicas"][0]["volumes"]["vdb"]["path"]
    host.exec("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, "/tmp/second.raw")
    return host.exec("debugfs", "-R", "cat /marker", "/tmp/second.raw").stdout


def test_a_donor_runs_on_while_it_becomes_a_master(site: Site, mini_image: Path, tmp_path: Path) -> None:
    host = site.lab.hosts[0]
    address = start_donor(site, mini_image, tmp_path)
    before = host.exec("virsh", "dumpxml", "guest").stdout
    assert "donor nobody: the provider has no such domain" in refusal(donate(site, domain="nobody", function="no"))
    # A job of somebody else is left alone, one of a killed run of ours is not.
    host.exec("virsh", "backup-begin", "guest", "/dev/stdin", stdin=BACKUP.format(name="theirs", place="/srv/local"))
    assert "somebody else is backing it up" in refusal(donate(site))
    host.exec("virsh", "domjobabort", "guest")
    assert "no guest agent is connected" in refusal(donate(site, freeze="required", function="no"))
    assert "it writes to no disk vdc" in refusal(donate(site, disks=["vdc"], function="no"))
    assert not {"no-v1", "donated-v1"} & set(site.find("master"))
    host.exec("chmod", "711", "/srv/local/pool/.staging")
    ours = BACKUP.format(name="ours", place="/srv/local/pool/.staging")
    host.exec("virsh", "backup-begin", "guest", "/dev/stdin", stdin=ours)
    client = Client(address)
    client.start()
    donate(site).require_success()
    client.is_over.set()
    client.join()
    assert client.silence_s < 10
    assert host.exec("virsh", "dumpxml", "guest").stdout == before
    assert "None" in host.exec("virsh", "domjobinfo", "guest").stdout
    assert host.exec("virsh", "checkpoint-list", "guest", "--name").stdout.strip() == ""
    master = site.find("master")["donated-v1"]
    assert (master["state"], master["captured_from"]) == ("available", "domain guest")
    assert [volume["name"] for volume in master["volumes"]] == ["root", "vdb"]
    told = master["captured"]
    assert (told["consistency"], told["consistency_reason"]) == ("crash", "no guest agent is connected")
    assert told["replayed"] == ["/"]  # as a crash would have left it
    assert read_marker(host, master) == "on the second disk\n"
    donate(site).require_unchanged()
    host.exec("virsh", "-q", "destroy", "guest")
    donate(site, version=2, disks=["vda"]).require_success()
    off = site.find("master")["donated-v2"]
    assert ([volume["name"] for volume in off["volumes"]], off["captured"]["consistency"]) == (["root"], "off")
    host.exec("virsh", "-q", "undefine", "guest")
    donated = make_web("shop", function="donated", version=1, count=1, placement={"providers": [host.name]})
    site.deploy(donated).require_success()
    assert "web server of the master" in site.fetch("shop-1")
    clone = site.find("machine")["shop-1"]["clone"]
    (definition,) = (text for name, text in site.domains().items() if name.endswith("/shop-1"))
    assert [f"clones/{clone}/{name}.qcow2" in definition for name in ("root", "vdb")] == [True] * 2
    assert site.identity("shop-1")["hostname"] == "shop-1"
    site.retire("shop").require_success()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full Debian web server (systemd, nginx, OpenSSH), deployed and then managed by a later play of the same run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.integration.site import POOL, Site, make_web
from tests.integration.test_lab import ANY_HOST_KEY
from tests.lab.commands import run as run_command
from tests.lab.commands import wait_until
from tests.lab.controller import Controller
from tests.lab.hosts import LabHost, LabHosts

UNIT = "[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n[Install]\nWantedBy=multi-user.target\n"
ITEMS = [
    {"name": "page", "type": "template", "path": "/var/www/html/index.html", "src": "page.j2"},
    {"name": "first boot", "type": "firstboot", "content": "#!/bin/sh\nhostname >>/var/www/html/first-boots\n"},
    {"name": "unit", "type": "file", "path": "/etc/systemd/system/marker.service", "content": UNIT},
    {"name": "marker", "type": "service", "service": "marker", "state": "enabled"},
    {"name": "agent", "type": "service", "service": "qemu-guest-agent", "state": "masked"},
    {"name": "kernel", "type": "kernel", "arguments": {"add": ["encompass.test=1"]}, "initrd_modules": ["dummy"]},
]
# without KVM and beside other tests, a full guest may take minutes
SLOW = {"url": "http://{address}/first-boots", "timeout_s": 900}

LATER_SEED_PLAY = {
    "hosts": "function_web_server",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.wait_for_connection": {"timeout": 600}},
        {"ansible.builtin.command": "cloud-init status --wait"},
        {"name": "seed", "ansible.builtin.command": "cat /etc/from-seed /etc/first-boot"},
        {"name": "name", "ansible.builtin.command": "hostname"},
    ],
}

LATER_PLAY = {
    "hosts": "function_web_server",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.wait_for_connection": {"timeout": 600}},
        {"ansible.builtin.service_facts": {}},
        {"name": "machine id", "ansible.builtin.command": "cat /etc/machine-id"},
        {"name": "command line", "ansible.builtin.command": "cat /proc/cmdline"},
        # No hardware asks for this one: it is loaded because the initrd holds and names it.
        {"name": "module", "ansible.builtin.command": "cat /sys/module/dummy/initstate"},
        {"name": "host key", "ansible.builtin.command": "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"},
    ],
}


def make_login(guest_key: Path) -> dict[str, str]:
    """Return the variables that open a server's ssh."""
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(guest_key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def test_a_full_debian_server_is_deployed_and_managed(tmp_path: Path, full_image: Path, guest_key: Path) -> None:
    login = make_login(guest_key)
    web = make_web(count=1, memory_mib=512, inputs={"greeting": "moin"}, ready=SLOW, vars=login)
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(full_image, min_memory_mib=384, items=ITEMS)
        deploy = {"ansible.builtin.import_playbook": "encompass.images.deploy"}
        run = site.controller.run([deploy, LATER_PLAY], encompass_deployments=[web], timeout_s=1800).require_success()

        clone = site.find("clone")[site.find("machine")["web-1"]["clone"]]
        (services,) = run.results(action="ansible.builtin.service_facts", host="web-1")
        states = services["ansible_facts"]["services"]
        assert states["nginx.service"]["state"] == "running"
        assert states["marker.service"]["status"] == "enabled"
        assert states["qemu-guest-agent.service"]["status"] == "masked"
        assert "encompass.test=1" in run.results(task="command line")[0]["stdout"].split()
        assert run.results(task="module")[0]["stdout"] == "live"
        applied = {item["name"]: item for item in clone["customization"]["applied"]}
        assert applied["first boot"]["started_by"] == "systemd"
        assert run.results(task="machine id")[0]["stdout"] == clone["identity"]["machine_id"]
        assert clone["identity"]["host_keys"]["ed25519"] in run.results(task="host key")[0]["stdout"]
        assert site.fetch("web-1") == f"moin from web-1 at {site.address_of('web-1')}\n"
        assert site.fetch("web-1", "/first-boots") == "web-1\n"

        site.retire("web").require_success()
        assert site.domains() == {}


# It would hang while it is frozen, and so would who waits for it.
WRITER = "nohup sh -c 'while :; do date >>/root/written; sync; done' >/dev/null 2>&1 </dev/null &"


def freeze_as_a_killed_run(host: LabHost, domain: str, master: str) -> None:
    """Leave a domain frozen, and what tells that a run was killed while it captured it."""
    machine_id = host.exec("cat", "/etc/machine-id").stdout.strip()
    owner = f"{hashlib.sha256(machine_id.encode()).hexdigest()[:8]}-00000000-1-1"
    host.exec("mkdir", f"{POOL}/.staging/capture~{master}~{owner}")
    host.exec("virsh", "-q", "domfsfreeze", domain)


def capture_frozen(site: Site, guest_key: Path) -> None:
    """Make a master of a server that writes all the time, and that a killed run left frozen."""
    (host,) = site.lab.hosts

    def log_in(command: str) -> str:
        login = ("ssh", "-i", guest_key, *ANY_HOST_KEY, f"root@{site.address_of('web-1')}")
        return run_command(*login, command).stdout

    def count_written() -> int:
        return int(log_in("wc -l </root/written"))

    log_in(WRITER)
    wait_until(lambda: count_written() > 2, timeout_s=60, what="a guest that writes", every_s=0.5)
    freeze_as_a_killed_run(host, "web-1", "donated-v1")
    donor = {"domain": "web-1", "function": "donated", "freeze": "required", "min_memory_mib": 384}
    task = {"encompass.images.capture": {"donors": [donor], "virt_type": "qemu"}}
    play = {"hosts": host.name, "gather_facts": False, "tasks": [task]}
    done = site.controller.run([play], timeout_s=900).require_success()
    (result,) = done.results(action="encompass.images.capture")
    assert result["objects"][0]["steps"][0].startswith("thaw the file systems of domain web-1")
    told = site.find("master")["donated-v1"]["captured"]
    # Without a journal to replay there is nothing for fsck to do.
    assert (told["consistency"], told["consistency_reason"], told["replayed"]) == ("frozen", None, [])
    assert "Thawed 0 filesystem" in host.exec("virsh", "domfsthaw", "web-1").stdout
    before = count_written()
    wait_until(lambda: count_written() > before, timeout_s=60, what="a guest that goes on writing", every_s=0.5)


def test_cloud_init_takes_its_settings_from_the_seed(tmp_path: Path, debian_image: Path, guest_key: Path) -> None:
    items = [
        {"name": "settings", "type": "seed", "src": "seed.j2"},
        {"name": "first boot", "type": "firstboot", "content": "#!/bin/sh\nhostname >>/etc/first-boot\n"},
    ]
    ready = {"port": 22, "timeout_s": 900}
    web = make_web(count=1, memory_mib=512, inputs={"greeting": "moin"}, ready=ready, vars=make_login(guest_key))
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(debian_image, min_memory_mib=384, items=items)
        deploy = {"ansible.builtin.import_playbook": "encompass.images.deploy"}
        plays = [deploy, LATER_SEED_PLAY]
        run = site.controller.run(plays, encompass_deployments=[web], timeout_s=1800).require_success()
        assert run.results(task="seed")[0]["stdout"] == "moin from web-1\nweb-1"
        assert run.results(task="name")[0]["stdout"] == "web-1"
        capture_frozen(site, guest_key)
        site.retire("web").require_success()

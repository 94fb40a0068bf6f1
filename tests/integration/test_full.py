# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full Debian web server (systemd, nginx, OpenSSH), deployed and then managed by a later play of the same run."""

from __future__ import annotations

from pathlib import Path

from tests.integration.site import Site, make_web
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts

ITEMS = [
    {"name": "page", "type": "template", "path": "/var/www/html/index.html", "src": "page.j2"},
    {"name": "first boot", "type": "firstboot", "content": "#!/bin/sh\nhostname >>/var/www/html/first-boots\n"},
]
# without KVM and beside other tests, a full guest may take minutes
SLOW = {"url": "http://{address}/first-boots", "timeout_s": 900}

LATER_PLAY = {
    "hosts": "function_web_server",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.wait_for_connection": {"timeout": 600}},
        {"ansible.builtin.service_facts": {}},
        {"name": "machine id", "ansible.builtin.command": "cat /etc/machine-id"},
        {"name": "host key", "ansible.builtin.command": "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"},
    ],
}


def test_a_full_debian_server_is_deployed_and_managed(tmp_path: Path, full_image: Path, guest_key: Path) -> None:
    login = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(guest_key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    web = make_web(count=1, memory_mib=512, inputs={"greeting": "moin"}, ready=SLOW, vars=login)
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(full_image, min_memory_mib=384, items=ITEMS)
        deploy = {"ansible.builtin.import_playbook": "encompass.images.deploy"}
        run = site.controller.run([deploy, LATER_PLAY], encompass_deployments=[web], timeout_s=1800).require_success()

        clone = site.find("clone")[site.find("machine")["web-1"]["clone"]]
        (services,) = run.results(action="ansible.builtin.service_facts", host="web-1")
        assert services["ansible_facts"]["services"]["nginx.service"]["state"] == "running"
        assert run.results(task="machine id")[0]["stdout"] == clone["identity"]["machine_id"]
        assert clone["identity"]["host_keys"]["ed25519"] in run.results(task="host key")[0]["stdout"]
        assert site.fetch("web-1") == f"moin from web-1 at {site.address_of('web-1')}\n"
        assert site.fetch("web-1", "/first-boots") == "web-1\n"

        site.retire("web").require_success()
        assert site.domains() == {}

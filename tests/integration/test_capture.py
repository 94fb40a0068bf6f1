# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master is maintained on a server of its own and captured as the next version; what is not fit for it is refused."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import Site, make_web
from tests.integration.test_lab import ANY_HOST_KEY
from tests.lab.commands import run

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
    capture(site, MAINTAINED, prove=True).require_success()
    master = site.find("master")["web-server-v2"]
    assert (master["state"], master["parent"], master["captured_from"]) == ("available", "web-server-v1", name)
    assert (site.find("machine"), site.find("clone"), site.orphans()) == ({}, {}, [])
    capture(site, MAINTAINED, prove=True).require_unchanged()
    site.deploy(make_web(count=1)).require_success()
    assert clone_of(site, "web-1")[1]["master"] == "web-server-v2"
    assert site.fetch("web-1", "/update") == "updated\n"
    assert site.fetch("web-1") == f"hello from web-1 at {site.address_of('web-1')}\n"
    own = site.identity("web-1")
    assert own["hostname"] == "web-1"
    for trait in ("machine_id", "host_key", "random_seed_sha256"):
        assert own[trait] != maintainer[trait]
    assert log_in(site, guest_key, "web-1", "grep -rl secret-greeting /etc /var /root || true") == ""

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets go through every playbook, at its most talkative, and are nowhere but in the guest that they are for."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import MASTER, SECRET, make_web
from tests.integration.test_deploy import watched_processes
from tests.integration.test_lab import fetch
from tests.integration.test_migrate import SpanningSite
from tests.integration.test_ssh_donor import Machine, introduce
from tests.lab.commands import wait_until
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHost, LabHosts
from tests.lab.postgresql import PASSWORD, PostgresqlServer

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
URL_PASSWORD = "canary-2358-in-a-url"
ITEMS: list[dict[str, t.Any]] = [
    *t.cast("list[dict[str, t.Any]]", MASTER["items"]),
    {"name": "seed", "type": "seed", "src": "secret-seed.j2"},
    {
        "name": "banner",
        "type": "regexp",
        "path": "/etc/os-release",
        "pattern": "^ID=.*$",
        "replacement": "{% raw %}ID='{{ token }}'{% endraw %}",
        "required": False,
    },
]
INPUTS = {"greeting": "moin", "token": SECRET}
# What a guest boots is proven elsewhere; here one plug is pulled after the other.
WEB = make_web(count=1, version=1, inputs=INPUTS, ready=None, stop_timeout_s=1)
LOG = "/var/log/syslog"
# Writes down whole what modules tell the system's log; busybox's syslogd cuts lines off.
LISTEN = f"""\
import socket
heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind("/dev/log")
with open("{LOG}", "ab", buffering=0) as log:
    while True:
        log.write(heard.recv(1 << 20) + b"\\n")
"""


class SecretSite(SpanningSite):
    """A site whose playbooks tell all they can, and are watched."""

    def __init__(self, lab: LabHosts, controller: Controller) -> None:
        super().__init__(lab, controller)
        self.log = controller.directory / "ansible.log"
        self.ran: set[str] = set()
        self.findings: list[str] = []
        self.processes: set[str] = set()
        controller.environment["ANSIBLE_LOG_PATH"] = str(self.log)
        text = '#cloud-config\nwrite_files: [{path: /etc/from-seed, content: "{{ token }}"}]\n'
        controller.write("templates/secret-seed.j2", text)
        # The playbooks would look beside themselves for a path that is not absolute.
        templates = controller.directory / "templates"
        self.items = [{**item, "src": str(templates / item["src"])} if "src" in item else item for item in ITEMS]
        masters = [
            {**MASTER, "version": 2, "items": self.items[1:]},
            {**MASTER, "function": "batch", "items": self.items},
        ]
        declared = {"encompass_deployments": [WEB], "encompass_masters": masters}
        controller.write("inventory/declared.json", {"all": {"vars": declared}})
        for host in lab.hosts:
            host.exec("sh", "-c", 'python3 -c "$0" >/dev/null 2>&1 & until [ -S /dev/log ]; do sleep 0.1; done', LISTEN)

    def make_providers(self) -> None:
        """Run hypervisor, with secrets within its reach."""
        self.tell("hypervisor")

    def tell(self, playbook: str, *arguments: str, succeeds: bool = True, **variables: t.Any) -> PlaybookRun:
        """Run a playbook with all that Ansible can be asked to tell; note where it tells a secret."""
        self.ran.add(playbook)
        asked = self.controller.write("asked.json", variables)
        with watched_processes() as seen:
            run = self.controller.run(f"encompass.images.{playbook}", "-vvvv", "--diff", "-e", f"@{asked}", *arguments)
        self.processes |= seen
        asked.unlink()
        if not any(str(asked) in line for line in seen):
            self.findings.append(f"{playbook} was not watched")
        assert (run.returncode == 0) == succeeds, f"{playbook} ended with {run.returncode}: {run.stdout[-2000:]}"
        told = "\n".join([run.stdout, run.stderr, json.dumps(run.events), self.log.read_text(encoding="utf-8")])
        self.log.unlink()
        for line in told.splitlines():
            for found in re.finditer("canary", line):
                self.findings.append(f"{playbook}: {line[max(0, found.start() - 200) : found.start() + 60]}")
        return run

    def require_kept(self, *masters: str) -> None:
        """Fail unless the clones are of these masters, the one that is served first, and they alone hold secrets."""
        machines, clones = self.find("machine"), self.find("clone")
        served = [machine["clone"] for machine in machines.values()]
        assert [clones[name]["master"] for name in served + sorted(clones.keys() - served)] == list(masters)
        assert {path for host in self.lab.hosts for path in find_secret(host)} == {
            f"{clone['provider']}:{clone['directory']}/{name}"
            for clone in clones.values()
            for name in ("root.qcow2", "seed.iso")
        }


def find_secret(host: LabHost) -> set[str]:
    """Return the files of a provider that hold a secret."""
    places = (
        "/srv/local",
        "/srv/shared",
        "/var/log",
        "/var/lib/libvirt",
        "/etc",
        "/tmp",
        "/run",
        "/root/.ansible",
    )
    words = ("-e", "canary-[0-9]", "-e", PASSWORD)
    search = ["grep", "-rlI", "--binary-files=text", "-D", "skip", *words, *places]
    found = host.exec(*search, timeout_s=600, check=False)
    return {f"{host.name}:{path}" for path in found.stdout.splitlines()}


@pytest.fixture
def site(tmp_path: Path, mini_image: Path) -> t.Iterator[SecretSite]:
    with LabHosts(2, share_guests=True) as lab:
        site = SecretSite(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(mini_image, items=site.items)
        yield site


def run_scenarios(site: SecretSite) -> None:
    """Run every playbook that fills the library, makes servers or looks at them."""
    site.tell("discover")  # now each provider knows of the other
    site.tell("add_master")
    refused = {
        **MASTER,
        "version": 9,
        "source": f"https://jane:{URL_PASSWORD}@images.example/a.qcow2",
        "sha256": "0" * 64,
    }
    site.tell("add_master", encompass_masters=[{**refused, "items": []}], succeeds=False)
    site.tell("deploy", encompass_retire_data="perhaps", succeeds=False)
    site.tell("deploy", encompass_deployments=[{**WEB, "cuont": 1}], succeeds=False)
    site.tell("deploy")
    changed = {**WEB, "inputs": {**INPUTS, "greeting": "salut"}}
    site.tell("deploy", "--check", encompass_deployments=[changed])
    # What a server of its own for the maintenance is asked for is told on the control node; the rest is as in deploy.
    site.tell("maintain", "--check", encompass_maintain={"function": "web-server", "inputs": INPUTS})
    site.tell("verify", encompass_verify_repair=True)
    site.tell("report")
    site.tell("masters")
    site.require_kept("web-server-v1")


def change_what_is_served(site: SecretSite) -> None:
    """Have the server serve the next version, the first one again, then another function, at the other provider."""
    source = site.provider_of("web-1")
    site.tell("update", encompass_update_version=2)
    site.require_kept("web-server-v2", "web-server-v1")
    site.tell("rollback", encompass_rollback=["web"])
    site.require_kept("web-server-v1", "web-server-v2")
    site.tell("reassign", encompass_reassign=[{"machines": ["web-1"], "function": "batch", "inputs": INPUTS}])
    site.require_kept("batch-v1", "web-server-v1", "web-server-v2")
    site.tell("migrate", encompass_migrate=[{"machines": ["web-1"], "live": False}])
    assert site.provider_of("web-1") == site.other_than(source)
    (clone,) = site.find("clone").values()  # what is on standby stays behind, and goes
    assert "journal.json" in site.host_of("web-1").exec("ls", f"{clone['directory']}/undo").stdout.split()
    site.require_kept("batch-v1")


def capture(site: SecretSite, guest_key: Path) -> None:
    """Capture the server over ssh as a machine that is not ours, and as a clone in maintenance."""
    site.tell("maintain", encompass_maintain={"clone": "web-1"})
    machine = Machine(site.address_of("web-1"), guest_key)
    wait_until(lambda: fetch(f"http://{machine.address}/") != "", timeout_s=150, what="the server")
    donor = {"ssh": f"root@{machine.address}", **introduce(site, machine, guest_key)}
    whole = {"provider": site.lab.hosts[0].name, "function": "donated", "min_memory_mib": 96, **donor}
    run = site.tell("capture", "--check", encompass_capture_donors=[whole])
    line = guest_key.read_text(encoding="ascii").splitlines()[1]
    assert line not in run.stdout + json.dumps(run.events)
    proof: t.Any = {"inputs": INPUTS, "stop_timeout_s": 1}
    asked: t.Any = {"encompass_capture_prove": True, "encompass_capture_proof": proof}
    site.tell("capture", encompass_capture=["web-1"], encompass_capture_force=True, **asked)
    assert site.find("master")["batch-v2"]["state"] == "available"
    site.require_kept("batch-v1")


def test_secrets_are_nowhere_but_in_the_guest(site: SecretSite, guest_key: Path) -> None:
    run_scenarios(site)
    change_what_is_served(site)
    capture(site, guest_key)
    site.tell("retire", encompass_retire=["web"])
    site.require_kept()
    for host in site.lab.hosts:
        assert "Invoked with" in host.exec("cat", LOG).stdout
    move_catalog(site)
    assert [line for line in site.processes if SECRET in line or PASSWORD in line or URL_PASSWORD in line] == []
    assert site.ran == {path.stem for path in PLAYBOOKS.glob("*.yml")}
    assert site.findings == []


def move_catalog(site: SecretSite) -> None:
    """Move the catalog to a database, whose password is in a file, and see that no store holds a secret."""
    kept = b"".join(path.read_bytes() for path in site.controller.directory.glob("catalog.sqlite*"))
    with PostgresqlServer() as server:
        server.clear()
        site.controller.environment["PGPASSFILE"] = str(server.passwords)
        site.tell("move_catalog", encompass_catalog_target=server.url)
        tables = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'encompass'")
        moved = "".join(str(row) for (name,) in tables for row in server.execute(f"SELECT * FROM encompass.{name}"))
    assert b"web-1" in kept
    assert "web-1" in moved
    assert b"canary" not in kept
    assert "canary" not in moved
    known = {site.controller.inventory / "declared.json"}
    files = {path for path in site.controller.directory.rglob("*") if path.is_file()}
    assert {path for path in files if b"canary" in path.read_bytes()} == known

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets go through every playbook, at its most talkative, and are nowhere but in the guest that they are for."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import MASTER, POOL, SECRET, Site, make_web
from tests.integration.test_deploy import watched_processes
from tests.integration.test_ssh_donor import Machine, introduce
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHosts
from tests.lab.postgresql import PASSWORD, PostgresqlServer

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
URL_PASSWORD = "canary-2358-in-a-url"
ITEMS = t.cast("list[dict[str, t.Any]]", MASTER["items"])
SECRET_ITEMS = [
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
WEB = make_web(count=1, version=1, inputs=INPUTS)


class SecretSite(Site):
    """A site of one provider whose playbooks tell all they can, and are watched."""

    def __init__(self, lab: LabHosts, controller: Controller) -> None:
        super().__init__(lab, controller)
        self.log = controller.directory / "ansible.log"
        self.ran: set[str] = set()
        self.findings: list[str] = []
        self.processes: set[str] = set()
        controller.environment["ANSIBLE_LOG_PATH"] = str(self.log)

    def tell(self, playbook: str, *arguments: str, succeeds: bool | None = True, **variables: t.Any) -> PlaybookRun:
        """Run a playbook with all that Ansible can be asked to tell; note where it tells a secret."""
        self.ran.add(playbook)
        asked = self.controller.write("asked.json", variables)
        with contextlib.nullcontext(self.processes) if "--check" in arguments else watched_processes() as seen:
            run = self.controller.run(f"encompass.images.{playbook}", "-vvvv", "--diff", "-e", f"@{asked}", *arguments)
        self.processes |= seen
        asked.unlink()
        if succeeds is not None and (run.returncode == 0) != succeeds:
            self.findings.append(f"{playbook} ended with {run.returncode}: {run.stdout[-2000:]}")
        told = "\n".join([run.stdout, run.stderr, json.dumps(run.events), self.log.read_text(encoding="utf-8")])
        self.log.unlink()
        for line in told.splitlines():
            for found in re.finditer("canary", line):
                self.findings.append(f"{playbook}: {line[max(0, found.start() - 200) : found.start() + 60]}")
        return run


@pytest.fixture
def site(tmp_path: Path, mini_image: Path) -> t.Iterator[SecretSite]:
    with LabHosts(1) as lab:
        site = SecretSite(lab, Controller(tmp_path / "controller", lab=lab))
        text = '#cloud-config\nwrite_files: [{path: /etc/from-seed, content: "{{ token }}"}]\n'
        site.controller.write("templates/secret-seed.j2", text)
        site.prepare(mini_image, items=[*ITEMS, *SECRET_ITEMS])
        site.add_master(function="batch", items=ITEMS)
        declared = {"encompass_deployments": [WEB], "encompass_masters": [{**MASTER, "version": 2, "items": ITEMS[2:]}]}
        site.controller.write("inventory/declared.json", {"all": {"vars": declared}})
        yield site


def find_secret(site: SecretSite) -> set[str]:
    """Return the files of the provider that hold a secret."""
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
    found = site.lab.hosts[0].exec(*search, timeout_s=600, check=False)
    return set(found.stdout.splitlines())


def run_scenarios(site: SecretSite) -> None:
    """Run every playbook that works with deployments."""
    inputs: t.Any = {"inputs": INPUTS}
    site.tell("hypervisor", "--check")
    site.tell("discover")
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
    site.tell("update", "--check", encompass_update_version=2)
    site.tell("rollback", "--check", encompass_rollback=["web"], succeeds=False)
    site.tell("reassign", "--check", encompass_reassign=[{"machines": ["web-1"], "function": "batch", **inputs}])
    site.tell("migrate", "--check", encompass_migrate=[{"machines": ["web-1"]}], succeeds=False)
    site.tell("maintain", "--check", encompass_maintain={"function": "web-server", **inputs})
    site.tell("verify", encompass_verify_repair=True)
    site.tell("report")
    site.tell("masters")


def capture(site: SecretSite, guest_key: Path) -> None:
    """Capture the server as a clone in maintenance, and over ssh as a machine that is not ours."""
    site.tell("maintain", encompass_maintain={"clone": "web-1"})
    proof: t.Any = {"encompass_capture_prove": True, "encompass_capture_proof": {"inputs": INPUTS}}
    # In check mode there is no image yet that a server could be planned of.
    site.tell("capture", "--check", encompass_capture=["web-1"], **proof, succeeds=None)
    machine = Machine(site.address_of("web-1"), guest_key)
    donor = {"ssh": f"root@{machine.address}", **introduce(site, machine, guest_key)}
    whole = {"provider": site.lab.hosts[0].name, "function": "donated", "min_memory_mib": 96, **donor}
    run = site.tell("capture", "--check", encompass_capture_donors=[whole])
    line = guest_key.read_text(encoding="ascii").splitlines()[1]
    assert line not in run.stdout + json.dumps(run.events)


def test_secrets_are_nowhere_but_in_the_guest(site: SecretSite, guest_key: Path) -> None:
    run_scenarios(site)
    capture(site, guest_key)
    clone = site.find("machine")["web-1"]["clone"]
    home = f"{POOL}/clones/{clone}"
    found = find_secret(site)
    assert {f"{home}/root.qcow2", f"{home}/seed.iso"} <= found
    assert {path for path in found if not path.startswith(f"{home}/")} == set()
    site.tell("retire", encompass_retire=["web"])
    assert find_secret(site) == set()
    move_catalog(site)
    assert any("ansible-playbook" in line for line in site.processes)
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

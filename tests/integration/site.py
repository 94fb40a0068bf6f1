# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small site for the integration tests: two providers with one master, a control node, and what to ask of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import typing as t
import urllib.request
from pathlib import Path

from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHost, LabHosts

POOL = "/srv/local/pool"
SHARED = "/srv/shared/pool"
SECRET = "canary-4711-do-not-print"

TEMPLATES = {
    "page.j2": "{{ greeting }} from {{ server_name }} at {{ address }}\n",
    "token.j2": "{{ token or '' }}\n",
    "seed.j2": (
        '#cloud-config\nwrite_files: [{path: /etc/from-seed, content: "{{ greeting }} from {{ server_name }}\\n"}]\n'
    ),
}

MASTER = {
    "function": "web-server",
    "version": 1,
    "source": "/srv/shared/web-server.qcow2",
    "format": "qcow2",
    "min_memory_mib": 96,
    "inputs": [
        {"name": "greeting", "description": "What the page says", "default": "hello"},
        {"name": "token", "description": "A secret for the application", "secret": True},
    ],
    "items": [
        {
            "name": "page",
            "type": "template",
            "path": "/var/www/index.html",
            "src": "page.j2",
        },
        {
            "name": "token",
            "type": "template",
            "path": "/etc/token",
            "mode": "0600",
            "src": "token.j2",
        },
        {
            "name": "pretty name",
            "type": "regexp",
            "path": "/etc/os-release",
            "pattern": "^PRETTY_NAME=.*$",
            "replacement": 'PRETTY_NAME="a web server"',
        },
        {
            "name": "first boot",
            "type": "firstboot",
            "content": "#!/bin/sh\nhostname >>/var/www/first-boots\n",
        },
    ],
}

# Finds the volume by its serial number, as udev's links in /dev/disk/by-id do, of which this small guest has none.
_DATA_SCRIPT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
printf 'Content-Type: text/plain\\r\\n\\r\\n'
serial=$(hostname)-db
for disk in /sys/block/vd*; do [ "$(cat $disk/serial)" = $serial ] && device=/dev/${disk##*/}; done
mkdir -p /mnt/db
grep -q ' /mnt/db ' /proc/mounts || mount -t ext4 "$device" /mnt/db 2>&1
[ -z "$QUERY_STRING" ] || { echo "$QUERY_STRING" >>/mnt/db/words; sync; }
echo "$(findfs LABEL=data | grep -c "^$device$") $(cat /mnt/db/words 2>&1)"
"""
DATA_ITEM = {"name": "data", "type": "file", "path": "/var/www/cgi-bin/data", "mode": "0755", "content": _DATA_SCRIPT}


def play_add_master(master: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the play that adds a master, without the look at the providers that the playbook begins with."""
    variables = {"encompass_masters": [master]}
    role = "encompass.images.add_master"
    return [{"hosts": "encompass_providers", "gather_facts": False, "vars": variables, "roles": [role]}]


class Site:
    """Two lab hosts as providers, and a control node with a catalog of its own."""

    def __init__(self, lab: LabHosts, controller: Controller) -> None:
        self.lab = lab
        self.controller = controller
        self.providers = {host.name: host for host in lab.hosts}

    def prepare(self, image: Path, **changes: t.Any) -> None:
        """Make the hosts providers and give them the master, with some fields changed."""
        shutil.copy(image, self.lab.shared / "web-server.qcow2")
        self.controller.write("inventory/site.json", self._variables())
        self.controller.write("inventory/servers.catalog.yml", "plugin: encompass.images.catalog\n")
        self.make_providers()
        for name, text in TEMPLATES.items():
            self.controller.write(f"templates/{name}", text)
        self.controller.run("encompass.images.discover").require_success()
        self.add_master(**changes)

    def make_providers(self) -> None:
        """Run hypervisor."""
        self.controller.run("encompass.images.hypervisor").require_success()

    def add_master(self, **changes: t.Any) -> PlaybookRun:
        """Add the master, with some fields changed."""
        return self.controller.run(play_add_master({**MASTER, **changes})).require_success()

    def _variables(self) -> dict[str, t.Any]:
        network = {"name": "encompass", "mode": "open", "subnet": "{{ lab_guest_subnet }}"}
        return {
            "all": {
                "vars": {
                    "encompass_pools": [{"name": "default", "path": POOL}],
                    "encompass_networks": [network],
                    "encompass_virt_type": "qemu",
                    "encompass_install_packages": False,
                }
            }
        }

    def deploy(self, *deployments: dict[str, t.Any], check: bool = False) -> PlaybookRun:
        """Run deploy on some deployments."""
        arguments = ["--check", "--diff"] if check else []
        return self.controller.run(
            "encompass.images.deploy", *arguments, encompass_deployments=list(deployments), timeout_s=400
        )

    def retire(self, *names: str, check: bool = False, data: bool = False) -> PlaybookRun:
        """Run retire on some deployments."""
        arguments = ["--check", "--diff"] if check else []
        variables: dict[str, t.Any] = {"encompass_retire": list(names), "encompass_retire_data": data}
        return self.controller.run("encompass.images.retire", *arguments, **variables)

    def find(self, kind: str) -> dict[str, dict[str, t.Any]]:
        """Return the catalog's records of a kind, read past all our code."""
        with contextlib.closing(sqlite3.connect(f"file:{self.controller.catalog}?mode=ro", uri=True)) as store:
            rows = store.execute("select name, body from object where kind = ?", (kind,)).fetchall()
        return {name: json.loads(body) for name, body in rows}

    def find_all(self) -> list[tuple[str, str, int, str]]:
        """Return all records with their revisions, read past all our code."""
        with contextlib.closing(sqlite3.connect(f"file:{self.controller.catalog}?mode=ro", uri=True)) as store:
            return store.execute("select kind, name, revision, body from object order by kind, name").fetchall()

    def dump(self) -> list[str]:
        """Return the whole catalog as text."""
        with contextlib.closing(sqlite3.connect(f"file:{self.controller.catalog}?mode=ro", uri=True)) as store:
            return list(store.iterdump())

    def domains(self) -> dict[str, str]:
        """Return every domain's definition on all providers."""
        found = {}
        for name, host in self.providers.items():
            for domain in host.exec("virsh", "-q", "list", "--all", "--name").stdout.split():
                found[f"{name}/{domain}"] = host.exec("virsh", "-q", "dumpxml", domain).stdout
        return found

    def files(self) -> dict[str, list[str]]:
        """Return every file of the pools except the masters: path, inode and, but for disks, the time of change.

        Guests write to their disks whenever they like.
        """
        found = {}
        for name, host in self.providers.items():
            roots = (f"{POOL}/clones", f"{POOL}/.staging")
            listing = host.exec("find", *roots, "-mindepth", "1", "-printf", "%P %i %C@\\n").stdout
            found[name] = [
                line.rsplit(" ", 1)[0] if ".qcow2 " in line else line for line in sorted(listing.splitlines())
            ]
        return found

    def reservations(self) -> dict[str, str]:
        """Return every provider's network with its DHCP entries."""
        return {
            name: host.exec("virsh", "-q", "net-dumpxml", "encompass").stdout for name, host in self.providers.items()
        }

    def host_of(self, machine: str) -> LabHost:
        """Return the lab host that a machine is on."""
        return self.providers[self.find("machine")[machine]["provider"]]

    def address_of(self, machine: str) -> str:
        """Return a machine's address."""
        return str(self.find("machine")[machine]["nics"][0]["address"])

    def fetch(self, machine: str, path: str = "/") -> str:
        """Return a page of a server, asked for from here."""
        with urllib.request.urlopen(f"http://{self.address_of(machine)}{path}", timeout=10) as answer:
            return t.cast("bytes", answer.read()).decode()

    def identity(self, machine: str) -> dict[str, str]:
        """Return who a server is, as it sees itself."""
        return dict(line.split(": ", 1) for line in self.fetch(machine, "/cgi-bin/identity").splitlines())

    def data(self) -> set[str]:
        """Return the files of all data volumes, those of a pool that all providers reach once."""
        found = set()
        for name, host in self.providers.items():
            listing = host.exec("sh", "-c", f"ls -d {POOL}/data/*/* {SHARED}/data/*/* 2>/dev/null", check=False)
            found |= {path if path.startswith(SHARED) else f"{name}:{path}" for path in listing.stdout.split()}
        return found

    def orphans(self) -> list[str]:
        """Return what is on the providers and in no record, and the reverse."""
        machines, clones = self.find("machine"), self.find("clone")
        domains = {key.split("/")[1] for key in self.domains()}
        known = {name for name, clone in clones.items() if clone["stage"] != "planned"}
        there = set()
        for host in self.providers.values():
            there |= set(host.exec("ls", f"{POOL}/clones").stdout.split())
            there |= set(host.exec("ls", f"{POOL}/.staging").stdout.split())
        attached = {clone["machine"] for clone in clones.values() if clone["stage"] in ("attached", "active")}
        reserved = sum(text.count("<host mac=") for text in self.reservations().values())
        problems = [f"domain {name}" for name in domains ^ attached]
        problems += [f"clone {name}" for name in there ^ known]
        if reserved != len(machines):
            problems.append(f"{reserved} reservations for {len(machines)} machines")
        return problems


def make_web(name: str = "web", **changes: t.Any) -> dict[str, t.Any]:
    """Return a deployment of mini web servers."""
    ready = {"url": "http://{address}/", "timeout_s": 150}
    return {"name": name, "function": "web-server", "count": 2, "memory_mib": 96, "ready": ready, **changes}

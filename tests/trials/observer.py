# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a site that others work on, from outside: SQLite's file, virsh, the files of the pools. Changes nothing.

What is under way is left out: an object counts when no operation held it, and its revision was the same, before the
providers were looked at and afterwards.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import typing as t
from dataclasses import dataclass, field
from xml.etree import ElementTree

from tests.integration.site import POOL, SHARED, Site
from tests.lab.commands import LabError

EVERY_S = 2.0
DIGESTS_EVERY_S = 30.0

Record = tuple[int, t.Optional[str], dict[str, t.Any]]
"""Revision, the operation that marks the object, body."""


@dataclass(frozen=True)
class Look:
    """The catalog at one moment."""

    records: dict[tuple[str, str], Record]
    gaps: list[str]

    def settled(self, later: Look) -> dict[tuple[str, str], dict[str, t.Any]]:
        """Return the bodies of what nobody worked on from this look to a later one."""
        return {
            key: record[2]
            for key, record in self.records.items()
            if record[1] is None and later.records.get(key, (0, None, {}))[:2] == record[:2]
        }

    def select(self, kind: str) -> dict[str, Record]:
        """Return the records of one kind by name."""
        return {name: record for (known, name), record in self.records.items() if known == kind}


Digests = dict[str, dict[str, str]]
"""By provider and path, the digest of each master's file."""


@dataclass
class Observer:
    """Looks again and again from a thread, while it is entered."""

    site: Site
    findings: list[str] = field(default_factory=list)
    looks: int = 0
    digest_looks: int = 0
    digests_every_s: float = DIGESTS_EVERY_S

    def __post_init__(self) -> None:
        self._masters: tuple[dict[str, Record], Digests] | None = None

    def __enter__(self) -> Observer:
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self.look_at_masters()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        self._thread.join()
        self.look()
        self.look_at_masters()

    def _run(self) -> None:
        due = time.monotonic() + self.digests_every_s
        try:
            while not self._left.wait(EVERY_S):
                self.look()
                if time.monotonic() >= due:
                    self.look_at_masters()
                    due = time.monotonic() + self.digests_every_s
        except Exception as exc:  # else nobody would learn that nobody looks any more
            self._keep([f"the observer gave up: {exc!r}"])

    def look(self) -> None:
        """Look once, and keep what is wrong."""
        before = read_catalog(self.site)
        try:
            running = read_running(self.site)
        except LabError as exc:
            self._keep([f"a provider could not be looked at: {exc}"])
            return
        after = read_catalog(self.site)
        self._keep([*after.gaps, *find_shared_volumes(running), *find_mismatches(before, after, running)])
        self.looks += 1

    def look_at_masters(self) -> None:
        """Read the masters' files, unless somebody is at work on masters, and keep what is wrong."""
        masters = read_catalog(self.site).select("master")
        digests = read_digests(self.site)
        if read_catalog(self.site).select("master") != masters or any(
            mark for _revision, mark, _body in masters.values()
        ):
            return
        self._keep(find_spoiled_masters({name: body for name, (_revision, _mark, body) in masters.items()}, digests))
        if self._masters is not None and self._masters[0] == masters and self._masters[1] != digests:
            self._keep(["the masters are not what they were"])
        self._masters = (masters, digests)
        self.digest_looks += 1

    def _keep(self, found: t.Iterable[str]) -> None:
        self.findings += [problem for problem in found if problem not in self.findings]


def read_catalog(site: Site) -> Look:
    """Read all records and the gaps in their histories, in one transaction."""
    with contextlib.closing(sqlite3.connect(f"file:{site.controller.catalog}?mode=ro", uri=True, timeout=30)) as store:
        store.execute("begin")
        objects = store.execute("select kind, name, revision, operation, body from object").fetchall()
        history = store.execute("select kind, name, revision from history order by number").fetchall()
    records = {(kind, name): (revision, mark, json.loads(body)) for kind, name, revision, mark, body in objects}
    revisions: dict[tuple[str, str], list[int]] = {}
    for kind, name, revision in history:
        revisions.setdefault((kind, name), []).append(revision)
    gaps = [
        f"the history of {key[0]} {key[1]} has the revisions {numbers}"
        for key, numbers in revisions.items()
        if numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    ]
    gaps += [
        f"{key[0]} {key[1]} is at revision {record[0]}, its history ends with {revisions.get(key, [0])[-1]}"
        for key, record in records.items()
        if revisions.get(key, [0])[-1] != record[0]
    ]
    return Look(records, gaps)


def read_running(site: Site) -> dict[tuple[str, str], set[str]]:
    """Return the volumes of each domain that runs, by provider and name; one that waits for its memory does not."""
    found = {}
    for provider, host in site.providers.items():
        for name in host.exec("virsh", "-q", "list", "--state-running", "--name").stdout.split():
            shown = host.exec("virsh", "-q", "dumpxml", name, check=False)
            if shown.returncode == 0:  # else it has gone since
                disks = ElementTree.fromstring(shown.stdout).findall("devices/disk[@device='disk']/source")
                found[provider, name] = {_locate(provider, disk.get("file", "")) for disk in disks}
    return found


def _locate(provider: str, path: str) -> str:
    return path if path.startswith(SHARED) else f"{provider}:{path}"


def find_shared_volumes(running: t.Mapping[tuple[str, str], set[str]]) -> list[str]:
    """Find volumes that two running domains have."""
    users: dict[str, list[str]] = {}
    for (provider, name), volumes in running.items():
        for volume in volumes:
            users.setdefault(volume, []).append(f"{provider}/{name}")
    return [f"volume {volume} is in {' and '.join(names)}" for volume, names in users.items() if len(names) > 1]


def find_mismatches(before: Look, after: Look, running: t.Mapping[tuple[str, str], set[str]]) -> list[str]:
    """Find active clones that do not run where they should, and what runs though nothing says so."""
    settled = before.settled(after)
    machines = {name: body for (kind, name), body in settled.items() if kind == "machine"}
    problems = [*find_lost(before, after), *find_doubled(settled)]
    for name, machine in machines.items():
        clone = settled.get(("clone", machine["clone"]))
        if clone is not None:
            volumes = running.get((machine["provider"], name))
            problem = compare_machine(machine["clone"], clone, volumes) or compare_data(machine, settled, volumes)
            problems += [f"machine {name}: {problem}"] if problem else []
    for provider, name in running:
        if not any(("machine", name) in look.records for look in (before, after)):
            problems.append(f"domain {provider}/{name} runs, and no machine has its name")
        elif name in machines and machines[name]["provider"] != provider:
            problems.append(f"domain {provider}/{name} runs, and its machine is on {machines[name]['provider']}")
    return problems


def find_lost(before: Look, after: Look) -> list[str]:
    """Find active clones without their machine, and machines without their clone or a data volume."""
    settled = before.settled(after)
    known = {*before.records, *after.records}
    problems = []
    for (kind, name), body in settled.items():
        if kind == "clone" and body["stage"] == "active":
            machine = settled.get(("machine", body["machine"]))
            if ("machine", body["machine"]) not in known:
                problems.append(f"clone {name} is active, and there is no machine {body['machine']}")
            elif machine is not None and machine["clone"] != name:
                problems.append(f"clone {name} is active, and machine {body['machine']} serves {machine['clone']}")
        elif kind == "machine":
            wanted = [("clone", body["clone"]), *(("volume", volume) for volume in list_data(body))]
            problems += [f"machine {name}: there is no {' '.join(key)}" for key in wanted if key not in known]
    return problems


def find_doubled(settled: t.Mapping[tuple[str, str], t.Mapping[str, t.Any]]) -> list[str]:
    """Find clones and data volumes that are on record as two machines', and files that are as two volumes'."""
    holders: dict[str, list[str]] = {}
    for (kind, name), body in settled.items():
        if kind == "machine":
            held = [f"clone {body['clone']}", *(f"volume {volume}" for volume in list_data(body))]
        elif kind == "clone":
            held = [f"file {_locate(body['provider'], volume['path'])}" for volume in body["volumes"]]
        elif kind == "volume":
            held = [f"file {_locate(body['provider'], body['path'])}"]
        else:
            continue
        for thing in held:
            holders.setdefault(thing, []).append(f"{kind} {name}")
    return [f"{thing} is on record for {' and '.join(names)}" for thing, names in holders.items() if len(names) > 1]


def list_data(machine: t.Mapping[str, t.Any]) -> list[str]:
    """Return the names of a machine's data volumes in the catalog."""
    return [f"{machine['server']}.{volume}" for volume in machine.get("data") or ()]


def compare_machine(clone_name: str, clone: t.Mapping[str, t.Any], volumes: set[str] | None) -> str:
    """Return what is wrong between a machine's clone and the volumes that it runs with, None when it does not run."""
    if clone["stage"] == "active" and volumes is None:
        return f"its clone {clone_name} is active, and it does not run"
    if clone["stage"] != "active" and volumes is not None:
        return f"it runs, and its clone {clone_name} is {clone['stage']}"
    if volumes is not None and not any(f"/clones/{clone_name}/" in volume for volume in volumes):
        return f"it runs with {sorted(volumes)}, not with its clone {clone_name}"
    return ""


def compare_data(
    machine: t.Mapping[str, t.Any],
    settled: t.Mapping[tuple[str, str], t.Mapping[str, t.Any]],
    volumes: set[str] | None,
) -> str:
    """Return what is wrong between a machine's data volumes and those that it runs with, None when it does not run."""
    records = [settled.get(("volume", name)) for name in list_data(machine)]
    if volumes is None or None in records:
        return ""
    wanted = {_locate(record["provider"], record["path"]) for record in records if record is not None}
    found = {volume for volume in volumes if "/data/" in volume}
    return "" if found == wanted else f"it runs with the data {sorted(found)}, not with {sorted(wanted)}"


def read_digests(site: Site) -> Digests:
    """Return the digest of each master's volumes on each provider."""
    command = f"sha256sum {POOL}/masters/*.qcow2 {SHARED}/masters/*.qcow2 2>/dev/null"
    told = {name: host.exec("sh", "-c", command, check=False).stdout for name, host in site.providers.items()}
    return {name: {line.split()[1]: line.split()[0] for line in text.splitlines()} for name, text in told.items()}


def find_spoiled_masters(masters: t.Mapping[str, t.Mapping[str, t.Any]], digests: Digests) -> list[str]:
    """Find masters whose files do not hold what they were registered with."""
    problems = []
    for name, master in masters.items():
        registered = {volume["name"]: volume["digest"] for volume in master["volumes"]}
        for replica in master["replicas"]:
            for volume, body in replica["volumes"].items():
                held = digests.get(replica["provider"], {}).get(body["path"], "nothing")
                if held != registered[volume]:
                    problems.append(f"master {name}: {replica['provider']}:{body['path']} holds {held}")
    return problems

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
import typing as t
from dataclasses import dataclass, field
from xml.etree import ElementTree

from tests.integration.site import POOL, Site
from tests.lab.commands import LabError

EVERY_S = 2.0
SHARED_POOL = "/srv/shared/pool"

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


@dataclass
class Observer:
    """Looks again and again from a thread, while it is entered."""

    site: Site
    findings: list[str] = field(default_factory=list)
    looks: int = 0

    def __enter__(self) -> Observer:
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._digests = read_digests(self.site)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        self._thread.join()
        self.look()
        if read_digests(self.site) != self._digests:
            self.findings.append("the masters are not what they were")

    def _run(self) -> None:
        while not self._left.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Look once, and keep what is wrong."""
        before = read_catalog(self.site)
        try:
            running = read_running(self.site)
        except LabError as exc:
            self.findings.append(f"a provider could not be looked at: {exc}")
            return
        after = read_catalog(self.site)
        found = [*after.gaps, *find_shared_volumes(running), *find_mismatches(before, after, running)]
        self.findings += [problem for problem in found if problem not in self.findings]
        self.looks += 1


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
    return path if path.startswith(SHARED_POOL) else f"{provider}:{path}"


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
    problems = []
    for name, machine in machines.items():
        clone = settled.get(("clone", machine["clone"]))
        if clone is not None:
            problem = compare_machine(machine["clone"], clone, running.get((machine["provider"], name)))
            problems += [f"machine {name}: {problem}"] if problem else []
    for provider, name in running:
        if not any(("machine", name) in look.records for look in (before, after)):
            problems.append(f"domain {provider}/{name} runs, and no machine has its name")
        elif name in machines and machines[name]["provider"] != provider:
            problems.append(f"domain {provider}/{name} runs, and its machine is on {machines[name]['provider']}")
    return problems


def compare_machine(clone_name: str, clone: t.Mapping[str, t.Any], volumes: set[str] | None) -> str:
    """Return what is wrong between a machine's clone and the volumes that it runs with, None when it does not run."""
    if clone["stage"] == "active" and volumes is None:
        return f"its clone {clone_name} is active, and it does not run"
    if clone["stage"] != "active" and volumes is not None:
        return f"it runs, and its clone {clone_name} is {clone['stage']}"
    if volumes is not None and not any(f"/clones/{clone_name}/" in volume for volume in volumes):
        return f"it runs with {sorted(volumes)}, not with its clone {clone_name}"
    return ""


def read_digests(site: Site) -> dict[str, str]:
    """Return the digest of each master's volumes on each provider."""
    command = f"sha256sum {POOL}/masters/*.qcow2 {SHARED_POOL}/masters/*.qcow2 2>/dev/null"
    return {name: host.exec("sh", "-c", command, check=False).stdout for name, host in site.providers.items()}

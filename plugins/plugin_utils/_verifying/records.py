# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify looks for in the catalog alone, and in what providers lack. Pure; private to this collection."""

from __future__ import annotations

import collections
import typing as t

from ...module_utils._core.data_volumes import join_name
from .._planning.versions import USABLE, select_function
from .findings import Body, Finding
from .scene import Scene


def check_links(scene: Scene) -> t.Iterator[Finding]:
    """Find records that name objects which are not there."""
    masters, machines = scene.records["master"], scene.records["machine"]
    for name, clone in scene.rows("clone"):
        subject = f"clone {name}"
        if clone["master"] not in masters:
            yield Finding("clone_without_master", subject, f"there is no master {clone['master']}")
        if clone["machine"] and clone["machine"] not in machines:
            yield Finding("clone_without_machine", subject, f"there is no machine {clone['machine']}")
        if clone["provider"] not in scene.records["provider"]:
            yield Finding("provider_unknown", subject, f"there is no provider {clone['provider']}")
    for name, machine in scene.rows("machine"):
        yield from _check_machine(scene, name, machine)


def _check_machine(scene: Scene, name: str, machine: Body) -> t.Iterator[Finding]:
    subject, clone = f"machine {name}", scene.records["clone"].get(machine["clone"])
    if clone is None:
        yield Finding("machine_without_clone", subject, f"there is no clone {machine['clone']}")
    elif clone["machine"] != name:
        yield Finding("machine_of_other_clone", subject, f"clone {machine['clone']} is for machine {clone['machine']}")
    if machine["deployment"] not in scene.records["deployment"]:
        yield Finding("machine_without_deployment", subject, f"there is no deployment {machine['deployment']}")
    if machine.get("moving_to"):
        problem = f"it is on its way from {machine['provider']} to {machine['moving_to']}, and nobody is at work on it"
        yield Finding("machine_midway", subject, problem)
    for volume in machine.get("data") or ():
        if join_name(machine["server"], volume) not in scene.records["volume"]:
            yield Finding("data_unknown", subject, f"there is no record of its data volume {volume}")


def check_deployments(scene: Scene) -> t.Iterator[Finding]:
    """Find deployments with fewer or more servers than they should have."""
    machines: dict[str, set[str]] = {}
    for body in scene.records["machine"].values():
        machines.setdefault(body["deployment"], set()).add(body["server"])
    for name, deployment in scene.rows("deployment"):
        wanted, there = set(deployment.get("members") or ()), machines.get(name, set())
        for server in sorted(wanted - there):
            yield Finding("deployment_short", f"deployment {name}", f"server {server} is not there")
        for server in sorted(there - wanted):
            yield Finding("machine_surplus", f"deployment {name}", f"server {server} is not wanted")


def check_functions(scene: Scene) -> t.Iterator[Finding]:
    """Find functions whose current version cannot be cloned."""
    for name, function in scene.rows("function"):
        current = function.get("current")
        usable = [
            body["version"]
            for body in select_function(name, scene.records["master"]).values()
            if body["state"] in USABLE
        ]
        if current is not None and current not in usable:
            yield Finding("function_without_master", f"function {name}", f"its current version {current} is not there")


def check_unique(scene: Scene) -> t.Iterator[Finding]:
    """Find what two objects have that only one may have."""
    machines, clones = scene.records["machine"], scene.records["clone"]
    cards = [(name, nic) for name, body in machines.items() for nic in body["nics"]]
    claims: tuple[tuple[str, t.Iterable[tuple[str, str]]], ...] = (
        ("uuid_doubled", ((f"UUID {body['uuid']}", f"machine {name}") for name, body in machines.items())),
        ("mac_doubled", ((f"MAC {nic['mac'].lower()}", f"machine {name}") for name, nic in cards)),
        ("address_doubled", ((f"address {nic['address']}", f"machine {name}") for name, nic in cards)),
        (
            "machine_id_doubled",
            ((f"machine-id {body['machine_id']}", f"clone {name}") for name, body in clones.items()),
        ),
        (
            "path_doubled",
            ((f"file {place[1]}", " ".join(key)) for place, keys in scene.owners.items() for key in keys),
        ),
    )
    for kind, pairs in claims:
        holders: dict[str, list[str]] = collections.defaultdict(list)
        for value, holder in pairs:
            holders[value].append(holder)
        for value, names in sorted(holders.items()):
            if len(names) > 1:
                yield Finding(kind, value, f"it belongs to {' and '.join(sorted(names))}")


def check_providers(scene: Scene) -> t.Iterator[Finding]:
    """Find what providers need and have not."""
    for name, seen in sorted(scene.seen.items()):
        if seen["provider"].get("lock_manager") != "lockd":
            problem = "libvirt has no lock manager there: nothing but the catalog keeps two guests off one disk"
            yield Finding("provider_unlocked", f"provider {name}", problem, name)
        for pool in seen["pools"]:
            if not pool["usable"]:
                yield Finding("pool_unusable", f"pool {pool['name']}", str(pool["problem"]), name)


def check_failures(scene: Scene) -> t.Iterator[Finding]:
    """Find what failed and was not repeated, and operations that nobody leads any more."""
    for kind in ("clone", "volume", "master"):
        for name, body in scene.rows(kind):
            error = body.get("last_error")
            if error:
                yield Finding("failed", f"{kind} {name}", str(error.get("msg") or error.get("problem") or error))
    for operation in scene.stale:
        yield Finding("operation_stale", f"operation {operation}", "its lease is over, and it has not ended")

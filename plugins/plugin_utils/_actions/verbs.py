# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of the life cycle. Pure but for reads of the catalog. Private to this collection."""

from __future__ import annotations

import hashlib
import typing as t

from ...module_utils._core.errors import InvalidRequest
from ...module_utils._core.lifecycle import settle_event
from .._catalog.objects import Body, Key
from .._catalog.store import Reading
from .._planning.masters import complete_inputs, digest_items, split_secrets
from .._planning.records import describe_server
from .._planning.rendering import render_items
from .data_disks import list_data_disks
from .verb import Request, Subject, Verb, find_replica, require_pool


class Clone(Verb):
    """Make a clone's volumes."""

    event, module, option, state, on_machines = "clone", "clone", "clones", "present", False

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clone = subject.clone
        pool = require_pool(reading, clone["provider"], clone["pool"])
        master = reading.require("master", clone["master"]).body
        if master["state"] not in ("available", "deprecated", "unproven"):
            raise InvalidRequest(f"master {clone['master']}", f"it cannot be cloned: it is {master['state']}")
        replica = find_replica(clone["master"], master, clone["provider"], pool)
        return {
            "name": subject.clone_name,
            "master": clone["master"],
            "pool": clone["pool"],
            "method": clone["method"],
            "directory": f"{pool['path']}/clones/{subject.clone_name}",
            "pool_path": pool["path"],
            "reflink": pool["reflink"],
            "volumes": [
                {
                    "name": volume["name"],
                    "format": "qcow2",
                    "virtual_bytes": volume["virtual_bytes"],
                    "allocated_bytes": volume["allocated_bytes"],
                    "base": {**replica[volume["name"]], "format": volume["format"], "digest": volume["digest"]},
                }
                for volume in master["volumes"]
            ],
        }

    def select(self, record: Body) -> Body:
        """Return what of the module's report belongs into the clone's record."""
        return {key: record[key] for key in ("directory", "method", "reason", "volumes")}


class Delete(Verb):
    """Remove a clone's volumes and the clone."""

    event, module, option, state, on_machines = "delete", "clone", "clones", "absent", False
    plans_from_stage = True

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clone = subject.clone
        pool = require_pool(reading, clone["provider"], clone["pool"])
        return {
            "name": subject.clone_name,
            "master": clone["master"],
            "pool": clone["pool"],
            "directory": f"{pool['path']}/clones/{subject.clone_name}",
            "pool_path": pool["path"],
        }

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return what happens to the clone; one that its machine does not serve is unassigned on the way."""
        return ("unassign", self.event) if subject.is_spare and subject.clone["stage"] == "assigned" else (self.event,)


class Assign(Verb):
    """Reserve a machine's addresses for its clone."""

    event, module, option, state = "assign", "assign", "machines", "assigned"

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        machine = subject.machine
        return {
            "name": subject.machine_name,
            "clone": subject.clone_name,
            "nics": [{**nic, "hostname": machine["server"]} for nic in machine["nics"]],
        }


class Unassign(Assign):
    """Give up a machine and its addresses."""

    event, state = "unassign", "unassigned"
    fixed_options: t.Mapping[str, t.Any] = {"release": True}

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return all other clones of the machine: they are nobody's, too."""
        rows = reading.find("clone", machine=subject.machine_name)
        return {row.name: row.body for row in rows if row.name != subject.clone_name}

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb: the machine is gone, its clones are nobody's."""
        clones = {subject.clone_name: subject.clone, **subject.partners}
        bodies: dict[Key, Body | None] = {
            ("clone", name): settle_event(name, {**body, "machine": None}, self.event) for name, body in clones.items()
        }
        return {**bodies, ("machine", subject.machine_name): None}


class Customize(Verb):
    """Make a clone a server of its own, offline."""

    event, module, option, state, on_machines = "customize", "customize", "clones", "present", False

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog and the task's inputs."""
        clone, machine = subject.clone, subject.machine
        if not machine:
            raise InvalidRequest(f"clone {subject.clone_name}", "it has no machine", remedy="Assign it first.")
        master = reading.require("master", clone["master"]).body
        inputs = self._inputs(subject, master, request)
        server = describe_server(subject.machine_name, machine, master)
        items, seed = render_items(master, inputs, server)
        digests = digest_items(master, inputs, server)
        plain, given = split_secrets(master, inputs)
        return {
            "name": subject.clone_name,
            "directory": clone["directory"],
            "volumes": [{key: volume[key] for key in ("name", "path", "format")} for volume in clone["volumes"]],
            "layout": master["layout"],
            "hostname": machine["server"],
            "machine_id": clone["machine_id"],
            "items": [{**item, "digest": digest["digest"]} for item, digest in zip(items, digests)],
            "seed": seed,
            "inputs": plain,
            "secrets_given": given,
        }

    def _inputs(self, subject: Subject, master: Body, request: Request) -> dict[str, t.Any]:
        # A machine that was reassigned has inputs of its own.
        deployment = str(subject.machine.get("deployment"))
        given = request.inputs.get(subject.machine_name, request.inputs.get(deployment, {}))
        return complete_inputs(f"clone {subject.clone_name}", master, given)

    def select(self, record: Body) -> Body:
        """Return what of the module's report belongs into the clone's record."""
        return {key: record[key] for key in ("customization", "identity", "seed")}


class Restore(Customize):
    """Take all customization back, the identity included."""

    event, state = "restore", "absent"

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clone = subject.clone
        return {
            "name": subject.clone_name,
            "directory": clone["directory"],
            "volumes": [{key: volume[key] for key in ("name", "path", "format")} for volume in clone["volumes"]],
            "layout": reading.require("master", clone["master"]).body["layout"],
        }

    def select(self, record: Body) -> Body:
        """Return what belongs into the record of a clone that is as its master made it."""
        return {"customization": None, "identity": None, "seed": None}


class Attach(Verb):
    """Define the machine with the clone's volumes."""

    event, module, option, state = "attach", "attach", "machines", "attached"
    plans_from_stage = True

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clone, machine = subject.clone, subject.machine
        hardware = reading.require("master", clone["master"]).body["hardware"]
        sizes = ("uuid", "arch", "cpus", "memory_mib", "virt_type", "nics", "server")
        return {
            "name": subject.machine_name,
            "clone": subject.clone_name,
            **{key: machine[key] for key in sizes},
            "firmware": hardware["firmware"],
            "disks": [
                *(describe_disk(subject.clone_name, volume, hardware["disk_bus"]) for volume in clone["volumes"]),
                *(list_data_disks(reading, machine) if self.state == "attached" else ()),
            ],
            "seed": clone["seed"],
            "catalog": request.catalog_uuid,
        }

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the clone that the machine serves until now, if that is another one: it goes on standby."""
        served = subject.machine["clone"]
        return {} if served == subject.clone_name else {served: reading.require("clone", served).body}

    def check(self, subject: Subject) -> None:
        """Raise :class:`TransitionRefused` also when the clone that goes on standby cannot."""
        super().check(subject)
        self._put_on_standby(subject)

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb: the machine serves this clone, what it served before is on standby."""
        bodies = {**super().absorb(subject, record), **self._put_on_standby(subject)}
        if subject.partners:
            bodies[("machine", subject.machine_name)] = {**subject.machine, "clone": subject.clone_name}
        return bodies

    def _advance(self, subject: Subject, changes: t.Mapping[str, t.Any] | None = None) -> Body | None:
        """Return the clone's record, which also tells how many clones the machine has served with this one."""
        turns = [body.get("turn") or 0 for body in subject.partners.values()]
        turn = max(turns) + 1 if turns else subject.clone.get("turn") or 1
        return super()._advance(subject, {**(changes or {}), "turn": turn})

    def _put_on_standby(self, subject: Subject) -> dict[Key, Body | None]:
        return {("clone", name): settle_event(name, body, "detach") for name, body in subject.partners.items()}


class Detach(Attach):
    """Undefine the machine; its addresses stay its own."""

    event, state = "detach", "detached"

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return nothing: only one clone is attached."""
        return {}


class Activate(Verb):
    """Start the machine, and have the server answer."""

    event, module, option, state = "activate", "activate", "machines", "active"
    plans_from_stage = True

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        machine = subject.machine
        return {
            "name": subject.machine_name,
            "uuid": machine["uuid"],
            "address": machine["nics"][0]["address"] if machine["nics"] else None,
            "ready": subject.clone.get("ready") or machine.get("ready"),
            "stop_timeout_s": machine.get("stop_timeout_s", 60),
        }

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb; the machine's tells how the server answered when it was started."""
        answered = record.get("answered")
        if answered and not answered["after_s"]:
            answered = subject.machine.get("answered")  # it ran already
        machine = {**subject.machine, "answered": answered}
        return {**super().absorb(subject, record), ("machine", subject.machine_name): machine}


class Deactivate(Activate):
    """Stop the machine."""

    event, state = "deactivate", "inactive"


def describe_disk(clone_name: str, volume: Body, bus: str) -> Body:
    """Return a clone's volume as a machine's disk; the serial follows from the names, so that it stays."""
    backing = volume.get("backing")
    serial = hashlib.sha256(f"{clone_name}/{volume['name']}".encode()).hexdigest()[:20]
    return {
        "path": volume["path"],
        "format": volume["format"],
        "bus": bus,
        "serial": serial,
        "backing": [{key: backing[key] for key in ("path", "format")}] if backing else [],
    }


VERBS: t.Mapping[tuple[str, str], Verb] = {
    (verb.module, verb.state): verb
    for verb in (
        Clone(),
        Delete(),
        Assign(),
        Unassign(),
        Customize(),
        Restore(),
        Attach(),
        Detach(),
        Activate(),
        Deactivate(),
    )
}

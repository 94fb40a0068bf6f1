# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs by which a machine goes to another provider, with its clones and data. Private to this collection.

Its record says where it is (``provider``), where it is going (``moving_to``), and on which other providers something of
it may be (``also_on``). The last is written before anything is made there, and taken back when nothing is left.
"""

from __future__ import annotations

import typing as t

from ...module_utils._core.errors import InvalidRequest, TransitionRefused
from ...module_utils._core.lifecycle import settle_event
from .._catalog.objects import Body, Key
from .._catalog.store import Reading
from .._planning.whereabouts import move_clone, move_machine, move_volume
from .verb import Request, Subject, Verb, require_pool


class Move(Verb):
    """What the steps of a migration have in common."""

    module, option = "migrate", "machines"
    plans_from_stage = True

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the clones on standby that go along as records, since both providers reach their volumes."""
        rows = reading.find("clone", machine=subject.machine_name)
        others = {row.name: row.body for row in rows if row.name != subject.clone_name}
        to = require_target(subject)
        return {name: body for name, body in others.items() if is_in_shared_pool(reading, body, to)}

    def find_data(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the server's data volumes, used and unused."""
        rows = reading.find("volume", server=subject.machine["server"])
        return {row.name: row.body for row in rows if row.body["provider"] == subject.machine["provider"]}

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return nothing: sending changes no state."""
        return ()

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        to = require_target(subject)
        clones = {subject.clone_name: subject.clone, **subject.partners}
        return {
            "name": subject.machine_name,
            "uuid": subject.machine["uuid"],
            "to": to,
            "live": subject.clone["stage"] == "active",
            "clones": [
                {
                    "name": name,
                    "pool_path": require_pool(reading, clone["provider"], clone["pool"])["path"],
                    "target_pool_path": require_pool(reading, to, clone["pool"])["path"],
                    "shared": is_in_shared_pool(reading, clone, to),
                    "served": name == subject.clone_name,
                    "volumes": [describe_volume(volume) for volume in clone["volumes"]],
                }
                for name, clone in clones.items()
            ],
            "data": [
                {
                    "name": subject.machine["server"],
                    "pool_path": require_pool(reading, subject.machine["provider"], pool)["path"],
                    "target_pool_path": require_pool(reading, to, pool)["path"],
                    "volumes": [describe_data(body) for body in list_used_data(subject, pool)],
                }
                for pool in sorted({body["pool"] for body in subject.data.values() if not body["pool_shared"]})
            ],
        }

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb, of which only an earlier error is gone."""
        return {("clone", subject.clone_name): {**subject.clone, "last_error": None}}

    def absorb_move(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records of a machine and its clones that are at the target from now on."""
        clones = {subject.clone_name: subject.clone, **subject.partners}
        bodies: dict[Key, Body | None] = {
            ("clone", entry["name"]): move_clone(
                clones[entry["name"]], record["to"], entry["pool_path"], entry["target_pool_path"]
            )
            for entry in record["clones"]
        }
        for name, body in subject.data.items():
            bodies[("volume", name)] = move_volume(body, record["to"], list_pool_moves(record["data"]))
        served = t.cast(Body, bodies[("clone", subject.clone_name)])
        for event in self.events_of(subject):
            served = t.cast(Body, settle_event(subject.clone_name, served, event))
        bodies[("clone", subject.clone_name)] = served
        return {**bodies, ("machine", subject.machine_name): move_machine(subject.machine, record["to"])}


class Send(Move):
    """Carry the files of a machine's clone to the target."""

    event, state = "send", "sent"


class Receive(Move):
    """Publish what arrived; a machine that is off is at the target then."""

    event, state = "receive", "received"

    def check_place(self, subject: Subject) -> None:
        """Refuse a machine that is not on its way here."""
        if require_target(subject) != subject.host:
            raise InvalidRequest(f"machine {subject.machine_name}", f"it does not move to {subject.host}")

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return what happens to the clone: nothing while it runs elsewhere."""
        return () if subject.clone["stage"] == "active" else ("move",)

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb."""
        return self.absorb_move(subject, record) if self.events_of(subject) else super().absorb(subject, record)


class Migrate(Move):
    """Move a machine to the target while it runs."""

    event, state = "migrate", "migrated"

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return what happens to the clone."""
        return (self.event,)

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb."""
        return self.absorb_move(subject, record)


class Vacate(Verb):
    """Remove what a machine that lives elsewhere left on a provider."""

    event, module, option, state = "vacate", "migrate", "machines", "vacated"
    plans_from_stage = True

    def check_place(self, subject: Subject) -> None:
        """Refuse the provider that the machine is on, and one that it was never on."""
        machine = subject.machine
        if subject.host == machine["provider"] or subject.host not in (machine.get("also_on") or ()):
            raise InvalidRequest(f"machine {subject.machine_name}", f"it has left nothing on {subject.host}")

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the machine's clones that did not go along."""
        rows = reading.find("clone", machine=subject.machine_name)
        return {row.name: row.body for row in rows if row.body["provider"] == subject.host}

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return nothing: the clone that is served is elsewhere."""
        return ()

    def check(self, subject: Subject) -> None:
        """Refuse to remove what may be the only copy: the machine must have proved that it runs where it is."""
        if subject.clone["stage"] != "active":
            raise TransitionRefused(
                f"machine {subject.machine_name}",
                f"it is not active on {subject.machine['provider']} yet, so what it left on {subject.host} stays",
                remedy="Run encompass.images.deploy.",
            )

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clones = {subject.clone_name: subject.clone, **subject.partners}
        kept = {name for name, clone in clones.items() if is_in_shared_pool(reading, clone, subject.host)}
        pools = {name: require_pool(reading, subject.host, clones[name]["pool"]) for name in set(clones) - kept}
        paths = list_left_data(reading, subject)
        return {
            "name": subject.machine_name,
            "uuid": subject.machine["uuid"],
            "nics": [{**nic, "hostname": subject.machine["server"]} for nic in subject.machine["nics"]],
            "clones": [
                {"name": name, "pool_path": pool["path"], "target_pool_path": pool["path"]}
                for name, pool in sorted(pools.items())
            ],
            "data": [
                {"name": subject.machine["server"], "pool_path": path, "target_pool_path": path} for path in paths
            ],
        }

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb: clones that stayed behind are gone."""
        also_on = [name for name in subject.machine["also_on"] if name != subject.host]
        clones: dict[Key, Body | None] = {("clone", name): None for name in subject.partners}
        clones[("clone", subject.clone_name)] = {**subject.clone, "last_error": None}
        return {**clones, ("machine", subject.machine_name): {**subject.machine, "also_on": also_on}}


class Abandon(Vacate):
    """Remove what a machine left, when the machine itself is about to be taken away."""

    event, state = "abandon", "abandoned"

    def check(self, subject: Subject) -> None:
        """Let nothing be kept."""


def require_target(subject: Subject) -> str:
    """Return the provider that a machine is on its way to."""
    to = subject.machine.get("moving_to")
    if not to:
        raise InvalidRequest(
            f"machine {subject.machine_name}", "it is not on its way anywhere", remedy="Run encompass.images.migrate."
        )
    return str(to)


def is_in_shared_pool(reading: Reading, clone: Body, provider: str) -> bool:
    """Tell whether another provider reaches the very pool that a clone is in."""
    pool = reading.get("pool", clone["pool"])
    return pool is not None and pool.body["shared"] and {clone["provider"], provider} <= set(pool.body["providers"])


def list_left_data(reading: Reading, subject: Subject) -> list[str]:
    """Return the paths of the subject's provider's own pools that may hold data which went on with its server."""
    volumes = [row.body for row in reading.find("volume", server=subject.machine["server"])]
    here = {body["pool"] for body in volumes if body["provider"] == subject.host}
    names = {body["pool"] for body in volumes if not body["pool_shared"]} - here
    pools = (reading.get("pool", f"{subject.host}:{name}") for name in sorted(names))
    return [pool.body["path"] for pool in pools if pool is not None]


def list_used_data(subject: Subject, pool: str) -> list[Body]:
    """Return the data volumes in a pool that are disks of the machine; the others go along as files."""
    used = subject.machine.get("data") or ()
    return [
        body
        for body in subject.data.values()
        if body["pool"] == pool and body["volume"] in used and body["stage"] == "available"
    ]


def list_pool_moves(told: t.Sequence[Body]) -> dict[str, str]:
    """Return {pool's path here: pool's path there} of what a module tells."""
    return {entry["pool_path"]: entry["target_pool_path"] for entry in told}


def describe_data(body: Body) -> Body:
    """Return what a migration has to know of a data volume."""
    return {"name": body["volume"], **{key: body[key] for key in ("path", "format", "virtual_bytes")}, "backing": None}


def describe_volume(volume: Body) -> Body:
    """Return what a migration has to know of a volume."""
    backing = volume.get("backing")
    return {
        **{key: volume[key] for key in ("name", "path", "format", "virtual_bytes")},
        "backing": {key: backing[key] for key in ("path", "format")} if backing else None,
    }


MIGRATION_VERBS: t.Mapping[tuple[str, str], Verb] = {
    (verb.module, verb.state): verb for verb in (Send(), Receive(), Migrate(), Vacate(), Abandon())
}

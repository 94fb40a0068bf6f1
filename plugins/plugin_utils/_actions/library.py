# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of masters and functions inside one transaction, kept in agreement. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest, NotFound
from ...module_utils._core.sources import show_source
from .._catalog.objects import Body, Owner
from .._catalog.store import Writing
from .._planning.masters import describe_replica, describe_volumes, list_contents, master_name
from .._planning.versions import (
    UNPROVEN,
    USABLE,
    Records,
    Verdict,
    choose_current,
    choose_number,
    describe_changes,
    describe_use,
    find_current,
    find_same,
    list_followers,
    list_images,
    name_some,
    plan_retention,
    select_function,
    wish_hardware,
)
from .verb import require_pool

# What only a look at the image itself can tell.
_FOUND = ("hardware", "software", "layout", "source")


def find_replica(body: Body, provider: str, pool: Body) -> Body | None:
    """Return the copy of a master that a provider has in a pool, its own or a shared one."""
    for replica in body["replicas"]:
        if replica["pool"] == pool["pool"] and (pool["shared"] or replica["provider"] == provider):
            return t.cast(Body, replica)
    return None


@dataclasses.dataclass(frozen=True)
class Departure:
    """A master's copy that is about to be deleted from a pool, and the state that the master had."""

    name: str
    pool: Body
    item: Body
    state: str
    was_current: bool


class Library:
    """The masters as they are and as this transaction makes them; every change is kept for the task's diff."""

    def __init__(self, tx: Writing, provider: str, owner: Owner) -> None:
        self._tx = tx
        self._provider = provider
        self._owner = owner
        self.masters: dict[str, Body] = {row.name: row.body for row in tx.find("master")}
        self.functions: dict[str, Body] = {row.name: row.body for row in tx.find("function")}
        self._deployments: dict[str, Body] = {row.name: row.body for row in tx.find("deployment")}
        self.diff: list[Body] = []

    # Records

    def require(self, name: str) -> Body:
        """Return a master's record; the error names the versions that there are."""
        if name in self.masters:
            return self.masters[name]
        raise NotFound(f"master {name}", "does not exist", remedy=f"The library has {self._name_all()}.")

    def _name_all(self) -> str:
        return name_some(sorted(self.masters)) or "no masters"

    def pool(self, name: str) -> Body:
        """Return the record of one of the provider's pools."""
        return require_pool(self._tx, self._provider, name)

    def find_current(self, function: str) -> int | None:
        """Return a function's current version."""
        return find_current(function, self.masters, self.functions)

    def find_use(self, name: str) -> str:
        """Return who needs a master, as a clause; empty when nobody does."""
        clones = [row.name for row in self._tx.find("clone", master=name)]
        return describe_use(self.masters[name], clones, self._deployments)

    def put(self, name: str, body: Body, verb: str) -> None:
        """Write a master's record."""
        self._write("master", name, body, verb)
        self.masters[name] = body

    def _write(self, kind: str, name: str, body: Body | None, verb: str) -> None:
        row = self._tx.get(kind, name)
        before = row.body if row else None
        if before == body:
            return
        if body is None:
            self._tx.delete(kind, name, verb=verb, owner=self._owner)
        else:
            self._tx.put(kind, name, body, verb=verb, owner=self._owner)
        header = f"{kind} {name}"
        shown = {"before": before or "", "after": body or ""}
        self.diff.append({"before_header": header, "after_header": header, **shown})

    def settle_current(self, function: str, *wishes: int | None, verb: str) -> int | None:
        """Write down which version is current: the first of the wishes that is available, else the newest that is."""
        numbers = [body["version"] for body in select_function(function, self.masters).values()]
        last = max([self.functions.get(function, {}).get("last") or 0, *numbers])
        current = choose_current(function, self.masters, *wishes)
        body = {"current": current, "last": last}
        if last:
            self._write("function", function, body, verb)
            self.functions[function] = body
        return current

    def settle_loss(self, function: str, *wishes: int | None, verb: str) -> None:
        """Settle which version is current after one went; refused when none is left for those who follow it.

        The last of the wishes is what was current before.
        """
        followers = [f"deployment {name}" for name in list_followers(function, self._deployments)]
        if self.settle_current(function, *wishes, verb=verb) is None and wishes[-1] is not None and followers:
            raise InvalidRequest(
                f"function {function}",
                f"no version would be left for {name_some(followers)} to follow",
                remedy="Add a version first, give them a version of their own, or retire them.",
            )

    # Telling

    @property
    def records(self) -> tuple[dict[str, Body], dict[str, Body]]:
        """The masters and the functions as they are now."""
        return dict(self.masters), dict(self.functions)

    def describe(self, name: str) -> Body:
        """Return what the catalog alone knows of a master."""
        body = self.require(name)
        return {
            "function": body["function"],
            "version": body["version"],
            "state": body["state"],
            "current": body["version"] == self.find_current(body["function"]),
            "delete_when_unused": bool(body.get("delete_when_unused")),
        }

    def report(self, name: str, before: Records) -> Body:
        """Return what became of a master in the catalog, as one item of a task's result."""
        steps = describe_changes(name, before, self.records)
        return {"name": name, "changed": bool(steps), "failed": False, "steps": steps, "record": self.describe(name)}

    def complete_answer(self, answer: Body, before: Records) -> None:
        """Add to a module's answer what became of the master in the catalog; leave out what is too long for it."""
        told = self.report(answer["name"], before)
        record = {key: value for key, value in answer["record"].items() if key != "packages"}
        answer.update(
            changed=answer["changed"] or told["changed"],
            steps=[*answer["steps"], *told["steps"]],
            record={**record, **told["record"]},
        )

    # Adding

    def number(self, entry: Body, digests: t.Sequence[str | None]) -> int:
        """Return the version of an entry that names none: the one that is these very images, else the next."""
        subject, sources = f"master of {entry['function']}", [image["source"] for image in list_images(entry)]
        if not all(sources):
            raise InvalidRequest(subject, "it has neither a version nor a source", remedy="Give one of them.")
        same = find_same(entry, digests, self.masters)
        if same is None and None in digests:
            lost = sources[list(digests).index(None)]
            raise NotFound(subject, f"its source {show_source(lost)} is not there", remedy="Give the path of an image.")
        return same or choose_number(entry["function"], self.masters, self.functions)

    def begin_import(self, name: str, entry: Body, sha256: str | None) -> Body:
        """Write a master down before anything of it is made; return its record. ``sha256`` is its first image's."""
        body, image = self.masters.get(name), list_images(entry)[0]
        path = image["source"] and show_source(image["source"])
        if body is not None and entry.get("current") and body["state"] == "deprecated":
            raise InvalidRequest(
                f"master {name}",
                "it is deprecated, and cannot be current",
                remedy="Make it available first (state: available).",
            )
        if body is None or (body["state"] == "importing" and not body["replicas"]):
            body = {
                "function": entry["function"],
                "version": entry["version"],
                "state": "importing",
                "volumes": [],
                "items": entry["items"],
                "inputs": entry["inputs"],
                "hardware": wish_hardware(entry),
                "source": {"path": path, "sha256": sha256, "format": image["format"]},
                "replicas": [],
            }
            self._tx.put("master", name, body, verb="import", owner=self._owner)
            self.masters[name] = body
        return body

    def register(self, name: str, entry: Body, record: Body, *, wish: int | None) -> None:
        """Enter what the module found; ``wish`` is the version that the task wants to be current."""
        body, pool = self.require(name), self.pool(entry["pool"])
        before = self.find_current(entry["function"])
        known = body["volumes"] or describe_volumes(record)
        contents = [list_contents(volumes) for volumes in (known, record["volumes"])]
        if contents[0] != contents[1]:
            there, here = (", ".join(digest[:12] for _volume, digest in content) for content in contents)
            raise Conflict(
                f"master {name}",
                f"it is registered with another content (sha256 {there}, here {here})",
                remedy="Give the new content a new version.",
            )
        replica = describe_replica(record, provider=self._provider, pool=pool["pool"])
        others = [other for other in body["replicas"] if other is not find_replica(body, self._provider, pool)]
        is_new = body["state"] not in USABLE
        after = {
            **body,
            **({} if body["volumes"] else {key: record[key] for key in _FOUND}),
            "state": "available" if is_new else body["state"],
            "items": entry["items"],
            "inputs": entry["inputs"],
            "volumes": known,
            "replicas": sorted([*others, replica], key=lambda one: (one["provider"], one["pool"])),
        }
        after.pop("delete_when_unused", None)  # who declares it wants to have it
        self.put(name, after, "import")
        if record.get("packages") is not None:
            self._tx.put("profile", name, {"packages": record["packages"]}, verb="import", owner=self._owner)
        is_newest = is_new and entry.get("current") is not False and entry["version"] > (before or 0)
        self.settle_current(entry["function"], wish, entry["version"] if is_newest else None, before, verb="import")

    def publish(self, name: str, verb: str, **fields: t.Any) -> None:
        """Make a captured master available; servers follow it unless they shall not or a newer version is current.

        The fields are written into its record too.
        """
        body = dict(self.require(name))
        if body["state"] != UNPROVEN:
            return
        before = self.find_current(body["function"])
        packages, wanted = body.pop("packages", None), body.pop("becomes_current", True)
        self.put(name, {**body, **fields, "state": "available", "last_error": None}, verb)
        if packages is not None:
            self._tx.put("profile", name, {"packages": packages}, verb=verb, owner=self._owner)
        is_newest = wanted and body["version"] > (before or 0)
        self.settle_current(body["function"], body["version"] if is_newest else None, before, verb=verb)

    # Taking out of service

    def deprecate(self, name: str, *, delete_when_unused: bool = False) -> None:
        """Keep a master from new servers that follow the current version."""
        body = self._require_usable(name)
        flag = {"delete_when_unused": True} if delete_when_unused else {}
        self.put(name, {**body, "state": "deprecated", **flag}, "deprecate")

    def restore(self, name: str) -> None:
        """Take back that a master is deprecated, or to be deleted."""
        body = self._require_usable(name)
        kept = {key: value for key, value in body.items() if key != "delete_when_unused"}
        self.put(name, {**kept, "state": "available"}, "restore")

    def _require_usable(self, name: str) -> Body:
        body = self.require(name)
        if body["state"] not in USABLE:
            raise InvalidRequest(
                f"master {name}",
                f"it is {body['state']}, neither available nor deprecated",
                remedy="Add it again (state: present), or let its deletion end.",
            )
        return body

    def retain(self, function: str, keep: int, declared: t.Collection[str]) -> list[Verdict]:
        """Mark all but the newest versions of a function to be deleted as soon as nobody needs them."""
        mine = select_function(function, self.masters)
        uses = {name: self.find_use(name) for name in mine}
        verdicts = plan_retention(mine, keep, current=self.find_current(function), declared=declared, uses=uses)
        for verdict in verdicts:
            if verdict.action != "keep":
                self.deprecate(verdict.name, delete_when_unused=True)
        return verdicts

    def list_due(self) -> dict[str, str]:
        """Return the masters that are to be deleted once nobody needs them, each with who does, empty when nobody."""
        return {name: self.find_use(name) for name, body in self.masters.items() if body.get("delete_when_unused")}

    def list_waiting(self) -> list[dict[str, str]]:
        """Return the masters that are still to be deleted, each with the reason why they are there."""
        holders = {name: {copy["provider"] for copy in body["replicas"]} for name, body in self.masters.items()}
        return [
            {"name": name, "reason": use or f"its copies on {name_some(sorted(holders[name]))} are still to be deleted"}
            for name, use in self.list_due().items()
        ]

    # Deleting

    def refuse_used(self, name: str) -> None:
        """Refuse to delete a master that somebody needs."""
        use = self.find_use(name)
        if use:
            raise InvalidRequest(
                f"master {name}",
                use,
                remedy="Retire what uses it first (encompass.images.retire), or have it deleted when_unused.",
            )

    def defer(self, name: str) -> None:
        """Have a master deleted as soon as nobody needs it."""
        body = self.masters[name]
        state = "deprecated" if body["state"] in USABLE else body["state"]
        self.put(name, {**body, "state": state, "delete_when_unused": True}, "remove")

    def withdraw(self, name: str, pool: Body) -> Departure:
        """Have nobody clone a master from now on, since its volumes are about to go."""
        body = self.masters[name]
        self.put(name, {**body, "state": "removing"}, "remove")
        item = {
            "name": name,
            "function": body["function"],
            "version": body["version"],
            "pool_path": pool["path"],
            "volumes": [{key: volume[key] for key in ("name", "digest")} for volume in body["volumes"]],
        }
        recorded = self.functions.get(body["function"], {}).get("current")
        return Departure(name, pool, item, body["state"], recorded == body["version"])

    def withdraw_due(self) -> list[Departure]:
        """Withdraw this provider's copies of the masters that are due and that nobody needs."""
        due = [name for name, use in self.list_due().items() if not use]
        return [self.withdraw(name, pool) for name in due for pool in self._find_pools(self.masters[name])]

    def _find_pools(self, body: Body) -> list[Body]:
        """Return the pools of this provider that hold a copy of a master."""
        found: dict[str, Body] = {}
        for replica in body["replicas"]:
            with contextlib.suppress(NotFound):  # a pool of another provider's
                pool = self.pool(replica["pool"])
                if find_replica(body, self._provider, pool):
                    found[pool["path"]] = pool
        return list(found.values())

    def put_back(self, departure: Departure) -> None:
        """Have a master be what it was before it was withdrawn; what was due stays withdrawn."""
        body = self.masters.get(departure.name)
        if body is not None and body["state"] == "removing" and not body.get("delete_when_unused"):
            self.put(departure.name, {**body, "state": departure.state}, "remove")
            function = body["function"]
            recorded = self.functions.get(function, {}).get("current")
            self.settle_current(function, body["version"] if departure.was_current else recorded, verb="remove")

    def forget(self, departure: Departure) -> None:
        """Drop this provider's copy from the record, and the record with the last copy."""
        name = departure.name
        body = self.masters.get(name)
        if body is None:
            return  # another provider's run was faster
        gone = find_replica(body, self._provider, departure.pool)
        left = [replica for replica in body["replicas"] if replica is not gone]
        if left:
            self.put(name, {**body, "replicas": left}, "remove")
            return
        if self._tx.get("profile", name):
            self._tx.delete("profile", name, verb="remove", owner=self._owner)
        self._write("master", name, None, "remove")
        del self.masters[name]


def name_of(entry: Body) -> str:
    """Return the name of the master that an entry with a version is about."""
    return master_name(entry["function"], entry["version"])

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep masters in the library."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError

from ..module_utils._core.errors import Conflict, InvalidRequest
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._actions.verbs import require_pool
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Reading, Writing
from ..plugin_utils._planning.declared_items import parse_inputs, parse_items
from ..plugin_utils._planning.masters import describe_replica, describe_volume, master_name

# For the catalog alone: what a master asks for is the same wherever its volumes are.
_CATALOG_OPTIONS = ("items", "inputs", "pool")


class ActionModule(CatalogAction):
    """Imports masters on one provider and registers them.

    Several providers may import one master at the same time: what a provider does is known by its content's digest,
    so nobody needs a lease; the registration is one transaction, which refuses a different content.
    """

    def perform(self) -> dict[str, t.Any]:
        """Bring the masters to the state asked for."""
        state = self._task.args.get("state", "present")
        declared = {self._name(entry): self._declare(entry) for entry in self.get_list("masters")}
        if state == "absent":
            return self._remove(declared)
        with self.catalog.transaction() as tx:
            items = [self._prepare(tx, name, entry) for name, entry in declared.items()]
        result = self._run("present", items)
        changed = bool(result.get("changed"))
        for answer in result.get("objects", ()):
            if not answer["failed"]:
                with self.catalog.transaction() as tx:
                    name = answer["name"]
                    changed |= self._register(tx, name, declared[name], answer["record"])
        return {**result, "changed": changed}

    def _name(self, entry: Body) -> str:
        function, version = entry.get("function"), entry.get("version", 1)
        if not function or not str(version).isdigit():
            raise InvalidRequest("master", f"it is declared as function {function!r}, version {version!r}")
        return master_name(str(function), int(version))

    def _declare(self, entry: Body) -> Body:
        subject = f"master {self._name(entry)}"
        return {
            **entry,
            "version": int(entry.get("version", 1)),
            "pool": entry.get("pool") or "default",
            "items": parse_items(subject, [self._read_source(subject, item) for item in entry.get("items") or []]),
            "inputs": parse_inputs(subject, entry.get("inputs") or []),
        }

    def _read_source(self, subject: str, item: Body) -> Body:
        """Return the item with the text of the controller's file that its ``src`` names as its content."""
        if item.get("src") is None:
            return item
        if item.get("content") is not None:
            raise InvalidRequest(f"{subject}, item {item.get('name')}", "it has both content and src")
        folder = "templates" if item.get("type") in ("template", "seed", "firstboot") else "files"
        try:
            content = Path(self._find_needle(folder, item["src"])).read_text(encoding="utf-8")
        except (AnsibleError, OSError, UnicodeError) as exc:
            problem = f"its src {item['src']} cannot be read on the controller: {exc}"
            raise InvalidRequest(f"{subject}, item {item.get('name')}", problem) from exc
        return {**{key: value for key, value in item.items() if key != "src"}, "content": content}

    def _run(self, state: str, items: list[Body]) -> dict[str, t.Any]:
        options = {key: value for key, value in self._task.args.items() if key not in ("masters", "state")}
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="encompass.images.master",
                module_args={**options, "state": state, "masters": items},
                task_vars=self.task_vars,
            ),
        )

    def _prepare(self, tx: Writing, name: str, entry: Body) -> Body:
        """Write the master down before anything of it is made; return the module's item."""
        row = tx.get("master", name)
        body = row.body if row else None
        if body is None:
            body = {
                "function": entry["function"],
                "version": entry["version"],
                "state": "importing",
                "volumes": [],
                "items": entry["items"],
                "inputs": entry["inputs"],
                "replicas": [],
            }
            tx.put("master", name, body, verb="import", owner=self.task_owner())
        return self._complete(tx, name, body, entry)

    def _complete(self, reading: Reading, name: str, body: Body, entry: Body) -> Body:
        pool = require_pool(reading, self.host, entry["pool"])
        item = {key: value for key, value in entry.items() if key not in _CATALOG_OPTIONS}
        item.update(name=name, pool_path=pool["path"])
        if body["volumes"]:
            replica = self._find_replica(body, pool)
            volume = body["volumes"][0]
            item.update(digest=volume["digest"], inspect=False)  # what is inside is known already
            if replica is not None:
                item["fingerprint"] = replica["volumes"][volume["name"]]["fingerprint"]
        return item

    def _find_replica(self, body: Body, pool: Body) -> Body | None:
        for replica in body["replicas"]:
            if replica["pool"] == pool["pool"] and (pool["shared"] or replica["provider"] == self.host):
                return t.cast(Body, replica)
        return None

    def _register(self, tx: Writing, name: str, entry: Body, record: Body) -> bool:
        """Enter what the module found; tell whether the record changed."""
        row = tx.require("master", name)
        body = row.body
        pool = require_pool(tx, self.host, entry["pool"])
        volume = describe_volume(entry.get("volume") or "root", record)
        known = body["volumes"][0] if body["volumes"] else volume
        if known["digest"] != volume["digest"]:
            raise Conflict(
                f"master {name}",
                f"it is registered with another content (sha256 {known['digest'][:12]}, here {volume['digest'][:12]})",
                remedy="Give the new content a new version.",
            )
        replica = describe_replica(volume["name"], record, provider=self.host, pool=pool["pool"])
        old = self._find_replica(body, pool)
        others = [other for other in body["replicas"] if other is not old]
        found = (
            {key: record[key] for key in ("hardware", "software", "layout", "source")} if not body["volumes"] else {}
        )
        after = {
            **found,
            **body,
            "state": "deprecated" if body["state"] == "deprecated" else "available",
            "items": entry["items"],
            "inputs": entry["inputs"],
            "volumes": [known],
            "replicas": sorted([*others, replica], key=lambda one: (one["provider"], one["pool"])),
        }
        tx.put("master", name, after, verb="import", owner=self.task_owner())
        return bool(after != body)

    def _remove(self, declared: t.Mapping[str, Body]) -> dict[str, t.Any]:
        """Remove masters from this provider; one that nobody else has is gone from the catalog then.

        From the first step on nobody clones them any more. Several providers may do this at the same time.
        """
        with self.catalog.transaction() as tx:
            items = [self._withdraw(tx, name, entry) for name, entry in declared.items() if tx.get("master", name)]
        if not items:
            return {"changed": False, "objects": []}
        result = self._run("absent", items)
        gone = [answer["name"] for answer in result.get("objects", ()) if not answer["failed"]]
        with self.catalog.transaction() as tx:
            for name in gone:
                self._forget(tx, name)
        return {**result, "changed": bool(gone)}

    def _withdraw(self, tx: Writing, name: str, entry: Body) -> Body:
        """Write down that a master is going; return the module's item. Refused while a clone depends on it."""
        clones = [row.name for row in tx.find("clone", master=name)]
        if clones:
            more = f" and {len(clones) - 5} more" if len(clones) > 5 else ""
            raise InvalidRequest(
                f"master {name}",
                f"{', '.join(clones[:5])}{more} depend on it",
                remedy="Retire what uses them first (encompass.images.retire).",
            )
        body = {**tx.require("master", name).body, "state": "removing"}
        tx.put("master", name, body, verb="remove", owner=self.task_owner())
        return self._complete(tx, name, body, entry)

    def _forget(self, tx: Writing, name: str) -> None:
        """Drop this provider's copy from the record, and the record with the last copy."""
        row = tx.get("master", name)
        if row is None:
            return
        left = [replica for replica in row.body["replicas"] if replica["provider"] != self.host]
        if left:
            tx.put("master", name, {**row.body, "replicas": left}, verb="remove", owner=self.task_owner())
        else:
            tx.delete("master", name, verb="remove", owner=self.task_owner())

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assign clones to machines, and release them."""

from __future__ import annotations

import typing as t
import uuid

from ..module_utils._core.errors import Conflict, InvalidRequest
from ..plugin_utils._actions.snapshot import read_snapshot
from ..plugin_utils._actions.verb_action import VerbAction
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Writing
from ..plugin_utils._planning.ledger import FreshNames, Ledger
from ..plugin_utils._planning.planner import size_request
from ..plugin_utils._planning.records import new_machine_record
from ..plugin_utils._planning.request import parse_deployment
from ..plugin_utils._planning.world import ProviderView


class ActionModule(VerbAction):
    """The life cycle's assign and unassign, on a batch of machines."""

    module = "assign"
    default_state = "assigned"

    def prepare(self, tx: Writing, item: Body) -> None:
        """Bind the clone that the item names to its machine; reserve a machine that does not exist yet."""
        clone_name = item.get("clone")
        if clone_name is None or self._task.args.get("state", self.default_state) != "assigned":
            return
        name = str(item["name"])
        clone = tx.require("clone", clone_name).body
        machine = tx.get("machine", name)
        if machine is not None and clone["machine"] == name:
            return  # bound already, perhaps as the clone that the machine serves next
        for have, wanted, text in (
            (clone["machine"], name, f"clone {clone_name} is assigned to machine {clone['machine']}"),
            (machine.body["clone"] if machine else None, clone_name, f"machine {name} has another clone"),
        ):
            if have not in (None, wanted):
                raise Conflict(f"machine {name}", text, remedy="Unassign that first.")
        owner = self.task_owner()
        if machine is None:
            body = self._new_machine(tx, name, clone_name, item)
        else:
            body = {**machine.body, "clone": clone_name}
        tx.put("machine", name, body, verb="assign", owner=owner)
        tx.put("clone", clone_name, {**clone, "machine": name}, verb="assign", owner=owner)

    def _new_machine(self, tx: Writing, name: str, clone_name: str, item: Body) -> Body:
        """Return the record of a new machine, with addresses of its own."""
        provider = tx.require("provider", self.host).body
        networks = {network["name"]: network for network in provider["networks"]}
        view = ProviderView(self.host, provider, {}, networks, {}, frozenset(), {})
        snapshot = read_snapshot(tx)
        master = snapshot.masters[snapshot.clones[clone_name]["master"]]
        asked = {key: item[key] for key in ("cpus", "memory_mib", "networks", "ready") if item.get(key) is not None}
        request = size_request(parse_deployment({"name": name, "function": master["function"], **asked}, name), master)
        missing = [network.name for network in request.networks if network.name not in networks]
        if missing:
            raise InvalidRequest(f"machine {name}", f"network {missing[0]} is not on provider {self.host}")
        fresh = FreshNames(self.catalog.uuid, tx.next_number, lambda: str(uuid.uuid4()))
        ledger = Ledger(snapshot, {self.host: view}, fresh)
        body = new_machine_record(
            request,
            name,
            clone_name,
            master,
            provider=self.host,
            uuid=fresh.new_uuid(),
            virt_type=provider["virt_type"],
            nics=ledger.plan_nics(request, name, view, ()),
        )
        return t.cast(Body, {**body, "deployment": None})

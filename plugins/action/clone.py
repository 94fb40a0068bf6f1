# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and remove clones."""

from __future__ import annotations

import uuid

from ..module_utils._core.errors import Conflict, InvalidRequest
from ..plugin_utils._actions.verb_action import VerbAction
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Writing
from ..plugin_utils._planning.records import new_clone_record


class ActionModule(VerbAction):
    """The life cycle's clone and delete, on a batch of clones."""

    module = "clone"
    default_state = "present"

    def prepare(self, tx: Writing, item: Body) -> None:
        """Reserve a clone that the catalog does not know yet, before any of it is made."""
        if self._task.args.get("state", self.default_state) != "present":
            return
        name, master = str(item["name"]), item.get("master")
        known = tx.get("clone", name)
        if known is not None:
            if master is not None and known.body["master"] != master:
                raise Conflict(f"clone {name}", f"it is a clone of {known.body['master']} already, not of {master}")
            return
        if master is None:
            raise InvalidRequest(f"clone {name}", "it is not in the catalog, and the task names no master to clone")
        tx.require("master", master)
        body = new_clone_record(
            master=master,
            provider=self.host,
            pool=item.get("pool") or "default",
            method=item.get("method") or "auto",
            machine_id=uuid.uuid4().hex,
        )
        tx.put("clone", name, body, verb="clone", owner=self.task_owner())

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, grow and delete data volumes."""

from __future__ import annotations

import typing as t

from ..module_utils._core.data_volumes import split_name
from ..plugin_utils._actions.data_volumes import VOLUME_VERBS, DataBatch
from ..plugin_utils._actions.verb import Verb, require_pool
from ..plugin_utils._actions.verb_action import VerbAction
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Writing
from ..plugin_utils._planning.data_volumes import new_volume_record, resize_record
from ..plugin_utils._planning.request import parse_data_volume


class ActionModule(VerbAction):
    """Makes, grows or deletes a batch of data volumes of one provider."""

    module = "volume"
    default_state = "present"
    verbs: t.Mapping[tuple[str, str], Verb] = VOLUME_VERBS
    batch_type = DataBatch

    def prepare(self, tx: Writing, item: Body) -> None:
        """Reserve a volume that the catalog does not know yet, or its new size, before any of it is made."""
        asked = {key: value for key, value in item.items() if key != "name" and value is not None}
        if self._task.args.get("state", self.default_state) != "present" or not asked:
            return
        name = str(item["name"])
        server, volume = split_name(name)
        data = parse_data_volume(f"volume {name}", {**asked, "name": volume}, pool="default")
        known = tx.get("volume", name)
        if known is not None:
            body = resize_record(name, known.body, data)
        else:
            machine = tx.get("machine", server)
            body = new_volume_record(
                server,
                data,
                deployment=machine.body["deployment"] if machine else None,
                provider=self.host,
                pool=require_pool(tx, self.host, data.pool),
            )
        tx.put("volume", name, body, verb="volume", owner=self.task_owner())

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make masters of clones in maintenance."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils._actions.base import LEASE_S
from ..plugin_utils._actions.batch import Batch
from ..plugin_utils._actions.capturing import Capture, name_clones, write_drafts
from ..plugin_utils._actions.verb_action import VerbAction
from ..plugin_utils._actions.verbs import Request, Verb
from ..plugin_utils._catalog.objects import Body, Operation


class ActionModule(VerbAction):
    """The life cycle's capture, on a batch of clones."""

    module = "capture"
    default_state = ""
    own_options = VerbAction.own_options | {"prove"}

    def perform(self) -> dict[str, t.Any]:
        """Capture the clones that are due, and say which master each became."""
        self._gone: dict[str, str] = {}
        self._verb = Capture(prove=boolean(self._task.args.get("prove", False)))
        result = super().perform()
        drafts = {clone: master for clone, (master, _draft) in self._verb.drafts.items()}
        made = [item["name"] for item in result["objects"] if not item["failed"]] if "objects" in result else []
        return {**result, "masters": {**self._gone, **{name: drafts[name] for name in made}}}

    def _choose_verb(self) -> Verb:
        return self._verb

    def _begin(self, batch: Batch, items: t.Sequence[Body]) -> Operation | None:
        """Lease the clones, and the masters that they become, which are written down before anything is made."""
        owner = self.task_owner()
        request = Request({}, self.catalog.uuid)
        with self.catalog.transaction() as tx:
            found, self._gone = name_clones(tx, items)
            for item in found:
                batch.add(tx, item, request)
                write_drafts(tx, self._verb, owner)
            if not batch.subjects:
                return None
            return tx.begin(
                batch.verb.event,
                [*batch.targets, *(("master", master) for master, _draft in self._verb.drafts.values())],
                owner=owner,
                intent={"provider": self.host, "items": sorted(batch.subjects)},
                lease_s=LEASE_S,
                alongside=batch.outer,
            )

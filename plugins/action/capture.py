# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make masters of clones in maintenance."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils._core.errors import InvalidRequest
from ..plugin_utils._actions.base import LEASE_S
from ..plugin_utils._actions.batch import Batch
from ..plugin_utils._actions.capturing import Capture, draft_donations, name_clones, write_drafts
from ..plugin_utils._actions.library import Library
from ..plugin_utils._actions.verb import Request, Verb
from ..plugin_utils._actions.verb_action import VerbAction
from ..plugin_utils._catalog.objects import Body, Key, Operation
from ..plugin_utils._planning.captured import complete_master, draft_donation, name_donor, select_donors
from ..plugin_utils._planning.versions import UNPROVEN

# Disks of a machine in use, over a line that is none of the fastest.
_DONATION_S = 24 * 3600.0


class ActionModule(VerbAction):
    """The life cycle's capture, on a batch of clones."""

    module = "capture"
    default_state = ""
    own_options = VerbAction.own_options | {"prove", "current"}

    def perform(self) -> dict[str, t.Any]:
        """Capture the clones that are due, and say which master each became."""
        result = self._take_donations() if self._task.args.get("donors") else self._capture_clones()
        if not self._read_flag("prove", default=False):
            result["changed"] = self._publish(result.get("masters", {}).values()) or result.get("changed", False)
        for item in result.get("objects", ()):
            item.get("record", {}).pop("packages", None)  # too long for a result; the catalog has them
        return result

    def _read_flag(self, name: str, *, default: bool) -> bool:
        return bool(boolean(self._task.args.get(name, default)))

    def _publish(self, masters: t.Iterable[str]) -> bool:
        """Have servers follow the masters, also those of a run that was killed before it came to that."""
        with self.catalog.transaction() as tx:
            library = Library(tx, self.host, self.task_owner())
            waiting = [name for name in masters if library.masters.get(name, {}).get("state") == UNPROVEN]
            for name in waiting:
                library.publish(name, "capture")
        return bool(waiting)

    def _capture_clones(self) -> dict[str, t.Any]:
        self._gone: dict[str, str] = {}
        self._verb = Capture(current=self._read_flag("current", default=True))
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

    def _take_donations(self) -> dict[str, t.Any]:
        """Make masters of machines that are not ours; nothing else in the catalog is about them."""
        if self._task.args.get("clones"):
            raise InvalidRequest("capture", "both clones and donors are given", remedy="Take two tasks.")
        donors, owner = select_donors(self.get_list("donors"), self.host), self.task_owner()
        current = self._read_flag("current", default=True)
        named = {name_donor(donor): draft_donation(donor, current=current)[0] for donor in donors}
        with self.catalog.transaction() as tx:
            due = draft_donations(tx, self.host, donors, owner, current=current)
            targets = [("master", name) for name in due]
            operation = tx.begin("capture", targets, owner=owner, lease_s=LEASE_S) if due else None
        result: dict[str, t.Any] = {"changed": False, "objects": []}
        if operation is not None:
            result = self._run_donations(operation, due)
        failed = {answer["name"] for answer in result.get("objects", ()) if answer["failed"]}
        return {**result, "masters": {donor: name for donor, name in named.items() if name not in failed}}

    def _run_donations(self, operation: Operation, due: t.Mapping[str, tuple[Body, Body]]) -> dict[str, t.Any]:
        options = {
            key: value for key, value in self._task.args.items() if key not in ("donors", "clones", "prove", "current")
        }
        arguments = {**options, "donors": [item for _draft, item in due.values()]}
        result = self.run_leased("capture", arguments, {operation.id: LEASE_S}, longest_s=_DONATION_S)
        if "objects" not in result:
            if "subject" in result:
                self.catalog.abort(operation.id)  # refused before anything was touched
            return result
        bodies, errors = self._absorb_donations(due, result["objects"])
        self.catalog.commit(operation.id, bodies, errors=errors)
        return result

    def _absorb_donations(
        self, due: t.Mapping[str, tuple[Body, Body]], answers: t.Sequence[Body]
    ) -> tuple[dict[Key, Body | None], dict[Key, Body]]:
        """Return (the masters' records, the errors to note) from the module's answers."""
        bodies: dict[Key, Body | None] = {}
        errors: dict[Key, Body] = {}
        for answer in answers:
            (draft, item), key = due[answer["name"]], ("master", str(answer["name"]))
            if not answer["failed"]:
                pool = item.get("pool") or "default"
                bodies[key] = complete_master(draft, answer["record"], provider=self.host, pool=pool)
            elif answer.get("subject") == f"donor {item.get('domain') or item['ssh']}" and not answer["steps"]:
                bodies[key] = None  # refused before anything was made
            else:
                errors[key] = {field: answer.get(field, "") for field in ("msg", "subject", "problem", "remedy")}
        return bodies, errors

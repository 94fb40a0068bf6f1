# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module ``volume`` is told, and what the catalog makes of its answer. Private to this collection."""

from __future__ import annotations

import typing as t

from ...module_utils._core.errors import InvalidRequest, TransitionRefused
from .._catalog.objects import Body, Key, Row
from .._catalog.store import Reading
from .batch import Batch
from .data_disks import find_holder
from .verb import Request, Verb, require_pool


class MakeVolume(Verb):
    """Make data volumes, or grow them."""

    event, module, option, state = "make_volume", "volume", "volumes", "present"


class DropVolume(Verb):
    """Delete data volumes."""

    event, module, option, state = "drop_volume", "volume", "volumes", "absent"


VOLUME_VERBS: t.Mapping[tuple[str, str], Verb] = {
    (verb.module, verb.state): verb for verb in (MakeVolume(), DropVolume())
}


class DataBatch(Batch):
    """Data volumes of one provider; they have no life cycle but to be planned, available, and gone."""

    def __init__(self, verb: Verb, provider: str, outer: t.Sequence[str]) -> None:
        super().__init__(verb, provider, outer)
        self._bodies: dict[str, Body] = {}

    @property
    def targets(self) -> list[Key]:
        """The objects that the batch needs for itself."""
        return [("volume", name) for name in self._bodies]

    def _complete(self, reading: Reading, item: Body, _request: Request) -> Body | None:
        name = str(item["name"])
        row = reading.require("volume", name)
        body = row.body
        if self._failed_before(body):
            return None
        if body["provider"] != self.provider:
            raise InvalidRequest(f"volume {name}", f"it is on {body['provider']}, not on {self.provider}")
        holder = find_holder(reading, row)
        if holder is not None and self.verb.state == "absent":
            raise TransitionRefused(
                f"volume {name}",
                f"machine {holder.name} has it",
                remedy="Take it out of its deployment's data and deploy, or retire the server.",
            )
        self._bodies[name] = body
        fields = ("pool", "path", "format", "virtual_bytes", "filesystem", "label")
        # Only within a larger operation has the catalog just been held against the provider.
        idle = bool(self.outer) and not (holder and _is_active(reading, holder))
        pool = require_pool(reading, self.provider, body["pool"])
        known = {key: body[key] for key in fields if body[key] is not None}
        return {"name": name, **known, "pool_path": pool["path"], "idle": idle}

    def absorb(self, results: t.Sequence[Body]) -> tuple[dict[Key, Body | None], dict[Key, Body]]:
        """Return (the records after the verb, the errors to note) from the module's answers."""
        bodies: dict[Key, Body | None] = {}
        errors: dict[Key, Body] = {}
        for result in results:
            key, record = ("volume", result["name"]), result["record"]
            if result["failed"]:
                errors[key] = self._describe_error(result)
            elif self.verb.state == "absent":
                bodies[key] = None
            else:
                known = {"stage": "available", "virtual_bytes": record["virtual_bytes"], "last_error": None}
                bodies[key] = {**self._bodies[result["name"]], **known}
        return bodies, errors


def _is_active(reading: Reading, machine: Row) -> bool:
    clone = reading.get("clone", machine.body["clone"])
    return clone is not None and clone.body["stage"] == "active"

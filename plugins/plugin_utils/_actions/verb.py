# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verb of the life cycle is: what it asks of its module, and what it makes of the answer. Pure but for reads of
the catalog. Private to this collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import InvalidRequest, NotFound
from ...module_utils._core.lifecycle import settle_event
from .._catalog.objects import Body, Key
from .._catalog.store import Reading


@dataclasses.dataclass(frozen=True)
class Subject:
    """What one item of a verb is about: the clone, and the machine it is on, as the catalog has them."""

    clone_name: str
    clone: Body
    machine_name: str
    machine: Body
    """Empty for a clone without a machine."""
    partners: t.Mapping[str, Body] = dataclasses.field(default_factory=dict)
    """Other clones of the machine that the verb takes along."""
    data: t.Mapping[str, Body] = dataclasses.field(default_factory=dict)
    """Data volumes of the server that the verb takes along."""
    host: str = ""
    """The provider that the verb works on."""

    @property
    def keys(self) -> list[Key]:
        """The objects that the verb needs for itself."""
        machine = [("machine", self.machine_name)] if self.machine else []
        clones = [("clone", name) for name in (self.clone_name, *self.partners)]
        return [*machine, *clones, *(("volume", name) for name in self.data)]

    @property
    def is_spare(self) -> bool:
        """Whether the clone is meant for a machine that serves another one: prepared for it, or on standby."""
        return bool(self.machine) and self.machine["clone"] != self.clone_name


@dataclasses.dataclass(frozen=True)
class Request:
    """What holds for all items of a task: the inputs by deployment, and the catalog that they belong to."""

    inputs: t.Mapping[str, t.Mapping[str, t.Any]]
    catalog_uuid: str


class Verb:
    """One event of the life cycle, done by one module."""

    event: str
    module: str
    option: str
    state: str
    on_machines = True
    """Items are named by machine; else by clone."""
    plans_from_stage = False
    """The module plans otherwise after a step that was only planned, and is told the clone's stage."""
    fixed_options: t.Mapping[str, t.Any] = {}

    def find_partners(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the other clones of the subject's machine that the verb takes along."""
        return {}

    def find_data(self, reading: Reading, subject: Subject) -> dict[str, Body]:
        """Return the data volumes of the subject's server that the verb takes along."""
        return {}

    def check_place(self, subject: Subject) -> None:
        """Raise :class:`InvalidRequest` when the verb has no business with the subject on this provider."""
        if subject.clone["provider"] != subject.host:
            raise InvalidRequest(
                f"clone {subject.clone_name}", f"it is on {subject.clone['provider']}, not on {subject.host}"
            )

    def events_of(self, subject: Subject) -> tuple[str, ...]:
        """Return what happens to the subject's clone, most often one event."""
        return (self.event,)

    def check(self, subject: Subject) -> None:
        """Raise :class:`TransitionRefused` when the life cycle does not let the verb happen."""
        self._advance(subject)

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        raise NotImplementedError

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb, given what the module reports; None for one that is gone."""
        return {("clone", subject.clone_name): self._advance(subject, self.select(record))}

    def select(self, record: Body) -> Body:
        """Return what of the module's report belongs into the clone's record."""
        return {}

    def _advance(self, subject: Subject, changes: t.Mapping[str, t.Any] | None = None) -> Body | None:
        """Return the clone's record after the verb's events; None when the clone is gone then."""
        body: Body | None = {**subject.clone, **(changes or {})}
        for event in self.events_of(subject):
            body = settle_event(subject.clone_name, t.cast(Body, body), event)
        return body


def require_pool(reading: Reading, provider: str, pool: str) -> Body:
    """Return the record of a provider's pool, local or shared."""
    row = reading.get("pool", f"{provider}:{pool}") or reading.get("pool", pool)
    if row is None or provider not in row.body["providers"]:
        raise NotFound(
            f"pool {pool}", f"provider {provider} does not reach it", remedy="Run encompass.images.discover."
        )
    return row.body


def find_replica(master_name: str, master: Body, provider: str, pool: Body) -> Body:
    """Return where a provider has a master's volumes: ``{volume: {path, fingerprint}}``."""
    for replica in master["replicas"]:
        shared = pool["shared"] and replica["pool"] == pool["pool"]
        if replica["pool"] == pool["pool"] and (shared or replica["provider"] == provider):
            return t.cast(Body, replica["volumes"])
    raise NotFound(
        f"master {master_name}",
        f"provider {provider} has no copy of it in pool {pool['pool']}",
        remedy="Run encompass.images.add_master there.",
    )

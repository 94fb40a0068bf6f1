# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb of module ``attach``: machines defined with their clones' volumes. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._core.attachment import (
    Attachment,
    AttachmentSeen,
    DefineDomain,
    UndefineDomain,
    diff_attachment,
    find_users,
    index_disks,
    plan_attachment,
    presume_attachment,
    read_attachment,
    report_attachment,
)
from .._core.errors import EncompassError
from .._core.provider import MachineHost
from .._core.steps import Step
from .._drivers.libvirt import open_host
from .parallel import perform_each
from .requests import collect_by_name
from .runner import Job


class AttachVerb:
    """Define and undefine machines."""

    lock_kind = "machine"

    def __init__(self, host: MachineHost, *, workers: int) -> None:
        self._host = host
        self._workers = workers

    def observe(self, items: t.Mapping[str, Attachment]) -> dict[str, AttachmentSeen]:
        """Return each machine's domain, and who else has to do with its disks, in this batch or on the host."""
        domains = self._host.observe_domains()
        wanted = {name: item.domain for name, item in items.items() if item.domain is not None}
        everybody = [*(seen.domain for seen in domains.values()), *wanted.values()]
        index = index_disks(everybody, os.path.realpath)
        uuids = {seen.domain.uuid: name for name, seen in domains.items()}
        observed = {}
        for name in items:
            domain = wanted.get(name)
            holder = uuids.get(domain.uuid, name) if domain else name
            observed[name] = AttachmentSeen(
                there=domains.get(name),
                users=find_users(domain, index, os.path.realpath) if domain else {},
                uuid_holder="" if holder == name else holder,
            )
        return observed

    def plan(self, item: Attachment, seen: AttachmentSeen) -> list[Step]:
        """Return the steps that are left to do."""
        return plan_attachment(item, seen)

    def report(self, item: Attachment, seen: AttachmentSeen, _steps: t.Sequence[Step]) -> dict[str, t.Any]:
        """Return the clone's stage and the machine's state."""
        return report_attachment(item, seen)

    def diff(self, item: Attachment, seen: AttachmentSeen, _steps: t.Sequence[Step]) -> tuple[str, str]:
        """Return the domain's definition before and after."""
        return diff_attachment(item, seen)

    def perform(self, plans: t.Mapping[str, t.Sequence[Step]]) -> dict[str, EncompassError | None]:
        """Define and undefine, several machines at a time."""
        return perform_each(plans, self._perform_step, workers=self._workers)

    def _perform_step(self, _name: str, step: Step) -> None:
        if isinstance(step, DefineDomain):
            self._host.define_domain(step.domain)
        elif isinstance(step, UndefineDomain):
            self._host.undefine_domain(step.name)


@contextlib.contextmanager
def open_attachments(params: dict[str, t.Any]) -> t.Iterator[Job]:
    """Yield the job that the module's parameters ask for."""
    items = collect_by_name("machine", [read_attachment(params["state"], entry) for entry in params["machines"]])
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        yield Job(AttachVerb(host, workers=params["workers"]), items, presume_attachment)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The items of one verb on one provider, and what becomes of them. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import EncompassError, InvalidRequest
from .._catalog.objects import Body, Key
from .._catalog.store import Reading
from .verb import Request, Subject, Verb


class Batch:
    """What a verb's module is given, and what the catalog is told afterwards; ``outer`` are the larger operations."""

    def __init__(self, verb: Verb, provider: str, outer: t.Sequence[str]) -> None:
        self.verb = verb
        self.provider = provider
        self.outer = outer
        self.subjects: dict[str, Subject] = {}
        self.items: list[Body] = []
        self._refused: list[Body] = []
        self._skipped: list[str] = []

    @property
    def targets(self) -> list[Key]:
        """The objects that the batch needs for itself."""
        return [key for subject in self.subjects.values() for key in subject.keys]

    def add(self, reading: Reading, item: Body, request: Request) -> None:
        """Take an item in when the life cycle lets it; one that failed earlier in the larger operation is skipped."""
        name = str(item["name"])
        try:
            completed = self._complete(reading, item, request)
        except EncompassError as exc:
            refusal = {"name": name, "changed": False, "failed": True, "steps": [], "record": {}}
            self._refused.append({**refusal, **exc.to_record()})
        else:
            if completed is None:
                self._skipped.append(name)
            else:
                self.items.append(completed)

    def _complete(self, reading: Reading, item: Body, request: Request) -> Body | None:
        """Return an item as the module wants it; None for one that failed earlier in the larger operation."""
        subject = self._find_subject(reading, item)
        if self._failed_before(subject.clone):
            return None
        self.verb.check(subject)
        completed = self.verb.complete(reading, subject, request)
        self.subjects[str(item["name"])] = subject
        # Only within a larger operation has the catalog just been held against the provider.
        stage = {"stage": subject.clone["stage"]} if self.outer and self.verb.plans_from_stage else {}
        given = {key: value for key, value in item.items() if key != "clone"}
        return {**given, **completed, **stage}

    def _failed_before(self, body: Body) -> bool:
        return (body.get("last_error") or {}).get("operation") in self.outer

    def _describe_error(self, result: Body) -> Body:
        """Return what the catalog notes of an item that failed."""
        error = {key: result.get(key, "") for key in ("msg", "subject", "problem", "remedy")}
        return {**error, "verb": self.verb.event, "operation": self.outer[0] if self.outer else None}

    def _find_subject(self, reading: Reading, item: Body) -> Subject:
        """Return what an item is about; of a machine, that is the clone that it serves, unless the item names one."""
        name = str(item["name"])
        if self.verb.on_machines:
            machine_name: str | None = name
            clone_name = item.get("clone") or reading.require("machine", name).body["clone"]
        else:
            clone_name = name
            machine_name = reading.require("clone", name).body["machine"]
        clone = reading.require("clone", clone_name).body
        if self.verb.on_machines and clone["machine"] != name:
            raise InvalidRequest(
                f"machine {name}", f"clone {clone_name} is not assigned to it", remedy="Assign it first."
            )
        machine = reading.require("machine", machine_name).body if machine_name else {}
        subject = Subject(clone_name, clone, machine_name or "", machine, host=self.provider)
        self.verb.check_place(subject)
        partners, data = self.verb.find_partners(reading, subject), self.verb.find_data(reading, subject)
        return dataclasses.replace(subject, partners=partners, data=data)

    def absorb(self, results: t.Sequence[Body]) -> tuple[dict[Key, Body | None], dict[Key, Body]]:
        """Return (the records after the verb, the errors to note) from the module's answers."""
        bodies: dict[Key, Body | None] = {}
        errors: dict[Key, Body] = {}
        for result in results:
            subject = self.subjects[result["name"]]
            if result["failed"]:
                errors[("clone", subject.clone_name)] = self._describe_error(result)
            else:
                bodies.update(self.verb.absorb(subject, result["record"]))
        return bodies, errors

    def report(self, result: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the task's result: the module's, and what was refused before it ran.

        Failed items fail the task, but within a larger operation they only warn: it goes on with the others.
        """
        if "objects" not in result:
            return result
        objects = [*result["objects"], *self._refused]
        failed = [item for item in objects if item["failed"]]
        result.update(objects=objects, failed=bool(failed))
        if self._skipped:
            result["skipped_objects"] = self._skipped
        if failed:
            more = f" (and {len(failed) - 1} more of {len(objects)})" if len(failed) > 1 else ""
            result["msg"] = f"{failed[0]['msg']}{more}"
        if self.outer and failed:
            result.update(failed=False, warnings=[item["msg"] for item in failed])
        return result

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an action on the library does beside its work: it deletes what is due, and tells. Private to this collection."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ...module_utils._core.errors import InvalidRequest
from .._catalog.objects import Body
from .._catalog.store import Writing
from .._planning.versions import Verdict
from .base import CatalogAction
from .library import Departure, Library

_OWN_OPTIONS = ("masters", "state", "keep", "when_unused")


class LibraryAction(CatalogAction):
    """An action that changes masters in the catalog and on one provider."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action."""
        self._diff: dict[str, Body] = {}
        self._deleted: list[str] = []
        self._warnings: list[str] = []
        self.verdicts: list[Verdict] = []
        return super().run(tmp, task_vars)

    # Options

    def read_bool(self, name: str, value: t.Any) -> bool | None:
        """Return a truth value, None when it is not given."""
        if value in (None, ""):
            return None
        try:
            return bool(boolean(value))
        except TypeError as exc:
            raise InvalidRequest(f"option {name}", f"it is {value!r}, neither true nor false") from exc

    def read_keep(self) -> int | None:
        """Return how many versions of a function are kept, None for all."""
        value = self._task.args.get("keep")
        if value in (None, ""):
            return None
        if isinstance(value, bool) or not str(value).isdigit() or int(value) < 1:
            raise InvalidRequest(
                "option keep", f"it is {value!r}, not a whole number from 1 on", remedy="Leave it out to keep all."
            )
        return int(value)

    # The catalog and the provider

    @contextlib.contextmanager
    def library(self) -> t.Iterator[Library]:
        """Return the library in a transaction; what it changes belongs to the task's diff."""
        with self.catalog.transaction() as tx:
            library = self.open_library(tx)
            yield library
        for change in library.diff:
            first = self._diff.setdefault(change["before_header"], change)
            self._diff[change["before_header"]] = {**change, "before": first["before"]}

    def open_library(self, tx: Writing) -> Library:
        """Return the library in a transaction whose changes are not worth showing."""
        return Library(tx, self.host, self.task_owner())

    def run_module(self, state: str, items: list[Body], **options: t.Any) -> dict[str, t.Any]:
        """Have the provider do its part."""
        given = {key: value for key, value in self._task.args.items() if key not in _OWN_OPTIONS}
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="encompass.images.master",
                module_args={**given, **options, "state": state, "masters": items},
                task_vars=self.task_vars,
            ),
        )

    # Deleting

    def delete(self, departures: t.Sequence[Departure], **options: t.Any) -> dict[str, t.Any]:
        """Delete the files of masters that were withdrawn; one whose file has to stay is as it was before."""
        result = self.run_module("absent", [departure.item for departure in departures], **options)
        answers = {answer["name"]: answer for answer in result.get("objects", ())}
        with self.library() as library:
            for departure in departures:
                answer = answers.get(departure.name)
                if answer is not None and not answer["failed"]:
                    library.forget(departure)
                elif answer is not None and not answer["changed"]:
                    library.put_back(departure)
        return result

    def sweep(self) -> None:
        """Delete from this provider what was to be deleted once nobody needs it, and nobody needs any more.

        Every run of this action does so, and the playbooks deploy and retire run it at their end.
        """
        with self.library() as library:
            departures = library.withdraw_due()
        for pool in sorted({departure.pool["path"] for departure in departures}):
            batch = [departure for departure in departures if departure.pool["path"] == pool]
            result = self.delete(batch, when_unused=True)
            for answer in result.get("objects", ()):
                if answer["failed"]:
                    self._warnings.append(answer["msg"])
                else:
                    self._deleted.append(answer["name"])
            if "objects" not in result:
                self._warnings.append(str(result.get("msg") or f"masters in {pool} could not be deleted"))

    # The result

    def conclude(self, result: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the task's result: the work's, with what became of the catalog's records."""
        changes = [change for change in self._diff.values() if change["before"] != change["after"]]
        with self.library() as library:
            waiting = library.list_waiting()
        result.setdefault("objects", [])
        result.update(
            changed=bool(result.get("changed") or changes),
            diff=[*result.get("diff", ()), *changes],
            deleted=self._deleted,
            deferred=waiting,
            kept=[{"name": one.name, "reason": one.reason} for one in self.verdicts if one.action == "keep"],
        )
        if self._warnings:
            result["warnings"] = [*result.get("warnings", ()), *self._warnings]
        return result

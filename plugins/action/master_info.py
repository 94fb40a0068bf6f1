# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show masters, and what differs between two of them."""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import InvalidRequest, NotFound
from ..plugin_utils._actions.info import InfoAction
from ..plugin_utils._catalog.objects import Row
from ..plugin_utils._planning.comparison import compare_masters
from ..plugin_utils._planning.versions import find_current, name_some


class ActionModule(InfoAction):
    """Reads the records of masters."""

    kind = "master"
    filters: t.Mapping[str, str] = {"function": "str", "version": "int", "state": "str"}

    def perform(self) -> dict[str, t.Any]:
        """Return the records that the options select, and the comparison that is asked for."""
        options = self._read_options()
        rows = {row.name: row for row in self.catalog.find("master")}
        masters = {name: row.body for name, row in rows.items()}
        functions = {row.name: row.body for row in self.catalog.find("function")}
        self._current = {
            body["function"]: find_current(body["function"], masters, functions) for body in masters.values()
        }
        self._wanted = options["current"]
        result = super().perform()
        if options["compare"] is not None:
            result["comparison"] = self._compare(options["compare"], rows)
        return result

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return a master's record, and whether it is its function's current version."""
        return {
            **super().describe(row),
            "current": row.body["version"] == self._current[row.body["function"]],
            "delete_when_unused": bool(row.body.get("delete_when_unused")),
        }

    def selects(self, record: t.Mapping[str, t.Any]) -> bool:
        """Tell whether a record is of those that are current, or of the others, as asked for."""
        return self._wanted in (None, record["current"])

    def _compare(self, names: t.Sequence[str], rows: t.Mapping[str, Row]) -> dict[str, t.Any]:
        if len(names) != 2:
            raise InvalidRequest("option compare", f"it names {len(names)} masters", remedy="Name two of them.")
        for name in names:
            if name not in rows:
                known = name_some(sorted(rows)) or "no masters"
                raise NotFound(f"master {name}", "does not exist", remedy=f"The library has {known}.")
        profiles = [self.catalog.get("profile", name) for name in names]
        first, second = (row.body["packages"] if row else None for row in profiles)
        before, after = (rows[name].body for name in names)
        return {"masters": list(names), **compare_masters(before, after, (first, second))}

    @classmethod
    def argument_spec(cls) -> dict[str, dict[str, t.Any]]:
        """Return the action's options."""
        own = {"current": {"type": "bool"}, "compare": {"type": "list", "elements": "str"}}
        return {**super().argument_spec(), **own}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the three info actions share: options, selection, records. Private to this collection."""

from __future__ import annotations

import typing as t

from .._catalog.index import TAGS
from .._catalog.objects import Row
from .._catalog.query import compile_query
from .base import CatalogAction


class InfoAction(CatalogAction):
    """Reads the records of one kind of object.

    ``filters`` maps an option to the type of its elements. An option that the catalog has no index for is compared with
    the field of that name.
    """

    only_reads = True
    kind: str
    filters: t.Mapping[str, str]

    def perform(self) -> dict[str, t.Any]:
        """Return the records that the options select."""
        options = self._read_options()
        select = compile_query(options["query"])
        wanted = {option: options[option] for option in self.filters if options[option] is not None}
        indexed = {tag: values for tag, values in wanted.items() if tag in TAGS[self.kind]}
        records = [
            {**self.describe(row), "name": row.name, "revision": row.revision}
            for row in self.catalog.find(self.kind, **indexed)
            if options["name"] is None or row.name in options["name"]
        ]
        others = {field: set(values) for field, values in wanted.items() if field not in indexed}
        kept = [
            record
            for record in records
            if all(record.get(field) in others[field] for field in others) and self.selects(record)
        ]
        return {"changed": False, f"{self.kind}s": select(kept)}

    def describe(self, row: Row) -> dict[str, t.Any]:
        """Return an object's record as users see it."""
        return dict(row.body)

    def selects(self, record: t.Mapping[str, t.Any]) -> bool:
        """Tell whether options of the action's own select a record."""
        return True

    @classmethod
    def argument_spec(cls) -> dict[str, dict[str, t.Any]]:
        """Return the action's options."""
        lists = {option: {"type": "list", "elements": kind} for option, kind in {"name": "str", **cls.filters}.items()}
        return {**lists, "query": {"type": "str"}}

    def _read_options(self) -> dict[str, t.Any]:
        _result, options = self.validate_argument_spec(argument_spec=self.argument_spec())
        return t.cast("dict[str, t.Any]", options)

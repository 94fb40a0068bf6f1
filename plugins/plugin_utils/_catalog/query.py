# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath over records. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t

from ...module_utils._core.errors import InvalidRequest, Unsupported

try:
    import jmespath

    JMESPATH_IMPORT_ERROR: ImportError | None = None
except ImportError as exc:
    jmespath = None
    JMESPATH_IMPORT_ERROR = exc

Records = list[dict[str, t.Any]]


def compile_query(query: str | None) -> t.Callable[[Records], t.Any]:
    """Return what the query makes of a list of records; without a query that is the list itself."""
    if query is None:
        return lambda records: records
    if JMESPATH_IMPORT_ERROR is not None:
        raise Unsupported(
            "option query",
            "it needs the Python library jmespath, which is not installed on the control node",
            remedy="Install it there, or leave the option out.",
        ) from JMESPATH_IMPORT_ERROR
    try:
        expression = jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as exc:
        raise InvalidRequest("option query", f"{query!r} is no JMESPath expression: {exc}") from exc
    return lambda records: _search(expression, records, query)


def _search(expression: t.Any, records: Records, query: str) -> t.Any:
    try:
        return expression.search(records)
    except jmespath.exceptions.JMESPathError as exc:
        raise InvalidRequest("option query", f"{query!r} does not fit the records: {exc}") from exc

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing records over any store's tables. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest, NotFound
from .changes import KEEP_ENTRIES, KEEP_S, diff
from .index import TAGS, claims_of, describe_claim, tags_of
from .json import to_plain, to_text
from .objects import KINDS, Body, HistoryEntry, Key, Owner, Row, describe_key
from .store import TagQuery
from .tables import Tables


@dataclasses.dataclass(frozen=True)
class Author:
    """To whom a change is put down in history."""

    verb: str
    owner: Owner | None = None
    operation: str | None = None


def read_row(tables: Tables, kind: str, name: str) -> Row | None:
    """Return an object's row, or None."""
    _check_kind(kind)
    return tables.read_object((kind, name))


def require_row(tables: Tables, kind: str, name: str) -> Row:
    """Return an object's row, or raise NotFound."""
    return read_row(tables, kind, name) or raise_not_found((kind, name))


def raise_not_found(key: Key) -> t.NoReturn:
    """Raise NotFound for an object."""
    raise NotFound(describe_key(key), "does not exist", remedy="Check the name.")


def check_query(kind: str, tags: t.Mapping[str, TagQuery]) -> dict[str, list[str]]:
    """Return the query with all the values each tag may have; raise InvalidRequest for a tag that is not kept."""
    _check_kind(kind)
    unknown = sorted(set(tags) - set(TAGS[kind]))
    if unknown:
        raise InvalidRequest(
            f"query for {kind}", f"there is no tag {unknown[0]!r}", remedy=f"Use one of: {', '.join(TAGS[kind])}."
        )
    return {tag: _to_values(value) for tag, value in tags.items()}


def check_revision(tables: Tables, key: Key, row: Row | None, expected: int | None) -> None:
    """Raise Conflict when the object is not at the expected revision; 0 stands for an absent one."""
    present = row.revision if row else 0
    if expected is None or expected == present:
        return
    if expected == 0:
        raise Conflict(describe_key(key), "exists already", remedy="Choose another name.")
    problem = f"is at revision {present}, not {expected}" if row else "does not exist any more"
    who = describe_author(tables, key)
    raise Conflict(describe_key(key), f"was changed by {who}: it {problem}", remedy="Run the play again.")


def describe_author(tables: Tables, key: Key) -> str:
    """Return who changed an object last, as far as that is known."""
    for entry in tables.read_history(key, 1):
        operation = tables.read_operation(entry.operation) if entry.operation else None
        if operation is not None:
            return f"somebody else, in {operation.verb} by {operation.owner.describe()}"
        if entry.user:
            return f"somebody else, in {entry.verb} by {entry.user} ({entry.run})"
    return "somebody else"


def write_records(tables: Tables, bodies: t.Mapping[Key, Body | None], author: Author) -> dict[Key, Row | None]:
    """Write the records that differ, delete those given as None, and note history; the order does not matter.

    All claims are let go before any is taken, so that two machines may exchange their addresses.
    """
    plain = {key: None if body is None else _check_body(key, body) for key, body in bodies.items()}
    before = tables.read_some(plain)
    changed = {key: body for key, body in plain.items() if _differs(before.get(key), body)}
    if changed:
        _write_changed(tables, before, changed, author)
    after = tables.read_some(plain) if changed else before
    return {key: after.get(key) for key in plain}


def _write_changed(
    tables: Tables, before: t.Mapping[Key, Row], changed: t.Mapping[Key, Body | None], author: Author
) -> None:
    revisions = _count_revisions(tables, before, changed)
    tables.write_claims(dict.fromkeys(changed, ()))
    tables.delete_objects([key for key, body in changed.items() if body is None])
    kept = {key: body for key, body in changed.items() if body is not None}
    tables.write_objects({key: (revisions[key], body) for key, body in kept.items()})
    tables.write_tags({key: _list_tags(key, body) for key, body in kept.items()})
    _take_claims(tables, {key: claims_of(*key, body) for key, body in kept.items()})
    now = tables.now()
    after = [Row(*key, revisions[key], body or {}, None, now) for key, body in changed.items()]
    tables.add_history([_describe_change(before.get(row.key), row, author) for row in after], keep=KEEP_ENTRIES)
    tables.trim_history(now - KEEP_S)


def _count_revisions(tables: Tables, before: t.Mapping[Key, Row], keys: t.Iterable[Key]) -> dict[Key, int]:
    # A name used again goes on counting, so that a revision remembered from its former life cannot match.
    last = tables.read_last_revisions([key for key in keys if key not in before])
    return {key: 1 + (before[key].revision if key in before else last.get(key, 0)) for key in keys}


def _differs(before: Row | None, body: Body | None) -> bool:
    # As texts, because 1 == 1.0 == True in Python, but not in a record.
    return to_text(before.body if before else None) != to_text(body)


def _take_claims(tables: Tables, wanted: t.Mapping[Key, set[str]]) -> None:
    holders = tables.read_claim_holders({claim for claims in wanted.values() for claim in claims})
    for key, claims in wanted.items():
        taken = claims & holders.keys()
        if taken:
            claim = min(taken)
            raise Conflict(describe_key(key), describe_claim(claim, holders[claim]), remedy="Choose another value.")
        holders.update(dict.fromkeys(claims, key))
    tables.write_claims(wanted)


def _list_tags(key: Key, body: Body) -> list[tuple[str, str]]:
    values = {tag: (value,) if isinstance(value, str) else value for tag, value in tags_of(key[0], body).items()}
    return [(tag, value) for tag, several in values.items() for value in several]


def _describe_change(before: Row | None, after: Row, author: Author) -> HistoryEntry:
    return HistoryEntry(
        at=after.updated_at,
        kind=after.kind,
        name=after.name,
        revision=after.revision,
        verb=author.verb,
        operation=author.operation,
        user=author.owner.user if author.owner else "",
        run=author.owner.run if author.owner else "",
        changes=diff(before.body if before else {}, after.body),
    )


def _check_body(key: Key, body: Body) -> Body:
    _check_kind(key[0])
    if not key[1] or not isinstance(key[1], str):
        raise InvalidRequest(key[0], "has no name", remedy="Give it one.")
    if not isinstance(body, t.Mapping):
        raise InvalidRequest(describe_key(key), "its record is not a dictionary", remedy="Give a dictionary.")
    try:
        plain: Body = to_plain(body)
    except InvalidRequest as exc:
        raise InvalidRequest(f"{describe_key(key)}, {exc.subject}", exc.problem, remedy=exc.remedy) from exc
    return plain


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidRequest("catalog", f"there is no kind {kind!r}", remedy=f"Use one of: {', '.join(KINDS)}.")


def _to_values(value: TagQuery) -> list[str]:
    return [str(value)] if isinstance(value, (str, int)) else [str(item) for item in value]

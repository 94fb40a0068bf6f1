# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases and the journal of operations over any store's tables. Private to this collection; may change without notice.

An object is marked by the operation that holds it. An operation whose outcome nobody knows (its owner is dead, its
lease over, or it was taken over on another object) goes on marking its objects until the next ``begin`` finds it there
and reports it as recovered: only then does somebody look at what it left behind.
"""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ...module_utils._core.errors import Conflict, InvalidRequest
from .changes import KEEP_S
from .json import to_plain
from .objects import Body, Key, Lease, Operation, Owner, Row, describe_key
from .owner import is_certainly_dead
from .records import Author, check_revision, describe_author, raise_not_found, write_records
from .tables import Tables


@dataclasses.dataclass(frozen=True)
class Request:
    """What an operation wants to hold, and on whose behalf."""

    verb: str
    targets: t.Sequence[Key]
    owner: Owner
    intent: Body
    expected: t.Mapping[Key, int]
    lease_s: float
    alongside: frozenset[str]


class _Holds(t.NamedTuple):
    recovered: list[str]
    outer: str | None


def begin_operation(tables: Tables, request: Request) -> Operation:
    """Lease all targets for a new operation, or raise Conflict; what is in the way but dead is taken over."""
    if not request.targets:
        raise InvalidRequest(request.verb, "has no target", remedy="Name at least one object.")
    for outer in sorted(request.alongside):
        _require_running(tables, outer)  # what is a part of something that was taken over comes too late as well
    rows, journal = _require_rows(tables, request.targets), _Journal(tables)
    holds = {key: _examine_target(tables, row, request, journal) for key, row in rows.items()}
    recovered = sorted({operation_id for hold in holds.values() for operation_id in hold.recovered})
    now = tables.now()
    for operation_id in recovered:
        tables.update_operation(operation_id, "failed", now)
    operation = Operation(
        id=str(uuid.uuid4()),
        verb=request.verb,
        state="running",
        owner=request.owner,
        intent=to_plain(request.intent),
        targets=list(holds),
        since=now,
        until=now + request.lease_s,
        recovered=recovered,
    )
    tables.add_operation(operation, {key: hold.outer for key, hold in holds.items()})
    tables.mark_objects(dict.fromkeys(holds, operation.id))
    tables.trim_operations(now - KEEP_S)
    return operation


def renew_operation(tables: Tables, operation_id: str, lease_s: float) -> Operation:
    """Prolong a lease that its operation still has."""
    operation = _require_running(tables, operation_id)
    until = tables.now() + lease_s
    tables.update_operation(operation_id, "running", until)
    return dataclasses.replace(operation, until=until)


def commit_operation(
    tables: Tables,
    operation_id: str,
    bodies: t.Mapping[Key, Body | None],
    *,
    errors: t.Mapping[Key, Body],
    close: bool,
) -> dict[Key, Row | None]:
    """Write what an operation made of its targets and release them."""
    operation = _require_running(tables, operation_id)
    outer = tables.read_outer(operation_id)
    rows = _require_rows(tables, {**bodies, **errors})
    for row in rows.values():
        _require_held(operation, row)
    failed = {key: {**(bodies.get(key) or rows[key].body), "last_error": error} for key, error in errors.items()}
    wanted = {**bodies, **failed}
    write_records(tables, wanted, Author(operation.verb, operation.owner, operation_id))
    released = [key for key in outer if close or key in wanted]
    _release(tables, operation_id, {key: outer[key] for key in released})
    if close or not _list_held(tables, operation_id, outer):
        tables.update_operation(operation_id, "failed" if errors else "done", tables.now())
    present = tables.read_some(wanted)
    return {key: present.get(key) for key in wanted}


def abort_operation(tables: Tables, operation_id: str) -> None:
    """Release an operation's targets unchanged, unless it is over already."""
    operation = tables.read_operation(operation_id)
    if operation is None or operation.state != "running":
        return
    _release(tables, operation_id, tables.read_outer(operation_id))
    tables.update_operation(operation_id, "failed", tables.now())


def refuse_foreign_lease(tables: Tables, row: Row | None, owner: Owner | None, alongside: t.Collection[str]) -> None:
    """Raise Conflict when a living operation of somebody else holds the object."""
    lease = row.lease if row else None
    if row is None or lease is None or lease.operation in alongside or lease.owner == owner:
        return
    if _Journal(tables).is_alive(lease.operation):
        raise _held_by(row.key, lease)


def refuse_unsettled(tables: Tables, seen_at: t.Mapping[Key, float], owner: Owner) -> None:
    """Raise Conflict when somebody else is at work on one of these objects, or when it changed since it was seen."""
    rows = tables.read_some(seen_at)
    for key in seen_at:
        refuse_foreign_lease(tables, rows.get(key), owner, ())
    for key, moment in seen_at.items():
        _refuse_changed(tables, key, rows.get(key), moment)


def refuse_outdated(tables: Tables, keys: t.Collection[Key], moment: float) -> None:
    """Raise Conflict when one of these objects was changed after the moment, or somebody began to be at work on it."""
    rows, journal = tables.read_some(keys), _Journal(tables)
    for key in keys:
        row = rows.get(key)
        lease = row.lease if row else None
        if lease is not None and lease.since > moment and journal.is_alive(lease.operation):
            raise _held_by(key, lease)
        _refuse_changed(tables, key, row, moment)


def _refuse_changed(tables: Tables, key: Key, row: Row | None, moment: float) -> None:
    if _read_change(tables, key, row) > moment:
        raise Conflict(
            describe_key(key),
            f"was changed by {describe_author(tables, key)}, after this run had looked at it",
            remedy="Run the play again.",
        )


def refuse_running(tables: Tables) -> None:
    """Raise Conflict when anything is busy."""
    journal = _Journal(tables)
    for operation in tables.read_operations("running"):
        if journal.is_alive(operation.id):
            raise _held_by(operation.targets[0], operation.to_lease())


class _Journal:
    """Operations as they are when they are first looked at, each read once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._now = tables.now()
        self._operations: dict[str, Operation | None] = {}
        self._outer: dict[str, dict[Key, str | None]] = {}
        self._alive: dict[str, bool] = {}

    def read(self, operation_id: str) -> Operation | None:
        if operation_id not in self._operations:
            self._operations[operation_id] = self._tables.read_operation(operation_id)
        return self._operations[operation_id]

    def get_outer(self, operation_id: str, key: Key) -> str | None:
        if operation_id not in self._outer:
            self._outer[operation_id] = self._tables.read_outer(operation_id)
        return self._outer[operation_id].get(key)

    def is_alive(self, operation_id: str) -> bool:
        if operation_id not in self._alive:
            self._alive[operation_id] = self._examine(self.read(operation_id))
        return self._alive[operation_id]

    def _examine(self, operation: Operation | None) -> bool:
        if operation is None or operation.state != "running" or operation.until < self._now:
            return False
        return not is_certainly_dead(operation.owner)


def _require_rows(tables: Tables, keys: t.Collection[Key]) -> dict[Key, Row]:
    rows = tables.read_some(keys)
    for key in keys:
        if key not in rows:
            raise_not_found(key)
    return {key: rows[key] for key in keys}


def _examine_target(tables: Tables, row: Row, request: Request, journal: _Journal) -> _Holds:
    check_revision(tables, row.key, row, request.expected.get(row.key))
    recovered: list[str] = []
    holder = row.lease.operation if row.lease else None
    while holder is not None and holder not in request.alongside:
        operation = journal.read(holder)
        if operation is not None and journal.is_alive(holder):
            raise _held_by(row.key, operation.to_lease())
        recovered.append(holder)
        holder = journal.get_outer(holder, row.key)
    return _Holds(recovered, holder)


def _read_change(tables: Tables, key: Key, row: Row | None) -> float:
    """Return when an object was changed or deleted; 0 when there never was one of this name."""
    if row is not None:
        return row.updated_at
    return max((entry.at for entry in tables.read_history(key, 1)), default=0.0)


def _held_by(key: Key, lease: Lease) -> Conflict:
    return Conflict(
        describe_key(key),
        f"is busy: {lease.describe()}",
        remedy="Wait until that has ended, then run the play again.",
        holder=lease.to_record(),
    )


def _require_running(tables: Tables, operation_id: str) -> Operation:
    operation = tables.read_operation(operation_id)
    if operation is None:
        raise Conflict(f"operation {operation_id}", "is not in the journal", remedy="Run the play again.")
    if operation.state != "running":
        raise Conflict(
            f"{operation.verb} by {operation.owner.describe()}",
            f"is over ({operation.state}): {_describe_end(tables, operation_id)}",
            remedy="Its outcome is looked at by the next run; run the play again.",
        )
    return operation


def _describe_end(tables: Tables, operation_id: str) -> str:
    heirs = [operation for operation in tables.read_operations(None) if operation_id in operation.recovered]
    if not heirs:
        return "it was ended before"
    return f"its lease ran out or its process was gone, and {heirs[0].verb} by {heirs[0].owner.describe()} took over"


def _require_held(operation: Operation, row: Row) -> None:
    if row.lease is None or row.lease.operation != operation.id:
        holder = row.lease.describe() if row.lease else "nobody"
        raise Conflict(
            describe_key(row.key),
            f"is not held by this {operation.verb} but by {holder}",
            remedy="Run the play again.",
            holder=row.lease.to_record() if row.lease else None,
        )


def _release(tables: Tables, operation_id: str, outer: t.Mapping[Key, str | None]) -> None:
    journal = _Journal(tables)
    held = _list_held(tables, operation_id, outer)
    tables.mark_objects({key: _find_unsettled(journal, key, outer[key]) for key in held})


def _find_unsettled(journal: _Journal, key: Key, operation_id: str | None) -> str | None:
    """Return the innermost operation, from this one outwards, that still has to do with the object."""
    while operation_id is not None:
        operation = journal.read(operation_id)
        if operation is not None and operation.state != "done":
            return operation_id
        operation_id = journal.get_outer(operation_id, key)
    return None


def _list_held(tables: Tables, operation_id: str, outer: t.Collection[Key]) -> list[Key]:
    rows = tables.read_some(outer).values()
    return [row.key for row in rows if row.lease and row.lease.operation == operation_id]

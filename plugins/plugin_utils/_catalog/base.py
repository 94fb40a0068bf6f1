# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all catalogs have in common, whatever keeps them. Private to this collection; may change without notice."""

from __future__ import annotations

import abc
import contextlib
import typing as t

from ...module_utils._core.errors import InvalidRequest
from . import leasing, records
from .json import from_text, to_plain, to_text
from .objects import Body, HistoryEntry, Key, Operation, Owner, Row
from .store import Bodies, TagQuery
from .tables import Tables
from .transaction import Transaction

T = t.TypeVar("T")


class BaseCatalog(abc.ABC):
    """A catalog over any store that can give its tables for reading and for writing."""

    @abc.abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[Tables | None]:
        """Return a context with the tables to read from; None while there is no store."""

    @abc.abstractmethod
    def writing(self) -> contextlib.AbstractContextManager[Tables]:
        """Return a context with the tables in one transaction, which ends with it: committed, or undone by an error."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close what this process holds open."""

    def write(self, work: t.Callable[[Tables], T]) -> T:
        """Return what the work makes of the tables, in a transaction of its own."""
        with self.writing() as tables:
            return work(tables)

    @contextlib.contextmanager
    def snapshot(self) -> t.Iterator[None]:
        """Return a context in which several reads share what the first one costs."""
        with self.reading():
            yield

    @property
    def uuid(self) -> str:
        """Return the id made with this catalog; empty when nothing is there yet."""
        with self.reading() as tables:
            return tables.read_setting("uuid") if tables else ""

    def now(self) -> float:
        """Return the store's clock, in seconds since 1970; 0 while there is no store."""
        with self.reading() as tables:
            return tables.now() if tables else 0.0

    def get(self, kind: str, name: str) -> Row | None:
        """Return the object's row, or None."""
        with self.reading() as tables:
            return records.read_row(tables, kind, name) if tables else None

    def require(self, kind: str, name: str) -> Row:
        """Return the object's row, or raise NotFound."""
        row = self.get(kind, name)
        return row or records.raise_not_found((kind, name))

    def get_some(self, keys: t.Collection[Key]) -> dict[Key, Row]:
        """Return those of these objects that are there."""
        with self.reading() as tables:
            return tables.read_some(keys) if tables else {}

    def find(self, kind: str, **tags: TagQuery) -> list[Row]:
        """Return the rows that have all these tags, sorted by name."""
        query = records.check_query(kind, tags)
        with self.reading() as tables:
            return tables.read_objects(kind, query) if tables else []

    def history(self, kind: str, name: str, limit: int = 50) -> list[HistoryEntry]:
        """Return the changes of an object, newest first; also of a deleted one."""
        with self.reading() as tables:
            return tables.read_history((kind, name), limit) if tables else []

    def find_changed(self, since: float) -> list[Key]:
        """Return the keys of what was changed since a moment, also of what is deleted by now."""
        with self.reading() as tables:
            return tables.read_changed(since) if tables else []

    def operations(self, state: str | None = None) -> list[Operation]:
        """Return the journalled operations, oldest first."""
        with self.reading() as tables:
            return tables.read_operations(state) if tables else []

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[Transaction]:
        """Return a context in which all writes happen, or none."""
        with self.writing() as tables:
            yield Transaction(tables)

    def begin(
        self,
        verb: str,
        targets: t.Sequence[Key],
        *,
        owner: Owner,
        intent: Body | None = None,
        expected: t.Mapping[Key, int] | None = None,
        lease_s: float = 60,
        alongside: t.Collection[str] = (),
    ) -> Operation:
        """Lease all targets and journal the intent, in a transaction of its own."""
        request = leasing.Request(verb, targets, owner, intent or {}, expected or {}, lease_s, frozenset(alongside))
        return self.write(lambda tables: leasing.begin_operation(tables, request))

    def renew(self, operation_id: str, lease_s: float) -> Operation:
        """Prolong the lease; raise Conflict when the operation has been taken over or has ended."""
        return self.write(lambda tables: leasing.renew_operation(tables, operation_id, lease_s))

    def commit(
        self,
        operation_id: str,
        bodies: Bodies,
        *,
        errors: t.Mapping[Key, Body] | None = None,
        close: bool = True,
    ) -> dict[Key, Row | None]:
        """Write the new records with their history and release these objects; only the present holder can."""
        return self.write(
            lambda tables: leasing.commit_operation(tables, operation_id, bodies, errors=errors or {}, close=close)
        )

    def abort(self, operation_id: str) -> None:
        """Release all targets unchanged; does nothing when the operation is over already."""
        self.write(lambda tables: leasing.abort_operation(tables, operation_id))

    def facts_get(self, host: str) -> dict[str, t.Any]:
        """Return the host's plain facts, empty when there are none."""
        return {key: from_text(text) for key, text in self._read_fact_texts(host).items()}

    def facts_set(self, host: str, facts: t.Mapping[str, t.Any]) -> None:
        """Write the top-level keys that changed; the others stay as they are, whoever wrote them."""
        wanted = {str(key): to_text(to_plain(value, str(key))) for key, value in facts.items()}
        present = self._read_fact_texts(host)
        changed = {key: text for key, text in wanted.items() if present.get(key) != text}
        if changed:
            self.write(lambda tables: tables.write_facts(host, changed))

    def facts_delete(self, host: str) -> None:
        """Delete the host's plain facts."""
        if self._read_fact_texts(host):
            self.write(lambda tables: tables.delete_facts(host))

    def facts_hosts(self) -> list[str]:
        """Return the hosts that have plain facts."""
        with self.reading() as tables:
            return tables.read_fact_hosts() if tables else []

    def _read_fact_texts(self, host: str) -> dict[str, str]:
        if not host:
            raise InvalidRequest("facts", "the host has no name", remedy="Give one.")
        with self.reading() as tables:
            return tables.read_facts(host) if tables else {}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users see of an object: machine, clone, master and deployment joined. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .index import tags_of
from .objects import Body, Key, Row
from .store import Reading


@dataclasses.dataclass(frozen=True)
class View:
    """A server (or a machine, clone or master by itself) with all that belongs to it, as far as there is any."""

    kind: str
    name: str
    machine: Row | None = None
    clone: Row | None = None
    master: Row | None = None
    deployment: Row | None = None

    @property
    def address(self) -> str | None:
        """Return the first address of the machine."""
        nics = _body(self.machine).get("nics") or []
        return next((str(nic["address"]) for nic in nics if nic.get("address")), None)

    @property
    def state(self) -> str:
        """Return the stage of the clone; a master's own state; ``free`` for a machine without a clone."""
        if self.clone is not None:
            return str(self.clone.body.get("stage"))
        if self.machine is not None:
            return "free"
        return str(_body(self.master).get("state"))

    @property
    def provider(self) -> str | None:
        """Return the provider of the machine, else of the clone."""
        provider: str | None = _body(self.machine).get("provider") or _body(self.clone).get("provider")
        return provider

    @property
    def master_name(self) -> str | None:
        """Return the name of the master, also when its row is gone."""
        name: str | None = self.master.name if self.master else _body(self.clone).get("master")
        return name

    @property
    def deployment_name(self) -> str | None:
        """Return the deployment that the server belongs to."""
        name: str | None = _body(self.machine).get("deployment")
        return name

    @property
    def function(self) -> str | None:
        """Return what the server is for."""
        function: str | None = self._from_master("function")
        return function

    @property
    def version(self) -> int | None:
        """Return the version of the master."""
        version = self._from_master("version")
        return None if version is None else int(version)

    def to_facts(self) -> Body:
        """Return the view as it stands in ``ansible_facts.encompass``."""
        return {
            "kind": self.kind,
            "server": _body(self.machine).get("server"),
            "function": self.function,
            "deployment": self.deployment_name,
            "master": self.master_name,
            "version": self.version,
            "machine": _pick(self.machine, "name", "cpus", "memory_mib", "virt_type", "uuid", "nics"),
            "clone": _pick(self.clone, "name", "stage", "metastate", "method", "pool", "identity"),
            "provider": self.provider,
            "address": self.address,
            "state": self.state,
            "ready": _body(self.clone).get("ready") or _body(self.machine).get("ready"),
        }

    @property
    def variables(self) -> Body:
        """Return the host variables given with the deployment, under those given with the machine."""
        spec = _body(self.deployment).get("spec") or {}
        return {**(spec.get("vars") or {}), **(_body(self.machine).get("vars") or {})}

    def get_field(self, field: str) -> t.Any:
        """Return one of ``FIELDS``, which are there to group and filter by; None without a value."""
        return FIELDS[field](self)

    def _from_master(self, tag: str) -> t.Any:
        if self.master is not None:
            return self.master.body.get(tag)
        return tags_of("clone", self.clone.body).get(tag) if self.clone else None


FIELDS: t.Mapping[str, t.Callable[[View], t.Any]] = {
    "function": lambda view: view.function,
    "version": lambda view: view.version,
    "deployment": lambda view: view.deployment_name,
    "master": lambda view: view.master_name,
    "provider": lambda view: view.provider,
    "state": lambda view: view.state,
    "server": lambda view: _body(view.machine).get("server"),
    "machine": lambda view: view.machine.name if view.machine else None,
    "clone": lambda view: view.clone.name if view.clone else None,
    "pool": lambda view: _body(view.clone).get("pool"),
    "metastate": lambda view: _body(view.clone).get("metastate"),
}


def project(catalog: Reading, host: str) -> View | None:
    """Return the server of this name; failing that the machine, clone or master of this name; failing that None."""
    servers = catalog.find("machine", server=host)
    if servers:
        return _view_machine(catalog.get, "server", servers[0])
    for kind, make_view in _VIEWS.items():
        row = catalog.get(kind, host)
        if row is not None:
            return make_view(catalog.get, kind, row)
    return None


def project_all(catalog: Reading, kind: str) -> list[View]:
    """Return all objects of ``server``, ``machine``, ``clone`` or ``master``, with one query per kind of row.

    A server is a machine that has a server's name and a clone.
    """
    rows = {row.key: row for part in ("master", "clone", "machine", "deployment") for row in catalog.find(part)}
    if kind == "server":
        machines = [row for row in rows.values() if row.kind == "machine" and row.body.get("server")]
        return [_view_machine(_reader(rows), kind, row) for row in machines if row.body.get("clone")]
    return [_VIEWS[kind](_reader(rows), kind, row) for row in rows.values() if row.kind == kind]


def list_names(catalog: Reading) -> set[str]:
    """Return every name for which there is a view."""
    machines = catalog.find("machine")
    servers = {row.body["server"] for row in machines if row.body.get("server")}
    return {row.name for kind in ("clone", "master") for row in catalog.find(kind)}.union(
        servers, (row.name for row in machines)
    )


_Read = t.Callable[[str, str], t.Optional[Row]]


def _reader(rows: t.Mapping[Key, Row]) -> _Read:
    return lambda kind, name: rows.get((kind, name))


def _view_machine(read: _Read, kind: str, machine: Row) -> View:
    clone = _find(read, "clone", machine.body.get("clone"))
    return View(
        kind=kind,
        name=machine.body["server"] if kind == "server" else machine.name,
        machine=machine,
        clone=clone,
        master=_find(read, "master", _body(clone).get("master")),
        deployment=_find(read, "deployment", machine.body.get("deployment")),
    )


def _view_clone(read: _Read, kind: str, clone: Row) -> View:
    return View(
        kind=kind,
        name=clone.name,
        machine=_find(read, "machine", clone.body.get("machine")),
        clone=clone,
        master=_find(read, "master", clone.body.get("master")),
    )


def _view_master(_read: _Read, kind: str, master: Row) -> View:
    return View(kind=kind, name=master.name, master=master)


_VIEWS: t.Mapping[str, t.Callable[[_Read, str, Row], View]] = {
    "machine": _view_machine,
    "clone": _view_clone,
    "master": _view_master,
}


def _find(read: _Read, kind: str, name: str | None) -> Row | None:
    return read(kind, name) if name else None


def _body(row: Row | None) -> Body:
    return row.body if row else {}


def _pick(row: Row | None, *fields: str) -> Body | None:
    return {"name": row.name, **{field: row.body.get(field) for field in fields if field != "name"}} if row else None

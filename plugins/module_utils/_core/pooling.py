# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a directory a pool: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from .errors import Conflict, InvalidRequest
from .markup import add_element, parse_document, render_document
from .pool_layout import LAYOUT, check_object_name, check_pool_path
from .provider import PoolSeen
from .steps import Step


@dataclasses.dataclass(frozen=True)
class PoolRequest:
    """What is asked for one pool."""

    name: str
    path: str
    shared: bool = False

    @property
    def subject(self) -> str:
        """Return the pool as errors name it."""
        return f"pool {self.name}"


@dataclasses.dataclass(frozen=True)
class PoolPlaceSeen:
    """The pool of that name, another pool at that path, and the permissions of its directories (None: not there)."""

    pool: PoolSeen | None
    modes: t.Mapping[str, int | None]
    neighbour: str = ""


@dataclasses.dataclass(frozen=True)
class MakeDirectory:
    """Make the directory, or give it these permissions."""

    path: str
    mode: int
    exists: bool = False

    def describe(self) -> str:
        """Return the step in words."""
        return f"{'set the mode of' if self.exists else 'make'} directory {self.path} ({self.mode:04o})"


@dataclasses.dataclass(frozen=True)
class DefinePool:
    """Define the pool."""

    name: str
    path: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"define pool {self.name} at {self.path}"


@dataclasses.dataclass(frozen=True)
class StartPool:
    """Bring the pool up, now and whenever the provider starts."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"start pool {self.name}, now and with the host"


def read_pool(options: t.Mapping[str, t.Any]) -> PoolRequest:
    """Return the pool that the options ask for."""
    subject, path = f"pool {options['name']}", options["path"]
    check_object_name(subject, options["name"])
    check_pool_path(subject, path)
    return PoolRequest(options["name"], path.rstrip("/"), bool(options.get("shared")))


def plan_pool(item: PoolRequest, seen: PoolPlaceSeen) -> list[Step]:
    """Return the steps that make the pool. Raises :class:`Conflict` when its name or its path is another pool's."""
    _require_free(item, seen)
    steps: list[Step] = []
    for below, mode in LAYOUT.items():
        path = item.path + below
        present = seen.modes.get(path)
        # A directory that somebody made for the pool keeps its mode as far as it can.
        wanted = mode if present is None or below else present | 0o111
        if present != wanted:
            steps.append(MakeDirectory(path, wanted, exists=present is not None))
    if seen.pool is None:
        steps.append(DefinePool(item.name, item.path))
    if seen.pool is None or not (seen.pool.active and seen.pool.autostart):
        steps.append(StartPool(item.name))
    return steps


def _require_free(item: PoolRequest, seen: PoolPlaceSeen) -> None:
    pool = seen.pool
    if pool is not None and (pool.type, pool.path) != ("dir", item.path):
        raise Conflict(
            item.subject,
            f"the provider has a pool of this name of type {pool.type} at {pool.path or 'no path'}, not at {item.path}",
            remedy="Give the pool another name, or that path.",
        )
    if seen.neighbour:
        raise Conflict(
            item.subject,
            f"{item.path} is already the pool {seen.neighbour}",
            remedy="Use that name, or another directory.",
        )
    if item.path in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - named to be refused
        raise InvalidRequest(item.subject, f"{item.path} is emptied by others", remedy="Use a directory of its own.")


def render_pool_xml(name: str, path: str) -> str:
    """Return libvirt's definition of a directory pool."""
    root = ET.Element("pool", {"type": "dir"})
    add_element(root, "name", name)
    add_element(add_element(root, "target"), "path", path)
    return render_document(root, subject=f"pool {name}")


def parse_pool_xml(text: str) -> tuple[str, str, str]:
    """Return a pool's name, type and path; the path is empty for a pool that has none."""
    root = parse_document(text, subject="a pool")
    return root.findtext("name", ""), root.get("type", ""), root.findtext("target/path", "")


def report_pool(item: PoolRequest) -> dict[str, t.Any]:
    """Return the pool's record."""
    return {"pool": item.name, "type": "dir", "path": item.path, "shared": item.shared}


def diff_pool(item: PoolRequest, seen: PoolPlaceSeen) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the directories' modes and the pool's state before and after."""
    before = {path: None if mode is None else f"{mode:04o}" for path, mode in seen.modes.items()}
    after = dict(before)
    for step in plan_pool(item, seen):
        if isinstance(step, MakeDirectory):
            after[step.path] = f"{step.mode:04o}"
    state = "not there" if seen.pool is None else "active" if seen.pool.active else "inactive"
    return {"directories": before, "pool": state}, {"directories": after, "pool": "active"}

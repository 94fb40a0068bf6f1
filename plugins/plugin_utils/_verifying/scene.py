# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog and the providers side by side, as verify looks at them. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from .findings import Body

Bodies = t.Mapping[str, Body]
Key = tuple[str, str]
Place = tuple[str, str]
"""A file for certain: (provider, path), the provider empty for a pool that several share."""


@dataclasses.dataclass
class Scene:
    """What the catalog says and what discover saw; what a living operation is at work on is not judged."""

    catalog_uuid: str
    records: t.Mapping[str, Bodies]
    """By kind and name."""
    seen: Bodies
    """By provider what discover returned; providers that were not reached are left out."""
    busy: t.AbstractSet[Key] = frozenset()
    stale: t.Sequence[str] = ()
    """Operations whose lease is over, in words."""
    remembers: t.Callable[[Key], bool] = lambda _key: False
    """Whether the catalog ever had an object. What it never had may be another catalog's in the same pool."""

    def rows(self, kind: str) -> t.Iterator[tuple[str, Body]]:
        """Yield the name and record of each object of a kind that nobody is at work on."""
        for name, body in sorted(self.records[kind].items()):
            if (kind, name) not in self.busy:
                yield name, body

    def is_settled(self, machine: str) -> bool:
        """Tell whether nobody is at work on a machine or its clone."""
        clone = (self.records["machine"].get(machine) or {}).get("clone")
        return not {("machine", machine), ("clone", clone)} & self.busy

    @functools.cached_property
    def machines_gone(self) -> set[str]:
        """The machines that were deleted since the providers were asked; nobody knows any more which cards they had."""
        return {name for kind, name in self.busy if kind == "machine" and name not in self.records[kind]}

    @functools.cached_property
    def pools(self) -> t.Mapping[str, Bodies]:
        """The usable pools, by provider and name."""
        return {
            name: {pool["name"]: pool for pool in seen["pools"] if pool["usable"]} for name, seen in self.seen.items()
        }

    @functools.cached_property
    def domains(self) -> t.Mapping[str, Bodies]:
        """The domains, by provider and name."""
        return {name: {domain["name"]: domain for domain in seen["domains"]} for name, seen in self.seen.items()}

    @functools.cached_property
    def networks(self) -> t.Mapping[str, Bodies]:
        """The active networks, by provider and name."""
        return {
            name: {network["name"]: network for network in seen["networks"] if network["active"]}
            for name, seen in self.seen.items()
        }

    @functools.cached_property
    def files(self) -> t.Mapping[Place, Body]:
        """What was seen of clones' volumes, data volumes and masters, each file once."""
        return {
            self.locate(name, entry["path"]): {**entry, "provider": name, "sort": sort}
            for name, seen in self.seen.items()
            for sort in ("volumes", "data", "masters")
            for entry in seen[sort]
        }

    @functools.cached_property
    def owners(self) -> t.Mapping[Place, list[Key]]:
        """Which records say that a file is theirs."""
        found: dict[Place, list[Key]] = {}
        for name, body in self.records["clone"].items():
            for volume in body["volumes"]:
                found.setdefault(self.place_of(body, volume["path"]), []).append(("clone", name))
        for name, body in self.records["volume"].items():
            found.setdefault(self.place_of(body, body["path"]), []).append(("volume", name))
        return found

    @functools.cached_property
    def users(self) -> t.Mapping[Place, list[tuple[str, Body]]]:
        """Which domains have a file as a disk, each with its provider."""
        found: dict[Place, list[tuple[str, Body]]] = {}
        for provider, domains in self.domains.items():
            for domain in domains.values():
                for path in domain["disks"]:
                    found.setdefault(self.locate(provider, path), []).append((provider, domain))
        return found

    def find_pool(self, provider: str, path: str) -> Body | None:
        """Return the usable pool of a provider that a path is in."""
        pools = self.pools.get(provider, {}).values()
        return next((pool for pool in pools if path.startswith(f"{pool['path']}/")), None)

    def locate(self, provider: str, path: str) -> Place:
        """Return what tells a file from all others: shared pools are seen by several providers."""
        pool = self.find_pool(provider, path)
        return ("", path) if pool is not None and pool["shared"] else (provider, path)

    def place_of(self, body: Body, path: str) -> Place:
        """Return the same for a file that a record tells of, whose provider may not have been reached."""
        pool = self.records["pool"].get(body["pool"])
        return ("" if pool is not None and pool["shared"] else body["provider"], path)

    def is_looked_at(self, body: Body, path: str) -> bool:
        """Tell whether a file that a record tells of would have been seen if it were there."""
        provider = self.place_of(body, path)[0]
        return any(self.find_pool(name, path) for name in ([provider] if provider else self.pools))

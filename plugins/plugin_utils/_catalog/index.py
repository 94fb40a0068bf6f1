# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object can be found by, and what only one object may have. Private to this collection; pure.

Whoever changes these rules adds a migration that rebuilds the index of the stored objects.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .objects import Body, Key

TAGS: t.Mapping[str, tuple[str, ...]] = {
    "master": ("function", "version", "state"),
    "clone": ("function", "version", "master", "provider", "pool", "stage", "metastate", "machine"),
    "machine": ("provider", "server", "deployment", "clone"),
    "pool": ("pool", "provider"),
    "provider": ("virt_type", "arch"),
    "deployment": ("function", "version"),
    "function": (),
    "profile": (),
    "volume": ("server", "deployment", "provider", "pool", "stage"),
}
"""Per kind the tags that ``find`` accepts."""

_MASTER_NAME = re.compile(r"(?P<function>.+)-v(?P<version>\d+)")

Tags = dict[str, t.Union[str, tuple[str, ...]]]


def tags_of(kind: str, body: Body) -> Tags:
    """Return the tags of an object that have a value; a pool has as many providers as reach it."""
    found = {tag: body.get(tag) for tag in TAGS[kind]}
    derive = _TAGS_BEYOND_FIELDS.get(kind)
    if derive:
        found.update(derive(body))
    return {tag: _to_tag(value) for tag, value in found.items() if value not in (None, "", [])}


def claims_of(kind: str, _name: str, body: Body) -> set[str]:
    """Return what no other object of the catalog may have at the same time."""
    find_claims = {"machine": _claims_of_machine, "clone": _claims_of_clone, "volume": _claims_of_volume}.get(kind)
    return set(find_claims(body)) if find_claims else set()


def describe_claim(claim: str, holder: Key) -> str:
    """Return who has what somebody else wants."""
    sort, _colon, value = claim.partition(":")
    return f"{sort.replace('-', ' ')} {value} belongs to {holder[0]} {holder[1]}"


def _to_tag(value: t.Any) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(str(item) for item in value)
    return str(value)


def _tags_from_master_name(body: Body) -> Body:
    parts = _MASTER_NAME.fullmatch(str(body.get("master") or ""))
    return {tag: body.get(tag, value) for tag, value in parts.groupdict().items()} if parts else {}


def _tags_of_pool(body: Body) -> Body:
    return {"provider": list(body.get("providers") or [])}


def _tags_of_deployment(body: Body) -> Body:
    spec = body.get("spec") or {}
    return {"function": spec.get("function"), "version": spec.get("version")}


_TAGS_BEYOND_FIELDS: t.Mapping[str, t.Callable[[Body], Body]] = {
    "clone": _tags_from_master_name,
    "pool": _tags_of_pool,
    "deployment": _tags_of_deployment,
}


def _claims_of_machine(body: Body) -> t.Iterator[str]:
    for nic in body.get("nics") or []:
        if nic.get("mac"):
            yield f"mac:{str(nic['mac']).lower()}"
        if nic.get("address"):
            yield f"address:{_normalize_address(str(nic['address']))}"
    if body.get("server"):
        yield f"server:{body['server']}"
    if body.get("uuid"):
        yield f"uuid:{str(body['uuid']).lower()}"
    if body.get("clone"):
        yield f"clone-on-machine:{body['clone']}"


def _claims_of_clone(body: Body) -> t.Iterator[str]:
    for volume in body.get("volumes") or []:
        yield from _claims_of_volume({**body, "path": volume.get("path")})
    identity = body.get("identity") or {}
    if identity.get("machine_id"):
        yield f"machine-id:{identity['machine_id']}"
    for fingerprint in (identity.get("host_keys") or {}).values():
        yield f"host-key:{fingerprint}"


def _claims_of_volume(body: Body) -> t.Iterator[str]:
    # On a shared pool the same path is the same volume from every provider.
    place = body.get("pool") if body.get("pool_shared") else body.get("provider")
    if body.get("path"):
        yield f"volume:{place}:{body['path']}"


def _normalize_address(address: str) -> str:
    try:
        return str(ipaddress.ip_interface(address).ip)
    except ValueError:
        return address

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which master a function means, and which inputs it asks for. Pure; private to this collection."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

from ...module_utils._core.errors import InvalidRequest
from .rendering import RENDERED
from .request import CURRENT, DeploymentRequest
from .versions import UNPROVEN, USABLE, find_current

Body = t.Mapping[str, t.Any]


def master_name(function: str, version: int) -> str:
    """Return the name of a master."""
    return f"{function}-v{version}"


def describe_volumes(record: Body) -> list[dict[str, t.Any]]:
    """Return a master's volumes as its record has them, from what the module reports."""
    keys = ("name", "digest", "format", "virtual_bytes", "allocated_bytes", "source")
    return [{key: volume[key] for key in keys} for volume in record["volumes"]]


def describe_replica(record: Body, *, provider: str, pool: str) -> dict[str, t.Any]:
    """Return where a provider has a master's volumes, as the master's record has it."""
    places = {volume["name"]: {key: volume[key] for key in ("path", "fingerprint")} for volume in record["volumes"]}
    return {"provider": provider, "pool": pool, "volumes": places}


def list_contents(volumes: t.Iterable[Body]) -> list[tuple[str, str]]:
    """Return what makes two masters the same: the names of the volumes and the digests of what they hold."""
    return [(volume["name"], volume["digest"]) for volume in volumes]


def require_master(request: DeploymentRequest, masters: t.Mapping[str, Body], functions: t.Mapping[str, Body]) -> str:
    """Return the name of the master that a deployment asks for.

    One that is deprecated or has yet to prove itself is had by its number alone.
    """
    subject = f"deployment {request.name}"
    versions = {
        body["version"]: name
        for name, body in masters.items()
        if body["function"] == request.function and body["state"] in (*USABLE, UNPROVEN)
    }
    if not versions:
        known = sorted({body["function"] for body in masters.values() if body["state"] == "available"})
        raise InvalidRequest(
            subject,
            f"no master serves the function {request.function}",
            remedy=f"The library has {', '.join(known) or 'no masters'}; add one with encompass.images.add_master.",
        )
    follows = request.version == CURRENT
    wanted = find_current(request.function, masters, functions) if follows else request.version
    have = ", ".join(str(version) for version in sorted(versions))
    if wanted is None:
        raise InvalidRequest(
            subject,
            f"{request.function} has no current version: all it has ({have}) are deprecated",
            remedy="Add a version, make one available again, or give the deployment a version.",
        )
    if wanted not in versions:
        raise InvalidRequest(subject, f"{request.function} has no version {wanted} (it has {have})")
    return versions[t.cast(int, wanted)]


def complete_inputs(subject: str, master: Body, given: Body) -> dict[str, t.Any]:
    """Return the inputs with the master's defaults; refuse unknown ones and missing required ones."""
    declared = {entry["name"]: entry for entry in master.get("inputs") or ()}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise InvalidRequest(
            subject,
            f"the master takes no input {unknown[0]}",
            remedy=f"Its inputs are {', '.join(sorted(declared)) or 'none'}.",
        )
    inputs: dict[str, t.Any] = {}
    for name, entry in declared.items():
        value = given.get(name, entry.get("default"))
        if value is None and entry.get("required"):
            raise InvalidRequest(
                subject,
                f"the input {name} is required: {entry.get('prompt') or entry.get('description') or 'no default'}",
            )
        inputs[name] = value
    return inputs


def split_secrets(master: Body, inputs: Body) -> tuple[dict[str, t.Any], list[str]]:
    """Return (what may be stored, the names of the secrets that were given)."""
    secret = {entry["name"] for entry in master.get("inputs") or () if entry.get("secret")}
    plain = {name: value for name, value in inputs.items() if name not in secret}
    return plain, sorted(name for name in secret if inputs.get(name) is not None)


def digest_items(master: Body, inputs: Body, server: Body) -> list[dict[str, str]]:
    """Return ``{name, digest}`` of each customization item as it would be applied.

    A digest covers the item, the inputs that may be stored and the server's facts: never a secret, for a digest
    of a short secret gives it away. Hence a changed secret alone does not show.
    """
    plain, given = split_secrets(master, inputs)
    return [
        {
            "name": item["name"],
            "digest": _digest([item, *(_select_used(item, part) for part in (plain, given, server))]),
        }
        for item in master.get("items") or ()
    ]


def _select_used(item: Body, values: Body | t.Sequence[str]) -> t.Any:
    """Return those of the values (or names) that an item's templates name, so that others do not change its digest."""
    texts = " ".join(str(item.get(field) or "") for field in RENDERED.get(item["type"], ()))
    words = set(re.findall(r"[A-Za-z_]\w*", texts))
    if isinstance(values, t.Mapping):
        return {name: value for name, value in values.items() if name in words}
    return [name for name in values if name in words]


def _digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a master that was captured from a clone. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

from ...module_utils._core.errors import Conflict, InvalidRequest
from .masters import describe_replica, describe_volumes, list_contents, master_name
from .versions import UNPROVEN, choose_number

Body = t.Mapping[str, t.Any]

_PROVED_BY = ("cpus", "memory_mib", "pool", "ready", "inputs")
IMPORTING = "importing"


def choose_master(clone_name: str, parent: Body, masters: t.Mapping[str, Body], functions: t.Mapping[str, Body]) -> str:
    """Return the name of the master that a clone becomes: the one it began to become, else the next version."""
    family = {name: body for name, body in masters.items() if body["function"] == parent["function"]}
    begun = [name for name, body in family.items() if body.get("captured_from") == clone_name]
    return begun[0] if begun else master_name(parent["function"], choose_number(parent["function"], masters, functions))


def draft_master(
    clone_name: str, clone: Body, parent: Body, *, server: str | None, version: int, current: bool
) -> dict[str, t.Any]:
    """Return the record of a master that is yet to be captured; all but its content is its parent's."""
    return {
        "function": parent["function"],
        "version": version,
        "state": IMPORTING,
        "volumes": [],
        "items": parent["items"],
        "inputs": parent["inputs"],
        "replicas": [],
        "parent": clone["master"],
        "captured_from": clone_name,
        "captured_server": server,
        "becomes_current": current,
    }


def can_prove_itself(master: Body) -> bool:
    """Tell whether a server of the master would tell whether it works; what check mode has planned has no content."""
    return master["state"] == UNPROVEN and all(volume["digest"] for volume in master["volumes"])


def name_donor(donor: Body) -> str:
    """Return what a donor is called, as ``captured_from`` has it."""
    return f"domain {donor['domain']}" if donor.get("domain") else f"host {donor.get('ssh')}"


def select_donors(donors: t.Sequence[Body], provider: str) -> list[dict[str, t.Any]]:
    """Return the donors that are a provider's to take, as the module there knows them."""
    own = (donor for donor in donors if (donor.get("provider") or provider) == provider)
    return [{key: value for key, value in donor.items() if key != "provider"} for donor in own]


def draft_donation(donor: Body, *, current: bool) -> tuple[str, dict[str, t.Any]]:
    """Return the name and the record of a master that is yet to be made of a machine that is not ours."""
    is_named = bool(donor.get("domain")) != bool(donor.get("ssh"))
    if not is_named or not donor.get("function") or not str(donor.get("version", 1)).isdigit():
        raise InvalidRequest(
            "donor", f"it is declared as {dict(donor)}", remedy="Give domain or ssh, function, version."
        )
    version = int(donor.get("version", 1))
    body = {
        "function": donor["function"],
        "version": version,
        "state": IMPORTING,
        "volumes": [],
        "items": [],
        "inputs": [],
        "replicas": [],
        "captured_from": name_donor(donor),
        "becomes_current": current,
    }
    return master_name(donor["function"], version), body


def complete_master(draft: Body, record: Body, *, provider: str, pool: str) -> dict[str, t.Any]:
    """Return the record of a captured master from what the module reports; it has yet to be published."""
    volumes = describe_volumes(record)
    if draft["volumes"] and list_contents(draft["volumes"]) != list_contents(volumes):
        raise Conflict(
            f"capture of {draft['captured_from']}", "its master is registered with another content than the pool has"
        )
    if draft["volumes"]:
        return dict(draft)
    return {
        **draft,
        **{key: record[key] for key in ("hardware", "software", "layout", "source")},
        "state": UNPROVEN,
        "packages": record.get("packages"),
        "volumes": volumes,
        "replicas": [describe_replica(record, provider=provider, pool=pool)],
        "captured": record["captured"],
    }


def is_proof_of(spec: Body, master: Body) -> bool:
    """Tell whether a deployment is one by which the master proves itself, not another one that has its name by now."""
    return spec.get("count") == 1 and all(spec.get(key) == master[key] for key in ("function", "version"))


def plan_proof(master: Body, spec: Body, wanted: Body) -> dict[str, t.Any]:
    """Return the deployment of one server that a master proves itself by.

    It is asked for what the server in maintenance was asked for (``spec``), but for what is ``wanted`` otherwise; a
    fixed address still belongs to that server.
    """
    networks = {"networks": [network["name"] for network in spec["networks"]]} if spec.get("networks") else {}
    kept = {key: spec[key] for key in _PROVED_BY if spec.get(key) is not None}
    stem = re.sub("[^a-z0-9-]", "-", str(master["function"]).lower())[:34].rstrip("-")
    return {
        **kept,
        **networks,
        "name": f"{stem}-proof",
        **wanted,
        "function": master["function"],
        "version": master["version"],
        "count": 1,
    }

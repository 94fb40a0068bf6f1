# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records that planning makes, as the catalog will hold them. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.clone_methods import choose_method, estimate_bytes
from ...module_utils._core.clone_types import Base, CloneRequest, CloneSeen, VolumeRequest
from ...module_utils._core.lifecycle import INITIAL
from ...module_utils._core.pool_layout import Pool
from .masters import split_secrets
from .plans import Body
from .request import DeploymentRequest


def new_clone_record(*, master: str, provider: str, pool: str, method: str, machine_id: str) -> Body:
    """Return the record of a clone that is planned and does not exist yet."""
    return {
        "master": master,
        "provider": provider,
        "pool": pool,
        "directory": None,
        "metastate": INITIAL.metastate.value,
        "stage": INITIAL.stage.value,
        "method": method,
        "reason": None,
        "machine": None,
        "turn": None,
        "machine_id": machine_id.replace("-", ""),
        "volumes": [],
        "customization": None,
        "identity": None,
        "seed": None,
        "last_error": None,
    }


def forget_content(clone: Body) -> Body:
    """Return the record of a clone whose volumes are lost, with all that they held."""
    return {**clone, "volumes": [], "customization": None, "identity": None, "seed": None}


def describe_server(name: str, machine: Body, master: Body) -> dict[str, t.Any]:
    """Return the facts of a server that customization may use, given its machine's name and record, and its master."""
    nics = machine["nics"]
    return {
        "server_name": machine["server"],
        "machine_name": name,
        "deployment_name": machine["deployment"],
        "function": master["function"],
        "provider": machine["provider"],
        "address": nics[0]["address"] if nics else None,
        "mac": nics[0]["mac"] if nics else None,
    }


def new_machine_record(request: DeploymentRequest, server: str, clone: str, master: Body, **facts: t.Any) -> Body:
    """Return the record of a machine made for one server; ``facts``: provider, uuid, virt_type, nics."""
    hardware = master["hardware"]
    return {
        "server": server,
        "deployment": request.name,
        "function": request.function,
        "clone": clone,
        "arch": hardware["arch"],
        "firmware": hardware["firmware"],
        "cpus": request.cpus,
        "memory_mib": request.memory_mib,
        "ready": dataclasses.asdict(request.ready) if request.ready else None,
        "stop_timeout_s": request.stop_timeout_s,
        **facts,
    }


def new_deployment_record(request: DeploymentRequest, master: Body, inputs: Body) -> Body:
    """Return the record of a deployment; of secret inputs only the names."""
    plain, given = split_secrets(master, inputs)
    spec = {**dataclasses.asdict(request), "inputs": plain, "secrets_given": given}
    spec["networks"] = [{**network, "addresses": list(network["addresses"])} for network in spec["networks"]]
    spec["providers"] = list(request.providers)
    spec["data"] = list(spec["data"])
    return {"function": request.function, "spec": spec, "members": request.servers}


def estimate_clone(name: str, master: Body, method: str, pool_seen: t.Mapping[str, t.Any]) -> tuple[str, str, int]:
    """Return (method, why, bytes it takes when new) for a clone of a master; ``pool_seen`` as discover tells it."""
    pool = Pool(pool_seen["path"])
    volumes = tuple(
        VolumeRequest(
            volume["name"],
            Base(pool.master_file(volume["digest"]), volume["format"], volume["digest"]),
            virtual_bytes=volume["virtual_bytes"],
            allocated_bytes=volume["allocated_bytes"],
        )
        for volume in master["volumes"]
    )
    request = CloneRequest(name, "", pool, volumes, method, bool(pool_seen["reflink"]))
    nothing_yet = CloneSeen(exists=False, volumes={}, bases={}, free_bytes=pool_seen["available_bytes"])
    choice = choose_method(request, nothing_yet)
    return choice.method, choice.reason, estimate_bytes(request, nothing_yet)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where machines are that went to other providers, and where something of them may be left. Pure; private to this
collection.
"""

from __future__ import annotations

import typing as t

from ...module_utils._core.migration import relocate
from .ledger import Ledger
from .plans import Body
from .world import ProviderView

_NOWHERE = ""


def move_machine(machine: Body, to: str) -> Body:
    """Return the record of a machine that is at another provider from now on."""
    also_on = {*(machine.get("also_on") or ()), machine["provider"]} - {to}
    return {**machine, "provider": to, "moving_to": None, "also_on": sorted(also_on)}


def move_clone(clone: Body, to: str, pool_path: str, target_pool_path: str) -> Body:
    """Return the record of a clone that is at another provider from now on, in the pool of the same name."""

    def there(path: str | None) -> str | None:
        return relocate(path, pool_path, target_pool_path) if path else path

    volumes = [
        {
            **volume,
            "path": there(volume["path"]),
            "backing": {**volume["backing"], "path": there(volume["backing"]["path"])}
            if volume.get("backing")
            else None,
        }
        for volume in clone["volumes"]
    ]
    moved = {**clone, "provider": to, "directory": there(clone["directory"]), "volumes": volumes, "last_error": None}
    return {**moved, "seed": there(clone["seed"])}


def move_volume(volume: Body, to: str, pools: t.Mapping[str, str]) -> Body:
    """Return the record of a data volume whose server is at another provider; ``pools``: path here to path there.

    What is in a pool that both reach stays where it is.
    """
    path = volume["path"]
    found = next((pool for pool in pools if path.startswith(f"{pool}/")), "")
    if found and not volume["pool_shared"]:
        path = relocate(path, found, pools[found])
    return {**volume, "provider": to, "path": path}


def locate_machines(ledger: Ledger) -> None:
    """Bring the records of machines up to date whose migration was cut off, before anything is planned for them.

    Each is written with its deployment's plan, so that a migration of others that is under way is left alone.

    libvirt lets a domain run on one side only. Where it is gone from its own provider it may run at the other one; as
    long as that was not looked at, the machine counts as being there, and is left alone.
    """
    for name, machine in list(ledger.snapshot.machines.items()):
        at = _find_machine(ledger, name, machine)
        if at is None:
            continue
        if at == _NOWHERE:
            # Seen here a moment after it left, and there a moment before it came? The next look tells.
            ledger.note(str(machine["deployment"]), "machine", name, {**machine, "moving_to": None})
            at = f"between {machine['provider']} and {machine['moving_to']}"
        if at not in ledger.views:
            ledger.snapshot.machines[name] = {**machine, "provider": at}  # for this plan only: it makes it wait
            continue
        for clone_name, clone in list(ledger.snapshot.clones.items()):
            if clone["machine"] == name and clone["provider"] == machine["provider"]:
                _follow(ledger, name, clone_name, at)
        _take_data(ledger, machine, at)
        ledger.note(str(machine["deployment"]), "machine", name, move_machine(machine, at))


def _find_machine(ledger: Ledger, name: str, machine: Body) -> str | None:
    """Return the provider on which a machine's domain is, or may be; None when there is no doubt about its record.

    ``_NOWHERE`` when it is neither where it was nor where it was going.
    """
    view, others = ledger.views.get(machine["provider"]), machine.get("also_on") or ()
    if not others or view is None:
        return None
    here = _find_domain(view, machine, name)
    there = {other: _find_domain(ledger.views[other], machine, name) for other in others if other in ledger.views}
    if here is not None and here["active"]:
        return None
    running = [other for other, domain in there.items() if domain is not None and domain["active"]]
    if running:
        return str(running[0])
    if here is not None or ledger.snapshot.clones[machine["clone"]]["stage"] != "active":
        return None
    present = [other for other, domain in there.items() if domain is not None]
    if present or machine.get("moving_to") not in others:
        return str(present[0]) if present else None
    return _NOWHERE if machine["moving_to"] in ledger.views else str(machine["moving_to"])


def _find_domain(view: ProviderView, machine: Body, name: str) -> t.Mapping[str, t.Any] | None:
    domain = view.domains.get(name)
    return domain if domain is not None and domain["uuid"] == machine["uuid"] else None


def _follow(ledger: Ledger, machine_name: str, name: str, to: str) -> None:
    """Have a clone's record follow its machine; one on standby only where its volumes are seen at the target."""
    machine, clone = ledger.snapshot.machines[machine_name], ledger.snapshot.clones[name]
    pools = [ledger.views[provider].pools.get(clone["pool"]) for provider in (clone["provider"], to)]
    if pools[0] is None or pools[1] is None:
        return
    moved = move_clone(clone, to, pools[0]["path"], pools[1]["path"])
    if name == machine["clone"] or all(pool["shared"] for pool in t.cast("list[Body]", pools)):
        ledger.note(str(machine["deployment"]), "clone", name, moved)


def _take_data(ledger: Ledger, machine: Body, to: str) -> None:
    """Have the records of a server's data volumes follow."""
    here, there = ledger.views[machine["provider"]].pools, ledger.views[to].pools
    pools = {pool["path"]: there[name]["path"] for name, pool in here.items() if name in there}
    for key, body in list(ledger.snapshot.volumes.items()):
        if (body["server"], body["provider"]) == (machine["server"], machine["provider"]):
            ledger.note(str(machine["deployment"]), "volume", key, move_volume(body, to, pools))


def list_vacated(ledger: Ledger, machine: str) -> tuple[str, ...]:
    """Return the providers that were seen and on which something of a machine that runs elsewhere may be left."""
    body = ledger.snapshot.machines[machine]
    return tuple(name for name in body.get("also_on") or () if name in ledger.views and name != body["provider"])

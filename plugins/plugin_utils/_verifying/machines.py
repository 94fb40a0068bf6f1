# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify looks for among domains and addresses. Pure; private to this collection."""

from __future__ import annotations

import typing as t

from ...module_utils._core.data_volumes import join_name
from .._planning.addresses import is_own_mac
from .findings import Body, Finding
from .scene import Scene

_ATTACHED = ("attached", "active")
_HAS_ADDRESS = ("assigned", *_ATTACHED)


def check_machines(scene: Scene) -> t.Iterator[Finding]:
    """Hold each machine against the domain and the addresses that its provider shows."""
    for name, machine in scene.rows("machine"):
        clone = scene.records["clone"].get(machine["clone"])
        if clone is None or not scene.is_settled(name):
            continue
        yield from _check_elsewhere(scene, name, machine)
        if machine["provider"] in scene.seen:
            yield from _check_domain(scene, name, machine, clone)
            yield from _check_cards(scene, name, machine, clone)


def _check_domain(scene: Scene, name: str, machine: Body, clone: Body) -> t.Iterator[Finding]:
    provider, subject = machine["provider"], f"machine {name}"
    domain, attached = scene.domains[provider].get(name), clone["stage"] in _ATTACHED
    if domain is None:
        if attached:
            yield Finding("domain_missing", subject, f"it is {clone['stage']}, and its domain is gone", provider)
        return
    if domain["uuid"] != machine["uuid"]:
        problem = f"a domain of that name has the UUID {domain['uuid']}"
        yield Finding("domain_foreign", subject, problem, provider)
        return
    yield from _check_power(subject, clone, domain, provider)
    if attached or domain["active"]:
        yield from _compare_domain(scene, subject, machine, domain)


def _check_power(subject: str, clone: Body, domain: Body, provider: str) -> t.Iterator[Finding]:
    stage, active = clone["stage"], domain["active"]
    if active and stage != "active":
        yield Finding("domain_running", subject, f"it runs, and is {stage}", provider)
    elif stage == "active" and not active:
        yield Finding("domain_stopped", subject, "it is active, and does not run", provider)
    elif stage not in _ATTACHED:
        yield Finding("domain_left", subject, f"its domain is defined, and it is {stage}", provider)


def _compare_domain(scene: Scene, subject: str, machine: Body, domain: Body) -> t.Iterator[Finding]:
    provider, owner = machine["provider"], domain.get("machine_metadata")
    if not owner:
        yield Finding("domain_unmarked", subject, "its domain does not say whose it is any more", provider)
    elif owner.get("clone") not in (None, "", machine["clone"]):
        problem = f"its domain is defined for clone {owner['clone']} instead of {machine['clone']}"
        yield Finding("domain_of_other_clone", subject, problem, provider)
        return
    wanted = {
        "cpus": machine["cpus"],
        "memory_mib": machine["memory_mib"],
    }
    for key, value in wanted.items():
        if domain[key] != value:
            yield Finding("domain_size_differs", subject, f"{key} is {domain[key]} instead of {value}", provider)
    macs = sorted(nic["mac"].lower() for nic in machine["nics"])
    if sorted(mac.lower() for mac in domain["macs"]) != macs:
        problem = f"its cards are {', '.join(domain['macs']) or 'none'} instead of {', '.join(macs) or 'none'}"
        yield Finding("domain_macs_differ", subject, problem, provider)
    disks = list_disks(scene, machine)
    if set(domain["disks"]) != disks:
        changed = sorted(set(domain["disks"]) ^ disks)
        problem = "; ".join(f"{path} is {'missing' if path in disks else 'not its own'}" for path in changed)
        yield Finding("domain_disks_differ", subject, problem, provider)


def list_disks(scene: Scene, machine: Body) -> set[str]:
    """Return the files that a machine's domain should have as its disks."""
    clone = scene.records["clone"][machine["clone"]]
    data = [scene.records["volume"].get(join_name(machine["server"], name)) for name in machine.get("data") or ()]
    made = [body for body in data if body and body["stage"] == "available"]
    found = {volume["path"] for volume in (*clone["volumes"], *made)}
    return found | ({clone["seed"]} if clone.get("seed") else set())


def _check_elsewhere(scene: Scene, name: str, machine: Body) -> t.Iterator[Finding]:
    """Find the machine's domain on providers that it is not on."""
    here = scene.domains.get(machine["provider"], {}).get(name) or {}
    for provider, domains in sorted(scene.domains.items()):
        other = domains.get(name)
        if provider == machine["provider"] or other is None or other["uuid"] != machine["uuid"]:
            continue
        if other["active"]:
            both = f"and on {machine['provider']}" if here.get("active") else f"but it is on {machine['provider']}"
            yield Finding("domain_doubled", f"machine {name}", f"it runs on {provider}, {both}", provider)
        else:
            problem = f"it is on {machine['provider']}, and is still defined"
            yield Finding("domain_elsewhere", f"machine {name}", problem, provider)


def _check_cards(scene: Scene, name: str, machine: Body, clone: Body) -> t.Iterator[Finding]:
    provider, subject = machine["provider"], f"machine {name}"
    for nic in machine["nics"]:
        network = scene.networks[provider].get(nic["network"])
        if network is None:
            problem = f"its network {nic['network']} is not active"
            yield Finding("network_missing", subject, problem, provider)
            continue
        held = {host.get("address"): host for host in network.get("dhcp_hosts") or ()}.get(nic["address"])
        if held is None:
            if clone["stage"] in _HAS_ADDRESS:
                problem = f"{nic['address']} is not reserved for it on network {nic['network']}"
                yield Finding("reservation_missing", subject, problem, provider)
        elif held["mac"].lower() != nic["mac"].lower():
            problem = f"{nic['address']} on network {nic['network']} is reserved for {held['mac']}"
            yield Finding("reservation_taken", subject, problem, provider)


def check_domains(scene: Scene) -> t.Iterator[Finding]:
    """Find domains of this catalog that it does not know, and domains that share or borrow volumes."""
    known = {machine["uuid"] for machine in scene.records["machine"].values()}
    for provider, domains in sorted(scene.domains.items()):
        for name, domain in sorted(domains.items()):
            owner = domain.get("machine_metadata") or {}
            is_gone = owner.get("machine") in scene.machines_gone
            if owner.get("catalog") == scene.catalog_uuid and domain["uuid"] not in known and not is_gone:
                remains = {"type": "domain", "domain": name, "uuid": domain["uuid"]}
                problem = "it was made by this catalog, which has no such machine"
                yield Finding("domain_orphaned", f"domain {name}", problem, provider, remains=remains)
    for place, users in sorted(scene.users.items()):
        yield from _check_users(scene, place, users)


def _check_users(scene: Scene, place: tuple[str, str], users: t.Sequence[tuple[str, Body]]) -> t.Iterator[Finding]:
    path, entry = place[1], scene.files.get(place)
    subject = f"file {path}"
    if len({domain["uuid"] for _provider, domain in users}) > 1:
        names = " and ".join(sorted({f"{domain['name']} on {provider}" for provider, domain in users}))
        yield Finding("volume_doubled", subject, f"it is a disk of {names}", users[0][0])
    for provider, domain in users:
        if entry is not None and entry["sort"] == "masters":
            yield Finding("master_attached", subject, f"it is a disk of domain {domain['name']}", provider)
        elif place in scene.owners and not domain.get("machine_metadata") and not _is_ours(scene, domain):
            problem = f"it is a disk of domain {domain['name']}, which is not ours"
            yield Finding("volume_foreign", subject, problem, provider)


def _is_ours(scene: Scene, domain: Body) -> bool:
    return bool((scene.records["machine"].get(domain["name"]) or {}).get("uuid") == domain["uuid"])


def check_reservations(scene: Scene) -> t.Iterator[Finding]:
    """Find addresses that are reserved for machines which are elsewhere or gone."""
    machines = scene.records["machine"].items()
    cards = {nic["mac"].lower(): (name, body) for name, body in machines for nic in body["nics"]}
    for provider, networks in sorted(scene.networks.items()):
        for network in networks.values():
            for host in network.get("dhcp_hosts") or ():
                held = {"network": network["name"], **host}
                yield from _check_reservation(scene, provider, held, cards.get(host["mac"].lower()))


def _check_reservation(scene: Scene, provider: str, held: Body, holder: tuple[str, Body] | None) -> t.Iterator[Finding]:
    address, network = held.get("address") or "", held["network"]
    if holder is not None:
        name, machine = holder
        if machine["provider"] != provider and machine.get("moving_to") != provider and scene.is_settled(name):
            problem = f"{address} on network {network} is still reserved, but it is on {machine['provider']}"
            yield Finding("reservation_left", f"machine {name}", problem, provider)
    elif is_own_mac(scene.catalog_uuid, held["mac"], address) and not scene.machines_gone:
        remains = {"type": "reservation", "network": network, "mac": held["mac"], "address": address}
        problem = f"it is reserved for {held['mac']}, a card that this catalog once gave and has no more"
        subject = f"address {address} on network {network}"
        yield Finding("reservation_orphaned", subject, problem, provider, remains=remains)

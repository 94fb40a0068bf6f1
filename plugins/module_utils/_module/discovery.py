# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module ``discover`` sees on a provider. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing as t

from .._core.domain import ARCHES
from .._core.errors import EncompassError
from .._core.provider import DomainSeen, NetworkSeen, PoolSeen
from .._core.virt_type import VirtType, choose_virt_type
from .._drivers import directories, host_facts, image_files, volumes
from .._drivers.arp import find_neighbours
from .._drivers.libvirt import LibvirtHost, open_host
from .._drivers.virt_probe import prove_kvm
from .data_volumes import read_size

Record = dict[str, t.Any]


def discover(params: t.Mapping[str, t.Any]) -> Record:
    """Return all that the provider has, as the module's result."""
    with open_host(params["uri"], timeout_s=params["timeout_s"]) as host:
        pools = [_see_pool(entry, host.observe_pools().get(entry["name"])) for entry in params["pools"]]
        usable = [pool for pool in pools if pool["usable"]]
        asked = {entry["name"] for entry in params["networks"]}
        peers = {entry["name"]: entry["peers"] or () for entry in params["networks"]}
        networks = [
            _describe_network(seen, peers.get(name, ())) for name, seen in sorted(host.observe_networks().items())
        ]
        return {
            "provider": _see_provider(host, params),
            "pools": pools,
            "networks": [network for network in networks if not asked or network["name"] in asked],
            "domains": [_describe_domain(seen) for _name, seen in sorted(host.observe_domains().items())],
            "volumes": [volume for pool in usable for volume in _list_volumes(pool)],
            "masters": [master for pool in usable for master in _list_masters(pool)],
            "data": [volume for pool in usable for volume in _list_data(pool)],
            "staging": [entry for pool in usable for entry in _list_staging(pool)],
        }


def _see_provider(host: LibvirtHost, params: t.Mapping[str, t.Any]) -> Record:
    seen = host.describe_host()
    boot_id = host_facts.read_boot_id()
    emulator, firmwares = _see_guests(host, seen.arch)
    virt = _choose_virt(params, boot_id, emulator)
    return {
        "uri": params["uri"],
        "hostname": host_facts.read_hostname(),
        "arch": seen.arch,
        "cpus": seen.cpus,
        "memory_mib": seen.memory_mib,
        "cpu_model": seen.cpu_model,
        "cpu_features": list(seen.cpu_features),
        "virt_type": virt.name,
        "virt_reason": virt.reason,
        "virt_requested": virt.requested,
        "boot_id": boot_id,
        "firmwares": list(firmwares),
        "versions": {"libvirt": seen.libvirt_version, "qemu": seen.qemu_version},
        "lock_manager": host_facts.read_lock_manager(),
    }


def _choose_virt(params: t.Mapping[str, t.Any], boot_id: str, emulator: str) -> VirtType:
    return choose_virt_type(params["virt_type"], params["known"], boot_id, lambda: prove_kvm(emulator))


def _see_guests(host: LibvirtHost, arch: str) -> tuple[str, tuple[str, ...]]:
    """Return (emulator, firmwares) of emulated guests, which every host can have: KVM is not proved yet."""
    with contextlib.suppress(EncompassError):
        if arch in ARCHES:
            guests = host.describe_guests(arch, "qemu")
            return guests.emulator, guests.firmwares
    return "", ()


def _see_pool(asked: t.Mapping[str, t.Any], seen: PoolSeen | None) -> Record:
    """Return one of the pools that the provider shall have, and what keeps it from being used."""
    record: Record = {key: asked[key] for key in ("name", "type", "path", "shared")}
    record.update(filesystem="", reflink=False, capacity_bytes=0, available_bytes=0)
    problem = _find_problem(asked, seen)
    if not problem:
        file_system = directories.find_file_system(asked["path"])
        capacity_bytes, available_bytes = directories.measure_room(asked["path"])
        reflink = directories.can_reflink(asked["path"], file_system)
        record.update(filesystem=file_system, reflink=reflink)
        record.update(capacity_bytes=capacity_bytes, available_bytes=available_bytes)
    return {**record, "usable": not problem, "problem": problem or None}


def _find_problem(asked: t.Mapping[str, t.Any], seen: PoolSeen | None) -> str:
    path = asked["path"]
    lacking = volumes.find_lacking(path)
    problems = {
        "libvirt has no pool of this name": seen is None,
        f"libvirt has its pool of this name at {seen.path if seen else ''}": bool(seen and seen.path != path),
        "the pool is not started": bool(seen and not seen.active),
        f"{path} is not a directory": not pathlib.Path(path).is_dir(),
        f"{lacking}, which the role encompass.images.hypervisor makes, is not there; is all mounted?": bool(lacking),
    }
    return next((problem for problem, is_so in problems.items() if is_so), "")


def _describe_network(seen: NetworkSeen, peers: t.Sequence[str]) -> Record:
    network = seen.network
    reaches = find_neighbours(network.bridge, network.gateway, peers) if seen.active and network.spans else []
    return {
        "name": network.name,
        "active": seen.active,
        "mode": network.mode,
        "bridge": network.bridge,
        "subnet": network.subnet or None,
        "gateway": network.gateway or None,
        "dhcp_range": list(network.dhcp_range) or None,
        "dhcp_hosts": [dataclasses.asdict(held) for held in network.reservations],
        "spans": network.spans,
        "reaches": reaches,
    }


def _describe_domain(seen: DomainSeen) -> Record:
    domain = seen.domain
    return {
        "name": domain.name,
        "uuid": domain.uuid,
        "active": seen.active,
        "cpus": domain.cpus,
        "memory_mib": domain.memory_mib,
        "disks": [disk.path for disk in domain.disks],
        "disk_buses": [disk.bus for disk in domain.disks],
        "macs": [nic.mac for nic in domain.nics],
        "machine_metadata": dataclasses.asdict(domain.owner) if domain.owner else None,
    }


def _list_volumes(pool: Record) -> list[Record]:
    found = []
    for clone in volumes.list_clones(pool["path"]):
        subject = f"clone {clone}"
        listed = volumes.list_volumes(f"{pool['path']}/clones/{clone}", subject) or {}
        for name, path in listed.items():
            seen = image_files.see_file(path, subject)
            if seen is not None:
                record = {"clone": clone, "name": name, "path": path, "allocated_bytes": seen.allocated_bytes}
                found.append({**record, **_read_image(path, subject)})
    return found


def _read_image(path: str, subject: str) -> Record:
    """Return what an image says of itself; nothing of one that cannot be read."""
    facts: Record = {"format": None, "virtual_bytes": 0, "backing_path": ""}
    with contextlib.suppress(EncompassError):
        header = image_files.read_header(path, subject)
        if not header.corrupt:
            facts.update(format=header.format, virtual_bytes=header.virtual_bytes, backing_path=header.backing_file)
    return facts


def _list_staging(pool: Record) -> list[Record]:
    return [{"pool": pool["name"], **entry} for entry in volumes.list_staging(pool["path"])]


def _list_data(pool: Record) -> list[Record]:
    found = []
    for name, path in volumes.list_data(pool["path"]):
        subject = f"volume {name}"
        seen = image_files.see_file(path, subject)
        if seen is None:
            continue
        record = {"name": name, "path": path, "pool": pool["name"], "allocated_bytes": seen.allocated_bytes}
        virtual_bytes = 0  # what cannot be read is there all the same; whoever wants to use it is told why not
        with contextlib.suppress(EncompassError):
            virtual_bytes, _depends_on = read_size(path, path.rpartition(".")[2], seen.size_bytes, subject)
        found.append({**record, "virtual_bytes": virtual_bytes})
    return found


def _list_masters(pool: Record) -> list[Record]:
    found = []
    for path in sorted(pathlib.Path(pool["path"], "masters").glob("*.qcow2")):
        seen = image_files.see_file(str(path), f"master {path.stem}")
        if seen is not None:
            found.append(
                {"digest": path.stem, "path": str(path), "fingerprint": seen.fingerprint, "pool": pool["name"]}
            )
    return found

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains to and from libvirt's XML. Private to this collection; may change without notice."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from .domain import Disk, Domain, Layer, Nic, Ownership
from .markup import add_element, attributes_at, parse_document, render_document, require_child

NAMESPACE = "urn:encompass-images:machine:1"
_PREFIX = "encompass"
_TARGETS = {"virtio": "vd", "scsi": "sd", "sata": "sd"}
_BYTES = {"b": 1, "bytes": 1, "KB": 1000, "k": 1024, "KiB": 1024, "MB": 1000**2, "M": 1024**2, "MiB": 1024**2}
_BYTES.update({"GB": 1000**3, "G": 1024**3, "GiB": 1024**3, "TB": 1000**4, "T": 1024**4, "TiB": 1024**4})

ET.register_namespace(_PREFIX, NAMESPACE)


def render_domain_xml(domain: Domain) -> str:
    """Return the definition that makes libvirt's domain equal to ours."""
    root = ET.Element("domain", {"type": domain.virt_type})
    add_element(root, "name", domain.name)
    add_element(root, "uuid", domain.uuid)
    if domain.owner is not None:
        _add_metadata(root, domain.owner)
    add_element(root, "memory", domain.memory_mib, unit="MiB")
    add_element(root, "vcpu", domain.cpus, placement="static")
    _add_firmware(root, domain)
    _add_features(root, domain)
    _add_cpu(root, domain)
    add_element(root, "clock", offset="utc")
    _add_devices(add_element(root, "devices"), domain)
    return render_document(root, subject=domain.subject)


def _add_metadata(root: ET.Element, owner: Ownership) -> None:
    tag = f"{{{NAMESPACE}}}machine"
    names = {"catalog": owner.catalog, "machine": owner.machine, "server": owner.server, "clone": owner.clone}
    add_element(add_element(root, "metadata"), tag, None, **names)


def _add_firmware(root: ET.Element, domain: Domain) -> None:
    # libvirt itself picks the firmware image and makes the variable store of each machine.
    system = add_element(root, "os", firmware="efi" if domain.firmware == "uefi" else None)
    add_element(system, "type", "hvm", arch=domain.arch, machine="q35")
    if domain.firmware == "uefi":
        # A master may carry a boot loader that nobody signed.
        add_element(add_element(system, "firmware"), "feature", enabled="no", name="secure-boot")


def _add_features(root: ET.Element, domain: Domain) -> None:
    features = add_element(root, "features")
    add_element(features, "acpi")
    add_element(features, "apic")
    if domain.virt_type == "qemu":
        # TCG would take up to 1 GiB for translated code, whatever the guest's size; a quarter of its memory is enough.
        size_mib = min(512, max(32, domain.memory_mib // 4))
        add_element(add_element(features, "tcg"), "tb-cache", size_mib, unit="MiB")


def _add_cpu(root: ET.Element, domain: Domain) -> None:
    if domain.virt_type == "kvm":
        # A named model with the host's features: as fast as the host's own CPU, yet visible to a later migration,
        # which host-passthrough is not.
        add_element(root, "cpu", mode="host-model", check="partial")
        return
    # TCG emulates the same CPU on every host. Nehalem is x86-64-v2, which today's distributions need and qemu64 is not.
    # Without check: QEMU's TCG lacks Nehalem's VME, which no such guest uses.
    cpu = add_element(root, "cpu", mode="custom", match="exact", check="none")
    add_element(cpu, "model", "Nehalem", fallback="forbid")


def _add_devices(devices: ET.Element, domain: Domain) -> None:
    targets = _name_targets(domain.disks)
    for disk, target in zip(domain.disks, targets):
        _add_disk(devices, disk, target)
    if any(disk.bus == "scsi" for disk in domain.disks):
        add_element(devices, "controller", type="scsi", index=0, model="virtio-scsi")
    add_element(devices, "controller", type="usb", model="none")
    for nic in domain.nics:
        _add_nic(devices, nic)
    serial = add_element(devices, "serial", type="pty")
    add_element(serial, "log", file=domain.console_log, append="on")
    add_element(serial, "target", port=0)
    add_element(add_element(devices, "console", type="pty"), "target", type="serial", port=0)
    add_element(add_element(devices, "channel", type="unix"), "target", type="virtio", name="org.qemu.guest_agent.0")
    add_element(add_element(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    # What a guest frees goes back to the host without anybody asking for it.
    add_element(devices, "memballoon", model="virtio", freePageReporting="on")


def _name_targets(disks: t.Sequence[Disk]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for disk in disks:
        prefix = _TARGETS[disk.bus]
        names.append(prefix + _letters(counts.get(prefix, 0)))
        counts[prefix] = counts.get(prefix, 0) + 1
    return names


def _letters(index: int) -> str:
    """Return a, b, ... z, aa, ab, ... as Linux names its disks."""
    name = chr(ord("a") + index % 26)
    return name if index < 26 else _letters(index // 26 - 1) + name


def _add_disk(devices: ET.Element, disk: Disk, target: str) -> None:
    element = add_element(devices, "disk", type="file", device=disk.device)
    # A guest that meets a full or broken pool is paused and can go on later; an error would damage its file system.
    add_element(
        element,
        "driver",
        name="qemu",
        type=disk.format,
        error_policy="stop",
        rerror_policy="stop",
        discard=None if disk.read_only else "unmap",
    )
    add_element(element, "source", file=disk.path)
    below = element
    for layer in disk.backing:
        below = add_element(below, "backingStore", type="file")
        add_element(below, "format", type=layer.format)
        source = add_element(below, "source", file=layer.path)
        # libvirt would make the hypervisor's user the owner of a master's file, for ever.
        add_element(source, "seclabel", model="dac", relabel="no")
    # The empty element ends the chain: without it libvirt would go on by probing the images, which a guest can forge.
    add_element(below, "backingStore")
    add_element(element, "target", dev=target, bus=disk.bus)
    if disk.boot:
        # By itself, libvirt would take the first disk of the bus that it likes best.
        add_element(element, "boot", order=1)
    if disk.read_only:
        add_element(element, "readonly")
    if disk.serial:
        add_element(element, "serial", disk.serial)


def _add_nic(devices: ET.Element, nic: Nic) -> None:
    element = add_element(devices, "interface", type="network")
    add_element(element, "mac", address=nic.mac)
    add_element(element, "source", network=nic.network)
    add_element(element, "model", type="virtio")
    # Nothing boots from the network here, and the option ROM costs a second per card.
    add_element(element, "rom", enabled="no")


def parse_domain_xml(text: str) -> Domain:
    """Return what a definition says in our own terms, whoever wrote it."""
    root = parse_document(text, subject="a domain")
    name = root.findtext("name", "")
    subject = f"domain {name}"
    machine = require_child(root, "os/type", subject=subject)
    return Domain(
        name=name,
        uuid=root.findtext("uuid", ""),
        arch=machine.get("arch", ""),
        firmware=_parse_firmware(root),
        virt_type=root.get("type", ""),
        cpus=int(require_child(root, "vcpu", subject=subject).text or 0),
        memory_mib=_parse_mib(require_child(root, "memory", subject=subject)),
        disks=tuple(_parse_disk(element) for element in root.iterfind("devices/disk") if _source_of(element)),
        nics=tuple(_parse_nic(element) for element in root.iterfind("devices/interface")),
        owner=_parse_metadata(root),
    )


def list_disk_targets(text: str, paths: t.Collection[str]) -> list[str]:
    """Return what a definition of libvirt's calls the disks of these files (vda)."""
    disks = parse_document(text, subject="a domain").iterfind("devices/disk")
    return [attributes_at(element, "target")["dev"] for element in disks if _source_of(element) in paths]


def relocate_domain_xml(text: str, moves: t.Mapping[str, str]) -> str:
    """Return a definition of libvirt's with its disks' files in other directories: ``{directory: other directory}``."""
    root = parse_document(text, subject="a domain")
    for source in root.iterfind("devices/disk//source[@file]"):
        path = source.get("file", "")
        for before, after in moves.items():
            if path.startswith(f"{before}/"):
                source.set("file", after + path[len(before) :])
                break
    return render_document(root, subject=f"domain {root.findtext('name', '')}")


def _parse_firmware(root: ET.Element) -> str:
    is_uefi = (
        attributes_at(root, "os").get("firmware") == "efi" or attributes_at(root, "os/loader").get("type") == "pflash"
    )
    return "uefi" if is_uefi else "bios"


def _parse_mib(memory: ET.Element) -> int:
    return int(memory.text or 0) * _BYTES[memory.get("unit", "KiB")] // 1024**2


def _source_of(element: ET.Element) -> str:
    """Return the file, device or remote name of a disk or layer; empty for a drive without a medium."""
    source = attributes_at(element, "source")
    return source.get("file") or source.get("dev") or source.get("name") or source.get("volume") or ""


def _parse_disk(element: ET.Element) -> Disk:
    return Disk(
        path=_source_of(element),
        format=attributes_at(element, "driver").get("type", ""),
        bus=attributes_at(element, "target").get("bus", ""),
        serial=element.findtext("serial", ""),
        device=element.get("device", "disk"),
        boot=attributes_at(element, "boot").get("order") == "1",
        read_only=element.find("readonly") is not None,
        backing=tuple(_parse_chain(element)),
    )


def _parse_chain(element: ET.Element) -> t.Iterator[Layer]:
    below = element.find("backingStore")
    while below is not None and _source_of(below):
        yield Layer(_source_of(below), attributes_at(below, "format").get("type", ""))
        below = below.find("backingStore")


def _parse_nic(element: ET.Element) -> Nic:
    source = attributes_at(element, "source")
    network = source.get("network") or source.get("bridge") or source.get("dev") or ""
    return Nic(network, attributes_at(element, "mac").get("address", "").lower())


def _parse_metadata(root: ET.Element) -> Ownership | None:
    found = root.find(f"metadata/{{{NAMESPACE}}}machine")
    if found is None:
        return None
    return Ownership(
        found.get("catalog", ""), found.get("machine", ""), found.get("server", ""), found.get("clone", "")
    )

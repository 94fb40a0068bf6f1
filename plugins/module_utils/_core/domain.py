# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as a libvirt domain: typed records. Private to this collection; may change without notice.

Every field is something that we set, and only these are compared with what is defined: addresses, controllers,
aliases and defaults that libvirt fills in are its own business.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid as uuids

from .errors import InvalidRequest

ARCHES = ("x86_64",)
FIRMWARES = ("bios", "uefi")
VIRT_TYPES = ("kvm", "qemu")
DISK_BUSES = ("virtio", "scsi", "sata")
SERIAL_MAX_CHARS = 20  # VIRTIO_BLK_ID_BYTES; a longer serial is cut, and then two disks may look alike

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One image of a backing chain."""

    path: str
    format: str


@dataclasses.dataclass(frozen=True)
class Disk:
    """A volume as the machine sees it; ``backing`` is the whole chain below it, nearest first."""

    path: str
    format: str
    bus: str = "virtio"
    serial: str = ""
    device: str = "disk"
    boot: bool = False
    read_only: bool = False
    backing: tuple[Layer, ...] = ()


@dataclasses.dataclass(frozen=True)
class Nic:
    """A network card on a network of the provider."""

    network: str
    mac: str


@dataclasses.dataclass(frozen=True)
class Ownership:
    """Whose machine it is: left in the domain's metadata, so that a host can be read without the catalog."""

    catalog: str
    machine: str
    server: str = ""
    clone: str = ""


@dataclasses.dataclass(frozen=True)
class Domain:
    """All that we say about a machine. ``owner`` is None for a domain that is not ours."""

    name: str
    uuid: str
    arch: str
    firmware: str
    virt_type: str
    cpus: int
    memory_mib: int
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    owner: Ownership | None = None

    @property
    def subject(self) -> str:
        """Return the machine as errors name it."""
        return f"machine {self.name}"

    @property
    def console_log(self) -> str:
        """Return the file on the provider that keeps what the serial console printed."""
        return console_log_of(self.name)


def console_log_of(name: str) -> str:
    """Return where a machine's serial console is logged; libvirt's own log directory is open to its log daemon."""
    return f"/var/log/libvirt/qemu/{name}-console.log"


def list_differences(wanted: Domain, seen: Domain) -> tuple[str, ...]:
    """Return the names of the fields in which two domains differ."""
    one, other = _group_disks(wanted), _group_disks(seen)
    fields = [field.name for field in dataclasses.fields(Domain)]
    return tuple(name for name in fields if getattr(one, name) != getattr(other, name))


def _group_disks(domain: Domain) -> Domain:
    """Return the domain with its disks by bus, as libvirt lists them; among one bus their order counts."""
    return dataclasses.replace(domain, disks=tuple(sorted(domain.disks, key=lambda disk: disk.bus)))


def read_domain(options: t.Mapping[str, t.Any]) -> Domain:
    """Return the domain that a machine's options ask for; refuse what no domain can be."""
    name = str(options["name"])
    disks = [read_disk(name, entry, boot=not index) for index, entry in enumerate(options.get("disks") or ())]
    if options.get("seed"):
        disks.append(make_seed_disk(str(options["seed"]), bus=disks[0].bus if disks else "virtio"))
    wanted = Domain(
        name=name,
        uuid=str(options["uuid"]).lower(),
        arch=options["arch"],
        firmware=options["firmware"],
        virt_type=options["virt_type"],
        cpus=int(options["cpus"]),
        memory_mib=int(options["memory_mib"]),
        disks=tuple(disks),
        nics=tuple(Nic(str(nic["network"]), str(nic["mac"]).lower()) for nic in options.get("nics") or ()),
        owner=Ownership(
            catalog=options.get("catalog") or "",
            machine=name,
            server=options.get("server") or "",
            clone=options.get("clone") or "",
        ),
    )
    check_domain(wanted)
    return wanted


def read_disk(machine: str, entry: t.Mapping[str, t.Any], *, boot: bool) -> Disk:
    """Return one disk from a machine's options."""
    if len(entry.get("serial") or "") > SERIAL_MAX_CHARS:
        raise InvalidRequest(
            f"machine {machine}", f"the disk serial {entry['serial']} has more than {SERIAL_MAX_CHARS} characters"
        )
    return Disk(
        path=str(entry["path"]),
        format=str(entry["format"]),
        bus=entry.get("bus") or "virtio",
        serial=entry.get("serial") or "",
        boot=boot,
        backing=tuple(Layer(str(layer["path"]), str(layer["format"])) for layer in entry.get("backing") or ()),
    )


def make_seed_disk(path: str, *, bus: str) -> Disk:
    """Return the NoCloud disk, on the bus that the guest boots from, since it surely has a driver for that one.

    A SATA hard disk cannot be read-only in QEMU, so there it is a CD-ROM.
    """
    return Disk(path, "raw", bus=bus, device="cdrom" if bus == "sata" else "disk", read_only=True)


def check_domain(wanted: Domain) -> None:
    """Raise :class:`InvalidRequest` for what no hypervisor could make of it."""
    problems = {
        "its name must be letters, digits, '.', '_' and '-', at most 63": not _NAME.match(wanted.name),
        f"its UUID {wanted.uuid!r} is none": not _is_uuid(wanted.uuid),
        f"arch {wanted.arch} is not one of {', '.join(ARCHES)}": wanted.arch not in ARCHES,
        "it needs at least one CPU": wanted.cpus < 1,
        "it needs at least 16 MiB of memory": wanted.memory_mib < 16,
        "it has no disk": not wanted.disks,
        "every disk and backing file needs an absolute path": not all(p.startswith("/") for p in _paths_of(wanted)),
        "two of its disks are the same file": len({disk.path for disk in wanted.disks}) < len(wanted.disks),
        "a MAC address of it is none": not all(_MAC.match(nic.mac) for nic in wanted.nics),
    }
    for problem, is_so in problems.items():
        if is_so:
            raise InvalidRequest(wanted.subject, problem)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuids.UUID(text)) == text
    except ValueError:
        return False


def _paths_of(domain: Domain) -> list[str]:
    return [path for disk in domain.disks for path in (disk.path, *(layer.path for layer in disk.backing))]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inspected image says of itself, as a master's record has it. Pure; private to this collection."""

from __future__ import annotations

import fnmatch
import re
import typing as t

_ESP_TYPES = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef")
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"

# File systems of clones of one master have the same ids. These do not mind when they are mounted one after the other;
# btrfs does, for a kernel knows its file systems by id.
_ONE_BY_ONE = ("ext2", "ext3", "ext4", "xfs", "vfat")

# libguestfs names a disk by the order in which it was added, and so do the records.
_PARTITION = re.compile(r"sd[a-z]\d*")

INIT = "/sbin/init"
_KERNEL = re.compile(r"/boot/vmlinu[xz]-(?!0-rescue)(.+)|/(?:usr/)?lib/modules/([^/]+)/vmlinuz")

# The first that has one of its files there is taken: systems keep traces of what they booted with before.
_BOOT_LOADERS: t.Mapping[str, tuple[str, ...]] = {
    "systemd-boot": tuple(f"{esp}/EFI/systemd/systemd-boot*.efi" for esp in ("/boot/efi", "/efi", "/boot")),
    "grub": ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/boot/efi/EFI/*/grub.cfg"),
    "extlinux": ("/boot/extlinux/extlinux.conf", "/boot/extlinux.conf"),
    "syslinux": ("/boot/syslinux/syslinux.cfg",),
}
_INIT_SYSTEMS: t.Mapping[str, tuple[str, ...]] = {
    "systemd": ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"),
    "openrc": ("/sbin/openrc", "/usr/bin/openrc"),
    "upstart": ("/etc/init/rc-sysinit.conf",),
    "runit": ("/sbin/runit-init", "/usr/bin/runit-init"),
    "sysvinit": ("/etc/inittab",),
}
PROFILE_SURVEY = (
    "/boot/vmlinu[xz]-*",
    "/lib/modules/*/vmlinuz",
    *(pattern for known in (_BOOT_LOADERS, _INIT_SYSTEMS) for patterns in known.values() for pattern in patterns),
)
"""What has to be looked for in an image to describe how it boots."""


def describe_firmware(partition_types: t.Sequence[str], *, has_efi_loader: bool) -> str:
    """Return the firmware to boot an image with; one that boots with either is booted by ``bios``, which needs less.

    ``partition_types`` are GPT type ids, or MBR types in hexadecimal.
    """
    types = {name.lower() for name in partition_types}
    has_esp = bool(types.intersection(_ESP_TYPES)) or has_efi_loader
    return "uefi" if has_esp and _BIOS_BOOT not in types else "bios"


def describe_layout(mountpoints: t.Mapping[str, str], filesystems: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return the layout's record from devices and types by mount point (``/dev/sda1``, ``ext4``)."""
    mounts = [
        {
            "device": mountpoints[place].replace("/dev/", ""),
            "mountpoint": place,
            "filesystem": filesystems.get(place, ""),
        }
        for place in sorted(mountpoints, key=lambda place: (place.count("/") if place != "/" else 0, place))
    ]
    return {"mounts": mounts, "batchable": bool(mounts) and all(is_batchable(mount) for mount in mounts)}


def is_batchable(mount: t.Mapping[str, str]) -> bool:
    """Tell whether many clones with this file system may be in one appliance."""
    return bool(_PARTITION.fullmatch(mount["device"])) and mount["filesystem"] in _ONE_BY_ONE


def read_pretty_name(os_release: bytes) -> str | None:
    """Return the system's name for people from its os-release(5) file; None when that has none."""
    found = re.search(r"^PRETTY_NAME=(['\"]?)(.+)\1\s*$", os_release.decode("utf-8", "replace"), re.MULTILINE)
    return found[2] if found else None


def describe_boot(existing: t.Sequence[str], init_target: str) -> dict[str, t.Any]:
    """Return ``{kernels, boot_loader, init}``, None for what is not known.

    ``existing`` are the paths that ``PROFILE_SURVEY`` found, ``init_target`` is where a link /sbin/init points.
    """
    kernels = {next(filter(None, found.groups())) for found in map(_KERNEL.fullmatch, existing) if found}
    init = _name_first(_INIT_SYSTEMS, existing)
    if init in (None, "sysvinit") and init_target.rpartition("/")[2] == "busybox":
        init = "busybox"  # it reads /etc/inittab too
    return {
        "kernels": sorted(kernels, key=_split_version),
        "boot_loader": _name_first(_BOOT_LOADERS, existing),
        "init": init,
    }


def describe_packages(applications: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Return package -> version from what libguestfs lists; several versions of one package stand side by side."""
    versions: dict[str, set[str]] = {}
    for entry in applications:
        epoch = f"{entry['app2_epoch']}:" if entry["app2_epoch"] else ""
        release = f"-{entry['app2_release']}" if entry["app2_release"] else ""
        versions.setdefault(entry["app2_name"], set()).add(f"{epoch}{entry['app2_version']}{release}")
    return {name: ", ".join(sorted(versions[name], key=_split_version)) for name in sorted(versions)}


def _name_first(known: t.Mapping[str, tuple[str, ...]], existing: t.Sequence[str]) -> str | None:
    for name, patterns in known.items():
        if any(fnmatch.fnmatchcase(path, pattern) for path in existing for pattern in patterns):
            return name
    return None


def _split_version(text: str) -> list[tuple[int, str]]:
    """Return what sorts 6.10 after 6.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]

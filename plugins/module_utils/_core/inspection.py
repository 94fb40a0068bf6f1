# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inspected image says of itself, as a master's record has it. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

_ESP_TYPES = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef")
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"

# File systems of clones of one master have the same ids. These do not mind when they are mounted one after the other;
# btrfs does, for a kernel knows its file systems by id.
_ONE_BY_ONE = ("ext2", "ext3", "ext4", "xfs", "vfat")

# libguestfs names a disk by the order in which it was added, and so do the records.
_PARTITION = re.compile(r"sd[a-z]\d*")


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

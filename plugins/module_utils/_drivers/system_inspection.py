# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libguestfs finds out of the system on some volumes. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import typing as t

from .._core import identity
from .._core.errors import Unsupported
from .._core.guest_files import FILE, NOTHING, FileState
from .._core.guestfs_errors import explained
from .._core.inspection import (
    INIT,
    PROFILE_SURVEY,
    describe_boot,
    describe_firmware,
    describe_layout,
    describe_packages,
    read_pretty_name,
)

_SUBVOLUME = re.compile(r"btrfsvol:/dev/sd[a-z]+(\d*)/(.+)")


def inspect_system(handle: t.Any, subject: str) -> dict[str, t.Any]:
    """Return ``{firmware, software, packages, layout, sealed}`` of the only system in an appliance.

    Raises :class:`Unsupported` when libguestfs finds no operating system, or several.
    """
    with explained(subject):
        told = _inspect(handle, subject)
        handle.umount_all()
        return told


def _inspect(handle: t.Any, subject: str) -> dict[str, t.Any]:
    roots = handle.inspect_os()
    if len(roots) != 1:
        found = "no operating system" if not roots else f"{len(roots)} operating systems"
        raise Unsupported(subject, f"libguestfs finds {found} in it", remedy="Give an image with exactly one.")
    root = _name_as_added(handle, roots[0], subject)
    told = handle.inspect_get_mountpoints(root)
    mountpoints = {place: _name_as_added(handle, device, subject) for place, device in told.items()}
    filesystems = {place: handle.vfs_type(device) for place, device in mountpoints.items()}
    for place in sorted(mountpoints, key=len):
        handle.mount_ro(mountpoints[place], place)
    survey = _list_existing(handle, identity.SURVEY)
    keys = [place for place in survey if place.startswith("/etc/ssh/ssh_host_")]
    has_loader = bool(_list_existing(handle, ["/boot/efi/EFI/*"]))
    own = identity.read_identity(lambda place: _read_small(handle, place), survey)
    return {
        "firmware": describe_firmware(_list_partition_types(handle), has_efi_loader=has_loader),
        "software": _describe_software(handle, root),
        "packages": _list_packages(handle, root),
        "layout": describe_layout(mountpoints, filesystems),
        "sealed": identity.describe_sealing(own, survey, keys),
    }


def _name_as_added(handle: t.Any, device: str, subject: str) -> str:
    """Return a device's name by the order in which its disk was added, as the library takes and tells all names.

    Except that before its commit c7b204bce (December 2025) it tells the kernel's name of a subvolume's device. A kernel
    finds disks in any order, so the one that has the subvolume is looked for; its partition has the same number.
    """
    subvolume = _SUBVOLUME.fullmatch(device)
    if not subvolume:
        return device
    number, path = subvolume.groups()
    devices = [*handle.list_devices(), *handle.list_partitions()]
    alike = [name for name in devices if re.fullmatch(f"/dev/sd[a-z]+{number}", name)]
    found = [name for name in alike if handle.vfs_type(name) == "btrfs" and _has_subvolume(handle, name, path)]
    if len({handle.vfs_uuid(name) for name in found}) != 1:  # one file system may be on several disks
        where = " and on ".join(name.replace("/dev/", "") for name in found) or "no disk"
        raise Unsupported(subject, f"its subvolume {path} is on {where}, and libguestfs does not tell which is meant")
    return f"btrfsvol:{found[0]}/{path}"


def _has_subvolume(handle: t.Any, device: str, path: str) -> bool:
    return any(one["btrfssubvolume_path"] == path.strip("/") for one in handle.btrfs_subvolume_list(device))


def _list_existing(handle: t.Any, patterns: t.Sequence[str]) -> list[str]:
    return [place for pattern in patterns for place in handle.glob_expand(pattern)]


def _read_small(handle: t.Any, path: str) -> FileState:
    if not handle.is_file(path, followsymlinks=True):
        return NOTHING
    return FileState(kind=FILE, content=handle.pread(path, 1 << 20, 0))


def _describe_software(handle: t.Any, root: str) -> dict[str, t.Any]:
    release = _read_small(handle, "/etc/os-release")
    return {
        "type": handle.inspect_get_type(root),
        "distro": handle.inspect_get_distro(root),
        # Of Debian, the library takes the bare version (12.1) for the product's name.
        "product": read_pretty_name(release.content) or handle.inspect_get_product_name(root),
        "major": handle.inspect_get_major_version(root),
        "minor": handle.inspect_get_minor_version(root),
        "arch": handle.inspect_get_arch(root),
        "package_format": handle.inspect_get_package_format(root),
        **describe_boot(_list_existing(handle, PROFILE_SURVEY), _read_link(handle, INIT)),
    }


def _list_packages(handle: t.Any, root: str) -> dict[str, str] | None:
    """Return package -> version; None when libguestfs cannot read what the system keeps of its packages."""
    if handle.inspect_get_package_format(root) == "unknown":
        return None
    try:
        return describe_packages(handle.inspect_list_applications2(root))
    except RuntimeError:  # a system may have lost its list of packages, and be good for all that
        return None


def _read_link(handle: t.Any, path: str) -> str:
    return str(handle.readlink(path)) if handle.is_symlink(path) else ""


def _list_partition_types(handle: t.Any) -> list[str]:
    types = []
    for partition in handle.list_partitions():
        disk, number = handle.part_to_dev(partition), handle.part_to_partnum(partition)
        with contextlib.suppress(RuntimeError):  # a disk without a partition table
            is_gpt = handle.part_get_parttype(disk) == "gpt"
            types.append(
                handle.part_get_gpt_type(disk, number) if is_gpt else f"{handle.part_get_mbr_id(disk, number):x}"
            )
    return types

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks laid out by LVM, Btrfs and UEFI, made and listed by libguestfs' own binding past all our code; for tests."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import typing as t
from pathlib import Path

from tests.contract.guests import run

ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LABEL = "system_u:object_r:etc_t:s0"

FILES = {
    "/bin/sh": "",
    "/etc/debian_version": "12.1\n",
    "/etc/hostname": "master\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/machine-id": "1" * 32 + "\n",
    "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "/etc/app.conf": "port=1\n",
    "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
    "/etc/systemd/system/multi-user.target.wants/.keep": "",
    "/lib/systemd/systemd": "",
    "/lib/systemd/system/web.service": "[Install]\nWantedBy=multi-user.target\n",
    "/opt/samples/one": "1",
    "/opt/samples/deep/two": "2",
    "/opt/tools/run": "",
    "/var/lib/dpkg/status": "",
}
GRUB = "menuentry 'Linux' {\n  linux /boot/vmlinuz-6.1 root=/dev/vda1 quiet\n}\n"


@dataclasses.dataclass(frozen=True)
class System:
    """A system on some disks, and where its file systems are, as libguestfs names their devices for it alone."""

    name: str
    disks: tuple[Path, ...]
    mounts: tuple[tuple[str, str], ...]

    def clone(self, pool: Path) -> System:
        """Return it on overlays of its disks, in a directory of its own."""
        directory = pool / self.name
        directory.mkdir()
        disks = tuple(directory / disk.name for disk in self.disks)
        for base, disk in zip(self.disks, disks):
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk)
        return dataclasses.replace(self, disks=disks)

    def entry(self, layout: dict, items: list[dict]) -> dict:
        """Return it as module customize takes it."""
        return {
            "name": self.name,
            "directory": str(self.disks[0].parent),
            "volumes": [{"name": disk.stem, "path": str(disk), "format": "qcow2"} for disk in self.disks],
            "layout": layout,
            "hostname": self.name,
            "machine_id": hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest(),
            "items": items,
        }


@contextlib.contextmanager
def opened(*disks: Path, read_only: bool) -> t.Iterator[t.Any]:
    """Launch an appliance with some disks."""
    import guestfs

    os.environ.update(LIBGUESTFS_BACKEND="direct", LIBGUESTFS_BACKEND_SETTINGS="force_tcg")
    handle = guestfs.GuestFS(python_return_dict=True)
    try:
        for disk in disks:
            handle.add_drive_opts(str(disk), format="qcow2", readonly=read_only)
        handle.launch()
        yield handle
        handle.shutdown()
    finally:
        handle.close()


def make_systems(folder: Path) -> tuple[System, System]:
    """Make a system with LVM and UEFI on two disks, and one with Btrfs and BIOS on one."""
    disks = {name: folder / f"{name}.qcow2" for name in ("root", "srv", "btrfs")}
    for name, disk in disks.items():
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, "400M" if name == "btrfs" else "128M")
    with opened(*disks.values(), read_only=False) as handle:
        _make_lvm(handle)
        _make_btrfs(handle)
    lvm = (("/dev/vg/root", "/"), ("/dev/sda1", "/boot/efi"), ("/dev/sdb1", "/srv"))
    btrfs = (("btrfsvol:/dev/sda2/@", "/"), ("/dev/sda1", "/boot"), ("btrfsvol:/dev/sda2/@home", "/home"))
    return System("lvm", (disks["root"], disks["srv"]), lvm), System("btrfs", (disks["btrfs"],), btrfs)


def _make_lvm(handle: t.Any) -> None:
    handle.part_init("/dev/sda", "gpt")
    handle.part_add("/dev/sda", "p", 2048, 2048 + 65535)
    handle.part_set_gpt_type("/dev/sda", 1, ESP)
    handle.part_add("/dev/sda", "p", 2048 + 65536, -2048)
    handle.mkfs("vfat", "/dev/sda1", label="ESP")
    handle.pvcreate("/dev/sda2")
    handle.vgcreate("vg", ["/dev/sda2"])
    handle.lvcreate("root", "vg", 80)
    handle.mkfs("ext4", "/dev/vg/root")
    handle.part_disk("/dev/sdb", "mbr")
    handle.mkfs("ext4", "/dev/sdb1", label="srv")
    handle.mount("/dev/vg/root", "/")
    _fill(handle, "/dev/vg/root / ext4\nLABEL=ESP /boot/efi vfat\nLABEL=srv /srv ext4\n")
    handle.mkdir_p("/boot/efi")
    handle.mount("/dev/sda1", "/boot/efi")
    handle.mkdir_p("/boot/efi/EFI/debian")
    handle.write("/boot/efi/EFI/debian/grub.cfg", GRUB)
    handle.mount("/dev/sdb1", "/srv")
    handle.write("/srv/data", "kept\n")
    handle.umount_all()


def _make_btrfs(handle: t.Any) -> None:
    handle.part_init("/dev/sdc", "mbr")
    handle.part_add("/dev/sdc", "p", 2048, 2048 + 65535)
    handle.part_add("/dev/sdc", "p", 2048 + 65536, -2048)
    handle.mkfs("ext2", "/dev/sdc1", label="boot")
    handle.mkfs("btrfs", "/dev/sdc2", label="tree")
    handle.mount("/dev/sdc2", "/")
    handle.btrfs_subvolume_create("/@")
    handle.btrfs_subvolume_create("/@home")
    handle.umount_all()
    handle.mount("btrfsvol:/dev/sdc2/@", "/")
    _fill(handle, "LABEL=tree / btrfs subvol=@\nLABEL=boot /boot ext2\nLABEL=tree /home btrfs subvol=@home\n")
    handle.mkdir("/home")
    handle.mkdir("/boot")
    handle.mount("/dev/sdc1", "/boot")
    handle.mkdir("/boot/grub")
    handle.write("/boot/grub/grub.cfg", GRUB)
    handle.umount_all()


def _fill(handle: t.Any, fstab: str) -> None:
    for path, text in {**FILES, "/etc/fstab": fstab}.items():
        handle.mkdir_p(path.rpartition("/")[0])
        handle.write(path, text)
    handle.mkdir("/srv")
    handle.ln_s("one", "/opt/samples/link")
    handle.chmod(0o2750, "/opt/samples/deep")
    handle.chown(5, 6, "/opt/samples/one")
    handle.lchown(7, 8, "/opt/samples/link")
    for path in ("/opt/samples/one", "/opt/samples/link", "/opt/samples/deep", "/etc/app.conf"):
        handle.lsetxattr("security.selinux", LABEL, len(LABEL), path)
    handle.lsetxattr("user.origin", "master", 6, "/opt/samples/one")
    for path in ("/opt/samples/one", "/opt/samples/deep/two", "/opt/samples/deep", "/opt/tools/run", "/etc/app.conf"):
        handle.utimens(path, 1577836800, 123456789, 1577836800, 123456789)


def list_system(handle: t.Any, system: System, first_disk: int) -> dict[str, tuple]:
    """Return everything in a system: kind and mode, owner, content's digest, link's target, xattrs, times of files.

    ``first_disk`` is the number of its first disk in the appliance. Of directories only those times are listed that
    nothing in them could have changed but for a deletion.
    """
    for device, place in system.mounts:
        first, second = (f"/dev/sd{'abcdefgh'[first_disk + number]}" for number in (0, 1))
        handle.mount_ro(device.replace("/dev/sdb", second).replace("/dev/sda", first), place)
    listed = {}
    for path in sorted(handle.find("/")):
        status = handle.lstatns(f"/{path}")
        kind = status["st_mode"] >> 12
        content = handle.checksum("sha256", f"/{path}") if kind == 8 else ""
        target = handle.readlink(f"/{path}") if kind == 10 else ""
        has_time = kind == 8 or path.startswith("opt/samples")
        time = (status["st_mtime_sec"], status["st_mtime_nsec"]) if has_time and kind != 10 else ()
        xattrs = (
            ()
            if path.startswith("boot/efi")
            else tuple(sorted((entry["attrname"], bytes(entry["attrval"])) for entry in handle.lgetxattrs(f"/{path}")))
        )
        listed[path] = (oct(status["st_mode"]), status["st_uid"], status["st_gid"], content, target, xattrs, time)
    handle.umount_all()
    return listed

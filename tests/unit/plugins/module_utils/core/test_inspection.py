# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inspected image's record says."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.inspection import (
    describe_boot,
    describe_firmware,
    describe_layout,
    describe_packages,
    read_pretty_name,
)

ESP, BIOS_BOOT, LINUX = (
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "21686148-6449-6E6F-744E-656564454649",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
)


@pytest.mark.parametrize(
    ("types", "has_loader", "firmware"),
    [
        ([], False, "bios"),
        (["83"], False, "bios"),
        (["83", "ef"], False, "uefi"),
        ([LINUX, ESP], False, "uefi"),
        ([LINUX, ESP, BIOS_BOOT], True, "bios"),
        ([LINUX], True, "uefi"),
    ],
)
def test_firmware(types: list[str], has_loader: bool, firmware: str) -> None:
    assert describe_firmware(types, has_efi_loader=has_loader) == firmware


def test_mounts_come_in_the_order_of_mounting() -> None:
    places = {"/boot/efi": "/dev/sda1", "/boot": "/dev/sda2", "/": "/dev/sda3", "/var": "/dev/sdb1"}
    types = {"/boot/efi": "vfat", "/boot": "ext4", "/": "xfs", "/var": "ext4"}
    layout = describe_layout(places, types)
    assert [mount["mountpoint"] for mount in layout["mounts"]] == ["/", "/boot", "/var", "/boot/efi"]
    assert layout["mounts"][0] == {"device": "sda3", "mountpoint": "/", "filesystem": "xfs"}
    assert layout["batchable"]


@pytest.mark.parametrize(
    ("device", "filesystem"),
    [("/dev/vg/root", "ext4"), ("/dev/md127", "ext4"), ("btrfsvol:/dev/sda2/@", "btrfs"), ("/dev/sda2", "btrfs")],
)
def test_what_is_known_by_an_id_is_not_batched(device: str, filesystem: str) -> None:
    assert not describe_layout({"/": device}, {"/": filesystem})["batchable"]


def test_nothing_is_not_batched() -> None:
    assert describe_layout({}, {}) == {"mounts": [], "batchable": False}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"),
        (b"PRETTY_NAME=Plain\n", "Plain"),
        (b"NAME=x\n", None),
        (b"", None),
    ],
)
def test_the_pretty_name(content: bytes, name: str | None) -> None:
    assert read_pretty_name(content) == name


BOOTS = {
    "Debian": (
        ["/boot/vmlinuz-6.10.1-amd64", "/boot/vmlinuz-6.9.12-amd64", "/boot/grub/grub.cfg", "/lib/systemd/systemd"],
        "/lib/systemd/systemd",
        (["6.9.12-amd64", "6.10.1-amd64"], "grub", "systemd"),
    ),
    "Red Hat": (
        ["/boot/vmlinuz-5.14.0-427.el9", "/boot/vmlinuz-0-rescue-1f2e", "/boot/grub2/grub.cfg"],
        "",
        (["5.14.0-427.el9"], "grub", None),
    ),
    "a kernel beside its modules only": (
        ["/lib/modules/6.12.8-arch1-1/vmlinuz", "/boot/EFI/systemd/systemd-bootx64.efi", "/usr/lib/systemd/systemd"],
        "",
        (["6.12.8-arch1-1"], "systemd-boot", "systemd"),
    ),
    "Alpine": (
        ["/boot/vmlinuz-lts", "/boot/extlinux.conf", "/sbin/openrc", "/etc/inittab"],
        "/bin/busybox",
        (["lts"], "extlinux", "openrc"),
    ),
    "busybox alone": (["/etc/inittab"], "../bin/busybox", ([], None, "busybox")),
    "System V": (["/etc/inittab"], "", ([], None, "sysvinit")),
    "nothing known": ([], "", ([], None, None)),
}


@pytest.mark.parametrize("case", BOOTS)
def test_how_it_boots(case: str) -> None:
    existing, init_target, (kernels, boot_loader, init) = BOOTS[case]
    told = describe_boot(existing, init_target)
    assert told == {"kernels": kernels, "boot_loader": boot_loader, "init": init}


def application(name: str, version: str, epoch: int = 0, release: str = "") -> dict[str, object]:
    return {"app2_name": name, "app2_epoch": epoch, "app2_version": version, "app2_release": release}


def test_packages_have_whole_versions() -> None:
    listed = [
        application("nginx", "1.22.1", release="9"),
        application("busybox-static", "1.35.0", epoch=1, release="4"),
        application("kernel", "5.10", release="2"),
        application("kernel", "5.9", release="1"),
        application("kernel", "5.10", release="2"),
        application("musl", "1.2.5"),
    ]
    assert list(describe_packages(listed).items()) == [
        ("busybox-static", "1:1.35.0-4"),
        ("kernel", "5.9-1, 5.10-2"),
        ("musl", "1.2.5"),
        ("nginx", "1.22.1-9"),
    ]

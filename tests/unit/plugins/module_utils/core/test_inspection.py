# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inspected image's record says."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.inspection import (
    describe_firmware,
    describe_layout,
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

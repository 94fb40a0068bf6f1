# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disks of a machine are copied, and which of its file systems are frozen."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.donor_host import (
    HostSeen,
    choose_disks,
    list_mounted,
    make_freezing,
    parse_host,
    require_tools,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    EncompassError,
    NotFound,
    ToolFailed,
    Unsupported,
)

TOOLS = [f"tool {name}" for name in ("dd", "sha256sum", "readlink", "df", "fsfreeze")]
VDA = ["block vda 254:0 4096 0 0 - -", "block vda1 254:1 2048 0 0 vda -", "block vda2 254:2 1024 0 0 vda -"]
VDB = ["block vdb 254:16 2048 0 0 - -"]
ON_VDA1 = ["mount 22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro"]

# As on a machine with its root on LVM over two disks, the one encrypted; recorded from one, then shortened.
LVM = [
    *("block sda 8:0 8192 0 0 - -", "block sda1 8:1 1024 0 0 sda -", "block sda2 8:2 4096 0 0 sda -"),
    *("block sdb 8:16 8192 0 0 - -", "block dm-0 253:0 6000 0 0 - LVM sda2 sdb"),
    *("mount 22 1 253:0 / / rw - xfs /dev/mapper/vg-root rw", "mount 23 22 8:1 / /boot rw - ext4 /dev/sda1 rw"),
]
CRYPT = [*VDA, "block dm-0 253:0 1000 0 0 - CRYPT vda1", "mount 22 1 253:0 / / rw - ext4 /dev/mapper/root rw"]
MPATH = [
    *("block sda 8:0 4096 0 0 - -", "block sdb 8:16 4096 0 0 - -", "block dm-0 253:0 4096 0 0 - mpath sda sdb"),
    *("block dm-1 253:1 2048 0 0 - part1 dm-0", "mount 22 1 253:1 / / rw - ext4 /dev/mapper/a1 rw"),
]
BTRFS = [*VDA, "mount 22 1 0:26 /@ / rw - btrfs /dev/vda1 rw,subvol=/@"]
OVERLAY = [*VDA, "mount 22 1 0:50 / / rw - overlay overlay rw,lowerdir=/a"]
CCISS = ["block cciss!c0d0 104:0 4096 0 0 - -", "mount 22 1 104:0 / / rw - ext4 /dev/cciss/c0d0 rw"]


def see(*lines: str) -> HostSeen:
    return parse_host(lines, "donor x")


@pytest.mark.parametrize(
    ("lines", "named", "disks"),
    [
        ([*VDA, *VDB, *ON_VDA1], (), ["/dev/vda"]),
        ([*VDA, *VDB, *ON_VDA1], ("vda", "vda"), ["/dev/vda"]),
        ([*VDA, *VDB, *ON_VDA1], ("vdb", "vda"), ["/dev/vdb", "/dev/vda"]),
        # A machine that was booted from something else, so that its own system is off.
        ([*VDA, *VDB, *ON_VDA1], ("vdb",), ["/dev/vdb"]),
        (LVM, (), ["/dev/sda", "/dev/sdb"]),
        ([*VDB, *VDA, *ON_VDA1, "mount 23 22 254:16 / /boot rw - ext4 /dev/vdb rw"], (), ["/dev/vdb", "/dev/vda"]),
        (MPATH, (), ["/dev/dm-0"]),
        (BTRFS, (), ["/dev/vda"]),
        (CCISS, (), ["/dev/cciss/c0d0"]),
        ([*CRYPT, *VDB], ("vdb",), ["/dev/vdb"]),
        (["block loop0 7:0 4096 1 0 - -"], ("loop0",), ["/dev/loop0"]),
    ],
)
def test_the_disks_that_the_system_is_on(lines: list[str], named: tuple[str, ...], disks: list[str]) -> None:
    assert [disk.path for disk in choose_disks(see(*lines), named, "donor x")] == disks


@pytest.mark.parametrize(
    ("lines", "named", "error", "words"),
    [
        ([*VDA, *ON_VDA1], ("vdz",), NotFound, "it has no disk vdz. Its disks are /dev/vda"),
        ([*VDA, *ON_VDA1], ("vda1",), Unsupported, "/dev/vda1 is only a part of a disk"),
        (LVM, ("dm-0",), Unsupported, "/dev/dm-0 is only a part of a disk, or made of others"),
        (LVM, ("sda",), Unsupported, "its system is on sdb too"),
        (OVERLAY, (), Unsupported, "its root is on no disk that it knows of. Name its disks"),
        (CRYPT, (), Unsupported, r"its system is encrypted \(dm-0\), and nobody could open a copy"),
        (CRYPT, ("vda",), Unsupported, "its system is encrypted"),
        (["block sr0 11:0 0 0 1 - -"], ("sr0",), Unsupported, "its disk /dev/sr0 cannot be copied: it has 0 bytes"),
        ([f"block sda 8:0 {1 << 40} 0 0 - -"], ("sda",), Unsupported, "cannot be copied: it has 512.0 TiB"),
        (
            ["block sda 8:0 4096 0 1 - -", "mount 22 1 8:0 / / rw - ext4 /dev/sda rw"],
            (),
            Unsupported,
            "its system is on /dev/sda, which is read-only, removable or no real disk",
        ),
        (
            ["block zram0 252:0 4096 0 0 - -", "mount 22 1 252:0 / / rw - ext4 /dev/zram0 rw"],
            (),
            Unsupported,
            "its system is on /dev/zram0",
        ),
    ],
)
def test_disks_that_are_refused(
    lines: list[str], named: tuple[str, ...], error: type[EncompassError], words: str
) -> None:
    with pytest.raises(error, match=words):
        choose_disks(see(*lines), named, "donor x")


MOUNTS = [
    *ON_VDA1,
    r"mount 23 22 254:2 / /srv/a\040b rw - xfs /dev/vda2 rw",
    r"mount 24 22 254:2 /x /bind rw - xfs /dev/vda2 rw",
    "mount 25 22 254:16 / /mnt rw - ext4 /dev/vdb rw",
    "mount 26 22 0:5 / /dev rw - devtmpfs udev rw",
]


@pytest.mark.parametrize(
    ("mounts", "named", "places"),
    [
        (MOUNTS, ("vda",), ("/srv/a b", "/")),
        (MOUNTS, ("vdb", "vda"), ("/mnt", "/srv/a b", "/")),
        ([MOUNTS[1].replace("/dev/vda2 rw", "/dev/vda2 ro"), *ON_VDA1], ("vda",), ("/",)),
        ([*ON_VDA1, "mount 30 22 254:2 / /boot/efi rw - vfat /dev/vda2 rw"], ("vda",), ("/",)),
    ],
)
def test_each_file_system_is_frozen_once_those_mounted_last_first(
    mounts: list[str], named: tuple[str, ...], places: tuple[str, ...]
) -> None:
    host = see(*TOOLS, *VDA, *VDB, *mounts)
    freezing = make_freezing(host, choose_disks(host, named, "donor x"), "auto", 60)
    assert (freezing.places, freezing.obstacle, freezing.is_written) == (places, "", True)


def test_what_is_mounted_read_only_is_off() -> None:
    host = see(*TOOLS, *VDA, ON_VDA1[0].replace("rw,errors", "ro,errors"))
    disks = choose_disks(host, (), "donor x")
    assert list_mounted(host, disks) == []
    assert not make_freezing(host, disks, "required", 60).is_written


def test_what_cannot_freeze_says_so() -> None:
    host = see(*TOOLS[:4], *VDA, *ON_VDA1)
    assert make_freezing(host, choose_disks(host, (), "donor x"), "auto", 60).obstacle == "it lacks fsfreeze"
    assert make_freezing(host, choose_disks(host, (), "donor x"), "never", 60).obstacle == ""
    require_tools(host, "donor x")
    with pytest.raises(Unsupported, match=r"it lacks dd, df. Install coreutils or busybox there"):
        require_tools(see(*TOOLS[1:3]), "donor x")


@pytest.mark.parametrize("line", ["block vda", "block vda 1:1 many 0 0 - -", "mount 1 2 3", "mount 1 2 3 4 5 6 - ext4"])
def test_nonsense_is_refused(line: str) -> None:
    with pytest.raises(ToolFailed, match="what it says of its disks is not understood"):
        see(line)

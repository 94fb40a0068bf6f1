# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories: modes, file systems and what they can do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._drivers import directories
from ansible_collections.encompass.images.plugins.module_utils._drivers.host_facts import (
    read_boot_id,
    read_lock_manager,
)


def test_a_directory_is_made_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b")
    assert directories.see_mode(path, "pool x") is None
    before = os.umask(0o077)
    try:
        directories.make_directory(path, 0o711, "pool x")
    finally:
        os.umask(before)
    assert directories.see_mode(path, "pool x") == 0o711
    directories.make_directory(path, 0o751, "pool x")
    assert directories.see_mode(path, "pool x") == 0o751


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="is not a directory"):
        directories.see_mode(str(tmp_path / "file"), "pool x")
    with pytest.raises(ToolFailed):
        directories.make_directory(str(tmp_path / "file" / "below"), 0o711, "pool x")


def test_the_nearest_mount_tells_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = f"{os.major(tmp_path.stat().st_dev)}:{os.minor(tmp_path.stat().st_dev)}"
    mounts = tmp_path / "mountinfo"
    lines = [
        "22 1 9:9 / / rw - ext4 /dev/sda rw",
        f"23 22 {device} / {tmp_path} rw shared:1 - xfs /dev/sdb rw",
        f"24 23 8:77 / {tmp_path}/below rw - tmpfs tmpfs rw",
    ]
    mounts.write_text("\n".join(lines))
    monkeypatch.setattr(directories, "_MOUNTS", mounts)
    assert directories.find_file_system(str(tmp_path)) == "xfs"
    mounts.write_text(lines[0])
    assert directories.find_file_system(str(tmp_path)) == "ext4"


def test_reflinks_are_known_without_writing(tmp_path: Path) -> None:
    assert directories.can_reflink(str(tmp_path), "btrfs")
    assert not directories.can_reflink(str(tmp_path), "ext4")
    assert not directories.can_reflink("/proc", "xfs")  # says so, but has no geometry
    assert list(tmp_path.iterdir()) == []


def test_room_is_measured(tmp_path: Path) -> None:
    capacity_bytes, available_bytes = directories.measure_room(str(tmp_path))
    assert 0 < available_bytes <= capacity_bytes


@pytest.mark.parametrize(
    ("text", "manager"),
    [
        ('# lock_manager = "lockd"\n', "nop"),
        ('user = "root"\nlock_manager = "lockd"\n', "lockd"),
        ('lock_manager="sanlock"', "sanlock"),
    ],
)
def test_the_lock_manager_is_read(tmp_path: Path, text: str, manager: str) -> None:
    (tmp_path / "qemu.conf").write_text(text)
    assert read_lock_manager(tmp_path / "qemu.conf") == manager
    assert read_lock_manager(tmp_path / "none") == "unknown"


def test_this_boot_has_an_id() -> None:
    assert read_boot_id() == read_boot_id() != ""

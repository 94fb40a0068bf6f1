# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a pool: what is staged, published, left over, in use."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    InvalidRequest,
    NotFound,
    ToolFailed,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import LAYOUT
from ansible_collections.encompass.images.plugins.module_utils._drivers import image_files, qemu_img, volumes
from ansible_collections.encompass.images.plugins.module_utils._drivers.directories import make_directory


@pytest.fixture
def pool(tmp_path):
    """Return a pool with its layout."""
    for below, mode in LAYOUT.items():
        make_directory(f"{tmp_path}{below}", mode, "pool")
    return tmp_path


def test_a_pool_without_its_directories_is_not_to_be_trusted(pool):
    volumes.require_layout(str(pool), "clone web-1")
    (pool / "clones").rmdir()
    with pytest.raises(NotFound, match=rf"clone web-1: the directory {pool}/clones of its pool is not there.* mounted"):
        volumes.require_layout(str(pool), "clone web-1")
    with pytest.raises(NotFound, match=f"{pool}/nowhere of its pool is not there"):
        volumes.require_layout(str(pool / "nowhere"), "clone web-1")
    assert not (pool / "clones").exists()


def test_a_staged_directory_is_gone_afterwards_whatever_happened(pool):
    with pytest.raises(ZeroDivisionError), volumes.staged_directory(str(pool), "clone", "a", "clone a") as staged:
        (staged / "file").write_text("x", encoding="utf-8")
        assert staged.stat().st_mode & 0o777 == 0o700
        raise ZeroDivisionError
    assert list((pool / ".staging").iterdir()) == []


def test_only_what_dead_processes_of_this_host_staged_is_left_over(pool):
    host, session, pid, start = volumes.stage_path(str(pool), "clone", "a").name.split("~")[2].split("-")
    script = "import os; print(os.getpid())"
    gone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    owners = {
        "mine": f"{host}-{session}-{pid}-{start}",
        "older-process-of-this-pid": f"{host}-{session}-{pid}-1",
        "process-that-ended": f"{host}-{session}-{gone.stdout.strip()}-5",
        "before-the-reboot": f"{host}-00000000-{pid}-{start}",
        "another-host": f"00000000-{session}-{gone.stdout.strip()}-5",
        "no-owner": "whatever",
    }
    for name, owner in owners.items():
        (pool / ".staging" / f"clone~{name}~{owner}").mkdir()
    (pool / ".staging" / f"master~m~{owners['process-that-ended']}").mkdir()
    (pool / ".staging" / "stray").mkdir()
    assert sorted(volumes.find_leftovers(str(pool), "clone")) == [
        "before-the-reboot",
        "older-process-of-this-pid",
        "process-that-ended",
    ]
    assert list(volumes.find_leftovers(str(pool), "master")) == ["m"]
    assert volumes.find_leftovers(str(pool / "nowhere"), "clone") == {}


def test_a_directory_with_something_in_it_is_never_replaced(pool):
    staged = pool / ".staging" / "new"
    for directory in (staged, pool / "clones" / "a"):
        directory.mkdir()
        (directory / "root.qcow2").write_text(directory.name, encoding="utf-8")
    with pytest.raises(ToolFailed, match="cannot publish it"):
        volumes.publish_directory(staged, str(pool / "clones" / "a"), "clone a")
    assert (pool / "clones" / "a" / "root.qcow2").read_text(encoding="utf-8") == "a"
    volumes.publish_directory(staged, str(pool / "clones" / "b"), "clone b")
    assert (pool / "clones" / "b").stat().st_mode & 0o777 == 0o711


def test_a_published_file_is_never_replaced(pool):
    target = str(pool / "masters" / "d.qcow2")
    for content, is_new in (("first", True), ("second", False)):
        staged = pool / ".staging" / content
        staged.write_text(content, encoding="utf-8")
        assert volumes.publish_file(staged, target, "master m") is is_new
    assert (pool / "masters" / "d.qcow2").read_text(encoding="utf-8") == "first"


def test_a_symbolic_link_in_a_clones_place_is_left_alone(pool, tmp_path_factory):
    precious = tmp_path_factory.mktemp("precious")
    (precious / "root.qcow2").write_text("x", encoding="utf-8")
    link = pool / "clones" / "a"
    link.symlink_to(precious)
    with pytest.raises(ToolFailed, match="is not a directory, and is left alone"):
        volumes.list_volumes(str(link), "clone a")
    with pytest.raises(ToolFailed, match="is a symbolic link, and is left alone"):
        volumes.withdraw_directory(str(link), pool / ".staging" / "trash", "clone a")
    volumes.remove_tree(link, "clone a")
    assert (precious / "root.qcow2").exists()


def test_a_small_record_is_replaced_at_once(pool):
    path = str(pool / "masters" / ".sources" / "m.json")
    assert volumes.read_json(path, "master m") is None
    for number in (1, 2):
        volumes.write_json({"n": number}, path, pool / ".staging" / "draft", "master m")
    assert volumes.read_json(path, "master m") == {"n": 2}
    assert volumes.list_origins(str(pool)) == {"m": {"n": 2}}
    assert (pool / "masters" / ".sources" / "m.json").stat().st_mode & 0o777 == 0o600
    (pool / "masters" / ".sources" / "m.json").write_text("{", encoding="utf-8")
    with pytest.raises(ToolFailed, match="cannot read"):
        volumes.read_json(path, "master m")
    with pytest.raises(ToolFailed, match="cannot read"):
        volumes.list_origins(str(pool))


def test_free_room_is_known_before_the_pool_is_made(pool):
    status = os.statvfs(pool)
    found = volumes.count_free_bytes(str(pool / "not" / "yet" / "there"), "pool")
    assert abs(found - status.f_bavail * status.f_frsize) < 1 << 30


def test_an_imprint_gives_the_same_bytes_with_holes(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    content = b"head".ljust(4096, b"\0") + bytes(1 << 20) + b"middle" + bytes(10_000) + b"end" + bytes(5000)
    source.write_bytes(content)
    imprint = image_files.read_imprint(str(source), "clone x")
    image_files.write_imprint(imprint, str(target), "clone x")
    assert target.read_bytes() == content
    assert target.stat().st_blocks * 512 <= 4 * 4096
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ToolFailed, match="File exists"):
        image_files.write_imprint(imprint, str(target), "clone x")


def test_only_regular_files_are_seen(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    seen = image_files.see_file(str(tmp_path / "file"), "image x")
    status = (tmp_path / "file").stat()
    assert seen.fingerprint == f"3:{status.st_mtime_ns}:{status.st_ino}"
    assert image_files.see_file(str(tmp_path / "nothing"), "image x") is None
    assert image_files.see_file(str(tmp_path / "file" / "below"), "image x") is None
    with pytest.raises(InvalidRequest, match="is not a regular file"):
        image_files.see_file(str(tmp_path), "image x")


# Another process, for a lock never stands in its own holder's way.
HOLD = """
import fcntl, struct, sys
stream = open(sys.argv[1], "r+b")
lock = struct.pack("hhqqi0q", getattr(fcntl, sys.argv[2]), 0, int(sys.argv[3]), 1, 0)
fcntl.fcntl(stream, fcntl.F_OFD_SETLK, lock)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("kind", "offset", "expected"),
    [("F_RDLCK", 101, True), ("F_WRLCK", 201, True), ("F_RDLCK", 0, False), ("F_RDLCK", 300, False)],
)
def test_qemus_locks_are_seen_and_no_others(kind, offset, expected, tmp_path):
    path = tmp_path / "root.qcow2"
    path.write_bytes(b"x")
    assert not image_files.is_open_in_qemu(str(path), "clone x")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, kind, str(offset)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        assert image_files.is_open_in_qemu(str(path), "clone x") is expected
    finally:
        holder.communicate("")
    assert not image_files.is_open_in_qemu(str(path), "clone x")


def test_the_structure_of_a_lock_is_that_of_this_machine():
    assert struct.calcsize("hhqqi0q") == 32
    assert fcntl.F_OFD_GETLK == 36


@pytest.mark.parametrize("path", ["nbd:localhost:10809", "json:{}", "relative.qcow2", ""])
def test_qemu_is_never_given_what_it_could_take_for_a_protocol(path):
    with pytest.raises(InvalidRequest, match="is not absolute"):
        qemu_img.measure(path, "raw", subject="image x")

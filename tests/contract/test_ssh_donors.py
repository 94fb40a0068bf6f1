# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks read over a real sshd from loop devices: sparse, resumed, while they are written to, frozen and thawed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.disk_passes import CHUNK_BYTES, Freezing
from ansible_collections.encompass.images.plugins.module_utils._core.donor_host import (
    choose_disks,
    make_freezing,
    parse_host,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, EncompassError, Unsupported
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_login import SshLogin
from ansible_collections.encompass.images.plugins.module_utils._drivers.donor_session import DonorSession, open_session
from ansible_collections.encompass.images.plugins.module_utils._module.disk_copying import copy_disks

from tests.contract.sshd import SUDOERS, Sshd, loop_device, running_freezer, running_sshd, write_bytes
from tests.lab.commands import run, wait_until

DONOR = "donor root@127.0.0.1"
NEVER = Freezing("never", 20, (), is_written=False)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd"), SUDOERS) as server:
        yield server


def login(sshd: Sshd, **changes: t.Any) -> SshLogin:
    known = {"identity_file": sshd.identity_file, "known_hosts": sshd.known_hosts, "port": sshd.port}
    return SshLogin(**{"address": "root@127.0.0.1", **known, **changes})


@pytest.fixture
def session(sshd: Sshd) -> t.Iterator[DonorSession]:
    with open_session(login(sshd), DONOR) as opened:
        yield opened


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of 15 chunks and a bit: ten with data, the others zero."""

    device: str
    file: Path


@pytest.fixture
def disk(tmp_path: Path) -> t.Iterator[Disk]:
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.write(os.urandom(8 * CHUNK_BYTES))
        stream.seek(13 * CHUNK_BYTES)
        stream.write(os.urandom(2 * CHUNK_BYTES + 512))
    with loop_device(path) as device:
        yield Disk(device, path)


def copy(session: DonorSession, disk: Disk, target: Path, freezing: Freezing = NEVER) -> dict[str, t.Any]:
    host = parse_host(session.look(), DONOR)
    (block,) = choose_disks(host, [Path(disk.device).name], DONOR)
    return copy_disks(session, {target: block}, freezing, DONOR)


def test_only_what_is_not_zero_is_fetched_and_what_is_there_is_not_fetched_again(
    session: DonorSession, disk: Disk, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    told = copy(session, disk, target)
    assert (told["consistency"], told["passes"], told["fetched_bytes"]) == ("off", 2, 10 * CHUNK_BYTES + 512)
    assert target.read_bytes() == disk.file.read_bytes()
    assert target.stat().st_blocks * 512 <= 10 * CHUNK_BYTES + (1 << 16)
    assert target.stat().st_mode & 0o777 == 0o600
    write_bytes(disk.device, 3 * CHUNK_BYTES + 5 * 512, b"a" * 512)
    write_bytes(disk.device, 10 * CHUNK_BYTES, b"b" * 512)
    write_bytes(disk.device, 14 * CHUNK_BYTES, bytes(CHUNK_BYTES))
    assert copy(session, disk, target)["fetched_bytes"] == 3 * CHUNK_BYTES
    assert target.read_bytes() == disk.file.read_bytes()


def copy_until_cut(sshd: Sshd, disk: Disk, target: Path) -> None:
    """Begin to copy, and lose the connection."""
    with open_session(login(sshd), DONOR) as session:
        exchange = session.exchange

        def cut_after_a_while(*arguments: t.Any) -> t.Iterator[t.Any]:
            for number, chunk in enumerate(exchange(*arguments)):
                if number == 4:
                    sshd.cut()
                yield chunk

        session.exchange = cut_after_a_while  # type: ignore[method-assign]
        copy(session, disk, target)


def test_a_copy_goes_on_where_the_connection_was_lost(sshd: Sshd, disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(EncompassError, match=r"the connection to it was lost. What was copied is kept: run again"):
        copy_until_cut(sshd, disk, tmp_path / "copy")
    with open_session(login(sshd), DONOR) as session:
        told = copy(session, disk, tmp_path / "copy")
    assert told["fetched_bytes"] <= 6 * CHUNK_BYTES + 512
    assert (tmp_path / "copy").read_bytes() == disk.file.read_bytes()


def test_disks_are_copied_together(session: DonorSession, disk: Disk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(os.urandom(CHUNK_BYTES + 1024))
    with loop_device(other) as device:
        host = parse_host(session.look(), DONOR)
        names = [Path(device).name, Path(disk.device).name]
        first, second = choose_disks(host, names, DONOR)
        told = copy_disks(session, {tmp_path / "a": first, tmp_path / "b": second}, NEVER, DONOR)
    assert (tmp_path / "a").read_bytes() == other.read_bytes()
    assert (tmp_path / "b").read_bytes() == disk.file.read_bytes()
    assert (told["passes"], told["fetched_bytes"]) == (2, 11 * CHUNK_BYTES + 1024 + 512)


def test_a_user_becomes_root_by_sudo(sshd: Sshd, disk: Disk, tmp_path: Path) -> None:
    nobody = login(sshd, identity_file=sshd.nobodys_file)
    with open_session(nobody, DONOR) as session, pytest.raises(EncompassError, match=r"cannot be read there\. Log in"):
        copy(session, disk, tmp_path / "copy")
    with open_session(dataclasses.replace(nobody, become=True), DONOR) as session:
        copy(session, disk, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == disk.file.read_bytes()


class Writer(threading.Thread):
    """Writes to a disk or a file again and again."""

    def __init__(self, path: str, spread: int, every_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self._path, self._spread, self._every_s = path, spread, every_s
        self.is_over, self.count = threading.Event(), 0

    def run(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        while not self.is_over.wait(self._every_s):
            self.count += 1
            os.pwrite(descriptor, b"%-512d" % self.count, self.count % self._spread * CHUNK_BYTES)
            os.fsync(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: str, spread: int = 15, every_s: float = 0.0) -> t.Iterator[Writer]:
    writer = Writer(path, spread, every_s)
    writer.start()
    try:
        yield writer
    finally:
        writer.is_over.set()
        writer.join(timeout=30)


def test_a_disk_that_is_written_to_all_the_time_is_refused(session: DonorSession, disk: Disk, tmp_path: Path) -> None:
    with writing(disk.device), pytest.raises(Conflict, match="its disks are written to all the time: after 8 passes"):
        copy(session, disk, tmp_path / "copy")


def test_a_disk_that_changes_its_size_is_refused(session: DonorSession, disk: Disk, tmp_path: Path) -> None:
    host = parse_host(session.look(), DONOR)
    (block,) = choose_disks(host, [Path(disk.device).name], DONOR)
    os.truncate(disk.file, 14 * CHUNK_BYTES)
    run("losetup", "-c", disk.device)
    with pytest.raises(Conflict, match=f"has {14 * CHUNK_BYTES} bytes now, and had {15 * CHUNK_BYTES + 512}"):
        copy_disks(session, {tmp_path / "copy": block}, NEVER, DONOR)


# What is frozen


@pytest.fixture
def mounted(disk: Disk, tmp_path: Path) -> t.Iterator[Path]:
    """Mount a file system of the disk."""
    place = tmp_path / "a place with spaces"
    place.mkdir()
    run("mkfs.ext4", "-q", "-F", disk.device)
    run("mount", disk.device, place)
    try:
        yield place
    finally:
        run("fsfreeze", "-u", place, check=False)
        # whoever tried to write while it was frozen holds it a moment longer
        wait_until(lambda: run("umount", place, check=False).returncode == 0, timeout_s=20, what=f"release of {place}")


def freezing_of(session: DonorSession, disk: Disk, wanted: str = "auto", limit_s: float = 20) -> Freezing:
    host = parse_host(session.look(), DONOR)
    return make_freezing(host, choose_disks(host, [Path(disk.device).name], DONOR), wanted, limit_s)


def is_frozen(place: Path) -> bool:
    """Tell whether nothing can be written there; who tries is let go again."""
    attempt = subprocess.Popen(["touch", place / "attempt"])
    try:
        attempt.wait(timeout=1)
    except subprocess.TimeoutExpired:
        attempt.kill()
        return True
    return False


def test_a_file_system_that_is_written_to_is_whole_in_the_copy(
    session: DonorSession, disk: Disk, mounted: Path, tmp_path: Path
) -> None:
    freezing = freezing_of(session, disk)
    assert freezing.places == (str(mounted),)
    with writing(str(mounted / "log"), spread=2) as writer:
        told = copy(session, disk, tmp_path / "copy", freezing)
        count = writer.count
        wait_until(lambda: writer.count > count + 3, timeout_s=10, what="writer that goes on")
    assert told["consistency"] == "frozen"
    assert 0 < told["frozen_s"] < 20
    checked = run("e2fsck", "-f", "-n", tmp_path / "copy", check=False)
    assert checked.returncode == 0, checked.stdout
    assert "recover" not in checked.stdout


def test_without_freezing_a_written_file_system_is_as_after_a_crash(
    session: DonorSession, disk: Disk, mounted: Path, tmp_path: Path
) -> None:
    (mounted / "log").write_text("written\n")
    os.sync()
    told = copy(session, disk, tmp_path / "copy", freezing_of(session, disk, "never"))
    assert told["consistency"] == "crash"
    run("mount", "-o", "remount,ro", mounted)
    assert copy(session, disk, tmp_path / "copy", freezing_of(session, disk))["consistency"] == "off"


def test_what_would_be_frozen_for_too_long_is_not(
    session: DonorSession, disk: Disk, mounted: Path, tmp_path: Path
) -> None:
    for wanted, error in {"auto": Conflict, "required": Unsupported}.items():
        freezing = freezing_of(session, disk, wanted, limit_s=0.01)
        too_long = pytest.raises(error, match="its file systems may be frozen for 0 s")
        with writing(str(mounted / "log"), spread=2), too_long:
            copy(session, disk, tmp_path / "copy", freezing)
        assert not is_frozen(mounted)


def freezer(sshd: Sshd, place: Path, limit_s: int) -> t.ContextManager[subprocess.Popen[str]]:
    """Run a provider that has the place frozen."""
    known = {"identity_file": sshd.identity_file, "known_hosts": sshd.known_hosts, "port": sshd.port}
    return running_freezer(str(place), limit_s, address="root@127.0.0.1", **known)


def test_a_killed_provider_leaves_nothing_frozen(sshd: Sshd, mounted: Path) -> None:
    with freezer(sshd, mounted, 60) as process:
        assert is_frozen(mounted)
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not is_frozen(mounted), timeout_s=10, what="thaw after the provider was killed")


@pytest.mark.parametrize("death", ["sessions-killed", "provider-stopped"])
def test_the_watchdog_thaws_when_nobody_else_does(sshd: Sshd, mounted: Path, death: str) -> None:
    begun = time.monotonic()
    with freezer(sshd, mounted, 4) as process:
        if death == "sessions-killed":
            sshd.cut()
        else:
            os.kill(process.pid, signal.SIGSTOP)
        assert is_frozen(mounted)
        wait_until(lambda: not is_frozen(mounted), timeout_s=10, what="thaw by the watchdog")
        assert time.monotonic() - begun > 3.5


def test_a_freeze_that_ended_before_its_time_is_noticed(session: DonorSession, mounted: Path) -> None:
    assert session.freeze([str(mounted)], 47) == ""
    run("fsfreeze", "-u", mounted)
    assert not session.thaw()
    assert session.freeze([str(mounted), "/proc"], 47) != ""
    assert not is_frozen(mounted)
    assert "sleep 47" not in run("ps", "-eo", "args").stdout.splitlines()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones captured by the real qemu-img and libguestfs, on small disks that e2fsprogs changes and reads again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract.guests import LAYOUT, OFFSET, Clone, customize, make_master, run
from tests.contract.module_process import is_unchanged, start_module
from tests.contract.pools import make_layout, mounted_tmpfs

pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

ITEMS = [
    {"name": "greeting", "type": "file", "path": "/etc/motd", "content": "rendered for web-1\n"},
    {"name": "port", "type": "regexp", "path": "/etc/app.conf", "pattern": "^port=.*$", "replacement": "port=80"},
    {"name": "token", "type": "file", "path": "/etc/token", "secret_content": "canary-4711\n", "secret": True},
    {"name": "setup", "type": "firstboot", "content": "echo hello\n"},
]

# What an operator, a boot and a careless admin leave in a server in maintenance; offline, by debugfs.
BY_HAND = {
    "/etc/motd": "changed by hand\n",
    "/etc/token": "canary-4711 changed\n",
    "/etc/updated": "new\n",
    "/etc/encompass/firstboot/003.sh.ran": "echo\n",
    "/root/.bash_history": "passwd=hush\n",
    "/root/id_test": "-----BEGIN RSA PRIVATE KEY-----\n",
    "/var/log/syslog": "web-1 said\n",
    "/var/log/syslog.1": "web-1 said\n",
    "/tmp/scratch": "x" * 2_000_000,
    "/etc/shadow": "root:$y$j9T$abcdefgh$x:1\n",
}


def edit(clone: Clone, *commands: str) -> None:
    """Run commands of debugfs on the clone's file system; the volume is flat then."""
    raw = clone.directory / "edit.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", clone.volume, raw)
    device = f"{raw}?offset={OFFSET}"
    script = "\n".join(commands).encode()
    subprocess.run(
        ["/sbin/debugfs", "-w", "-f", "-", device], input=script, check=True, timeout=60, capture_output=True
    )
    clone.volume.unlink()
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, clone.volume)
    raw.unlink()


def change_by_hand(clone: Clone, folder: Path) -> None:
    commands = [f"mkdir {path}" for path in ("/root", "/var/log", "/etc/encompass", "/etc/encompass/firstboot")]
    for number, (path, content) in enumerate(BY_HAND.items()):
        (folder / str(number)).write_text(content)
        commands += [f"rm {path}", f"write {folder / str(number)} {path}"]
    edit(clone, *commands)


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool with clones of one master."""

    path: Path
    master: Path

    def make_clone(self, name: str) -> Clone:
        return Clone.make(self.path / "clones", name, self.master)

    def entry(self, clone: Clone, **fields: object) -> dict:
        whole = clone.entry()
        kept = {key: whole[key] for key in ("name", "directory", "volumes")}
        hardware = {"arch": "x86_64", "firmware": "bios", "disk_bus": "virtio", "min_cpus": 1, "min_memory_mib": 96}
        return {
            **kept,
            "layout": LAYOUT,
            "hardware": hardware,
            "master": f"{clone.name}-v2",
            "pool_path": str(self.path),
            **fields,
        }

    def list_all(self) -> dict[str, str]:
        """Return every file of the pool with its digest, to see that nothing was touched."""
        files = (path for path in sorted(self.path.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start_capture(entries: list[dict], *, check_mode: bool = False, **options: object) -> subprocess.Popen[str]:
    return start_module("capture", {"clones": entries, "virt_type": "qemu", **options}, check_mode=check_mode)


def capture(entries: list[dict], *, check_mode: bool = False, **options: object) -> dict:
    process = start_capture(entries, check_mode=check_mode, **options)
    output, errors = process.communicate(timeout=600)
    assert output.strip().startswith("{"), errors
    return json.loads(output)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    make_layout(folder)
    return Pool(folder, make_master(tmp_path_factory.mktemp("master")))


@pytest.fixture(scope="module")
def changed(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone that was customized, and changed by hand since."""
    clone = pool.make_clone("web")
    result = customize({"clones": [clone.entry(ITEMS)], "virt_type": "qemu"})
    assert not result["failed"], result
    change_by_hand(clone, tmp_path_factory.mktemp("by-hand"))
    return clone


@pytest.fixture(scope="module")
def refused(pool: Pool, changed: Clone) -> dict[str, dict]:
    """Capture what must not be, in one appliance: one with a private key, one that was not shut down."""
    unclean = pool.make_clone("unclean")
    edit(unclean, "feature needs_recovery")
    before = pool.list_all()
    result = capture([pool.entry(changed), pool.entry(unclean)], on_secret="fail")
    assert pool.list_all() == before
    return {item["name"]: item for item in result["objects"]}


def test_a_secret_can_be_a_reason_not_to(refused: dict[str, dict]) -> None:
    message = refused["web"]["msg"]
    assert "/root/id_test (private key)" in message
    assert "BEGIN" not in json.dumps(refused)


def test_what_was_not_shut_down_cleanly_is_refused(refused: dict[str, dict]) -> None:
    assert "was not shut down cleanly: its file system / was in use to the last" in refused["unclean"]["msg"]


@dataclasses.dataclass(frozen=True)
class Captured:
    """A master that was captured, after a first try that was killed."""

    record: dict
    leftovers: list[str]
    tree: Path


@pytest.fixture(scope="module")
def captured(
    pool: Pool, changed: Clone, refused: dict[str, dict], tmp_path_factory: pytest.TempPathFactory
) -> Captured:
    before = pool.list_all()
    killed = start_capture([pool.entry(changed)])
    deadline = time.monotonic() + 60
    while not list((pool.path / ".staging").glob("capture~web~*/root.qcow2")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    leftovers = [path.name for path in (pool.path / ".staging").iterdir()]
    result = capture([pool.entry(changed)])
    assert not result["failed"], result
    assert list((pool.path / ".staging").iterdir()) == []
    assert {name: digest for name, digest in pool.list_all().items() if not name.startswith("masters/")} == before
    record = result["objects"][0]["record"]
    folder = tmp_path_factory.mktemp("captured")
    shutil.copy(record["path"], folder / "root.qcow2")
    return Captured(record, leftovers, Clone("web", folder).extract(folder))


def test_the_master_is_named_by_its_content_and_needs_nobody(captured: Captured) -> None:
    path = Path(captured.record["path"])
    assert path.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.qcow2" == f"{captured.record['digest']}.qcow2"
    assert path.stat().st_mode & 0o777 == 0o444
    assert "backing" not in run("qemu-img", "info", "-f", "qcow2", path)


def test_a_killed_run_leaves_only_what_the_next_removes(captured: Captured) -> None:
    assert [name.rpartition("~")[0] for name in captured.leftovers] == ["capture~web"]


def test_what_was_changed_by_hand_is_kept_and_told(captured: Captured) -> None:
    assert (captured.tree / "etc/updated").read_text() == "new\n"
    assert (captured.tree / "etc/motd").read_text() == "changed by hand\n"
    assert captured.record["captured"]["changed_by_hand"] == [
        {"path": "/etc/motd", "item": "greeting", "became": "kept"},
        {"path": "/etc/token", "item": "token", "became": "taken back"},
    ]


def test_what_customization_wrote_is_gone(captured: Captured) -> None:
    tree = captured.tree
    assert (tree / "etc/app.conf").read_text() == "port=1\n"
    assert (tree / "etc/hostname").read_text() == "master\n"
    assert "127.0.1.1" not in (tree / "etc/hosts").read_text()
    assert (tree / "etc/rc.local").read_text() == "#!/bin/sh\nexit 0\n"
    assert not (tree / "etc/token").exists()
    assert not (tree / "etc/encompass").exists()


def test_it_is_nobody(captured: Captured) -> None:
    tree = captured.tree
    assert (tree / "etc/machine-id").read_bytes() == b""
    gone = ("var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/dhcp/dhclient.leases", "tmp/scratch")
    assert [name for name in gone if (tree / name).exists()] == []
    assert [path.name for path in (tree / "etc/ssh").iterdir()] == ["sshd_config"]
    assert not (tree / "root/.bash_history").exists()
    assert (tree / "var/log/syslog").read_bytes() == b""
    assert not (tree / "var/log/syslog.1").exists()
    assert set(captured.record["sealed"].values()) == {True}


def test_its_room_is_given_back(captured: Captured) -> None:
    assert captured.record["captured"]["not_trimmed"] == []
    assert captured.record["allocated_bytes"] < 2_500_000


def test_secrets_are_told_by_path_and_kind(captured: Captured) -> None:
    told = captured.record["captured"]
    assert told["secrets"] == [{"path": "/root/id_test", "kind": "private key"}]
    assert told["password_hashes"] == 1
    assert "canary" not in json.dumps(captured.record)


def test_a_second_run_changes_nothing(pool: Pool, changed: Clone, captured: Captured) -> None:
    before = pool.list_all()
    again = capture([pool.entry(changed)])
    assert is_unchanged(again)
    assert again["objects"][0]["record"] == captured.record
    assert pool.list_all() == before


def test_a_running_clone_is_refused(pool: Pool) -> None:
    clone = pool.make_clone("running")
    guest = subprocess.Popen(["qemu-io", "-f", "qcow2", clone.volume], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert guest.stdin and guest.stdout
    try:
        guest.stdout.read(8)  # its prompt: the image is open
        result = capture([pool.entry(clone)])
        planned = capture([pool.entry(clone, stage="attached")], check_mode=True)
    finally:
        guest.communicate(b"quit\n", timeout=30)
    assert "is in use, by a running guest or a tool" in result["msg"]
    assert planned["changed"] and not planned["failed"]


def test_a_full_pool_is_told_before_anything_is_made(pool: Pool, tmp_path: Path) -> None:
    clone = pool.make_clone("large")
    with mounted_tmpfs(tmp_path / "full", 256 << 10) as full:
        result = capture([pool.entry(clone, pool_path=str(full))])
        assert "bytes free" in result["msg"] and "are needed" in result["msg"]
        assert list(full.iterdir()) == []


def test_check_mode_touches_nothing(pool: Pool) -> None:
    clone = pool.make_clone("planned")
    before = pool.list_all()
    result = capture([pool.entry(clone)], check_mode=True)
    assert [step.split()[0] for step in result["objects"][0]["steps"]] == ["copy", "take", "publish"]
    assert pool.list_all() == before

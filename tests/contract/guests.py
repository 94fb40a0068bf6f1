# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disks with a Linux system's files on them, and a way to look at them without libguestfs; for tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.contract.module_process import start_module

OFFSET = 1 << 20
FILESYSTEM_MIB = 15
LAYOUT = {"mounts": [{"device": "sda1", "mountpoint": "/", "filesystem": "ext4"}], "batchable": True}

FILES = {
    "bin/sh": b"",
    "etc/debian_version": b"12.1\n",
    "etc/fstab": b"/dev/vda1 / ext4 rw 0 1\n",
    "etc/hostname": b"master\n",
    "etc/hosts": b"127.0.0.1 localhost\n",
    "etc/machine-id": b"1" * 32 + b"\n",
    "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "etc/app.conf": b"port=1\n",
    "etc/rc.local": b"#!/bin/sh\nexit 0\n",
    "etc/ssh/sshd_config": b"",
    "var/lib/dbus/machine-id": b"1" * 32 + b"\n",
    "var/lib/dhcp/dhclient.leases": b"lease {}\n",
    "var/lib/systemd/random-seed": b"s" * 32,
    "var/lib/dpkg/status": b"",
    "tmp/keep": b"",
}
LINKS = {"etc/link.conf": "app.conf", "etc/escape": "../../../../../tmp/escaped"}


def run(*command: object) -> str:
    """Run a tool and return what it prints."""
    argv = [str(word) for word in command]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120, env=environment).stdout


def make_master(folder: Path, *, data_mib: int = 0, others: Mapping[str, bytes] | None = None) -> Path:
    """Make a master with one partition, an ext4 with the files above, an ssh host key and random data, as qcow2."""
    tree = folder / "tree"
    size_mib = FILESYSTEM_MIB + data_mib + data_mib // 16
    for name, content in {**FILES, **(others or {})}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, target in LINKS.items():
        (tree / name).symlink_to(target)
    (tree / "etc/app.conf").chmod(0o640)
    if data_mib:
        with (tree / "data").open("wb") as stream:
            for _mib in range(data_mib):
                stream.write(os.urandom(1 << 20))
    run(
        "ssh-keygen",
        "-q",
        "-t",
        "rsa",
        "-b",
        2048,
        "-N",
        "",
        "-C",
        "root@master",
        "-f",
        tree / "etc/ssh/ssh_host_rsa_key",
    )
    raw = folder / "master.raw"
    with raw.open("wb") as stream:
        stream.truncate(OFFSET + (size_mib << 20))
    subprocess.run(["/sbin/sfdisk", "-q", raw], input=b"label: dos\n2048,,83,*\n", check=True, timeout=60)
    options = f"offset={OFFSET},root_owner=0:0"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", options, raw, f"{size_mib}M")
    attribute = "ea_set /etc/app.conf user.origin master\nset_inode_field /etc/app.conf mtime 20200101\n"
    subprocess.run(
        ["/sbin/debugfs", "-w", "-f", "-", f"{raw}?offset={OFFSET}"], input=attribute.encode(), check=True, timeout=60
    )
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, folder / "master.qcow2")
    raw.unlink()
    shutil.rmtree(tree)
    return folder / "master.qcow2"


@dataclasses.dataclass(frozen=True)
class Clone:
    """An overlay of a master in a directory of its own."""

    name: str
    directory: Path

    @classmethod
    def make(cls, pool: Path, name: str, master: Path) -> Clone:
        """Make one."""
        clone = cls(name, pool / name)
        clone.directory.mkdir(parents=True)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", master, "-F", "qcow2", clone.volume)
        return clone

    @property
    def volume(self) -> Path:
        """Its volume."""
        return self.directory / "root.qcow2"

    @property
    def journal(self) -> Path:
        """Its undo journal."""
        return self.directory / "undo" / "journal.json"

    def entry(self, items: list[dict] | None = None, **options: object) -> dict:
        """Return it as module customize takes it."""
        return {
            "name": self.name,
            "directory": str(self.directory),
            "volumes": [{"name": "root", "path": str(self.volume), "format": "qcow2"}],
            "layout": LAYOUT,
            "hostname": self.name,
            "machine_id": hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest(),
            "items": items or [],
            **options,
        }

    def extract(self, folder: Path) -> Path:
        """Copy all files of its file system to a folder, by e2fsprogs; refuse a file system with errors."""
        raw = folder / f"{self.name}.raw"
        target = folder / f"{self.name}.tree"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.volume, raw)
        device = f"{raw}?offset={OFFSET}"
        run("e2fsck", "-fn", device)
        run("debugfs", "-R", f"rdump / {target}", device)
        listing = run("debugfs", "-R", "ea_list /etc/app.conf", device)
        (target / "ea_list").write_text(listing)
        raw.unlink()
        return target


def list_tree(tree: Path) -> dict[str, tuple]:
    """Return everything in a tree: kind and mode, owner, content's digest or link's target, time of change of files."""
    listed = {}
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        target = str(path.readlink()) if path.is_symlink() else ""
        changed = int(status.st_mtime) if is_file and path.name != "ea_list" else 0
        listed[str(path.relative_to(tree))] = (status.st_mode, status.st_uid, status.st_gid, content, target, changed)
    return listed


def fingerprint(public_key: Path) -> str:
    """Return what ssh-keygen calls a public key."""
    return run("ssh-keygen", "-l", "-f", public_key).split()[1]


def customize(options: dict, *, check_mode: bool = False) -> dict:
    """Run module customize in a process of its own to its end, however long appliances take without KVM."""
    process = start_module("customize", options, check_mode=check_mode)
    output, errors = process.communicate(timeout=1800)
    assert output.strip().startswith("{"), errors
    return json.loads(output)

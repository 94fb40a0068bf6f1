# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clones of one master, compared with each other on their disks: nobody is who another is.

``CLONES=100`` in the environment makes a hundred.
"""

from __future__ import annotations

import hashlib
import os
import typing as t
from pathlib import Path

import pytest

from tests.contract.guests import Clone, customize, make_master

guestfs = pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

CLONES = int(os.environ.get("CLONES", "12"))

# What a system that ran once has, and what would make its clones one client to a DHCP server, or one host.
BETRAYERS = (
    "etc/dhcpcd.duid",
    "var/lib/dhcpcd/duid",
    "var/lib/dhcp/dhclient6.leases",
    "var/lib/NetworkManager/secret_key",
    "var/lib/systemd/credential.secret",
)
OWN_FILES = (
    "etc/hostname",
    "etc/machine-id",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
)
SHARED = ("file system", "partition table")
"""What is the master's in all clones, since fstab, boot loader and initrd find disks by it."""


def read_disks(paths: t.Sequence[Path]) -> list[dict[str, t.Any]]:
    """Return who each disk says it is, read from all of them in one appliance."""
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_network(False)
    handle.set_backend("direct")
    handle.set_backend_setting("force_tcg", "1")
    handle.set_memsize(768)
    for path in paths:
        handle.add_drive_opts(str(path), format="qcow2", readonly=True)
    handle.launch()
    devices = sorted(handle.list_devices(), key=handle.device_index)
    told = [read_disk(handle, device) for device in devices]
    handle.close()
    return told


def read_disk(handle: t.Any, device: str) -> dict[str, t.Any]:
    """Return who one disk says it is: digests of its own files, ids of its parts, what betrays its master."""
    handle.mount_ro(f"{device}1", "/")
    told = {name: hashlib.sha256(handle.read_file(f"/{name}")).hexdigest() for name in OWN_FILES}
    betrayers = [name for name in BETRAYERS if handle.is_file(f"/{name}")]
    handle.umount("/")
    table = bytes(handle.pread_device(device, 4, 440)).hex()
    return {**told, "betrayers": betrayers, "file system": handle.vfs_uuid(f"{device}1"), "partition table": table}


def test_no_two_clones_are_the_same_one(tmp_path: Path) -> None:
    master = make_master(tmp_path, others=dict.fromkeys(BETRAYERS, b"00:04:11:22:33:44\n"))
    clones = [Clone.make(tmp_path / "clones", f"web-{number}", master) for number in range(1, CLONES + 1)]
    entries = [clone.entry() for clone in clones]
    made = customize({"clones": entries, "virt_type": "qemu", "workers": 1, "timeout_s": 1800})
    assert not made["failed"], made.get("msg")
    told = read_disks([clone.volume for clone in clones])
    assert [seen.pop("betrayers") for seen in told] == [[]] * CLONES
    for clone, seen in zip(clones, told):
        assert seen["etc/hostname"] == hashlib.sha256(f"{clone.name}\n".encode()).hexdigest()
        assert seen["etc/machine-id"] == seen["var/lib/dbus/machine-id"]
    for trait in told[0]:
        assert len({seen[trait] for seen in told}) == (1 if trait in SHARED else CLONES), trait
    recorded = [answer["record"]["identity"] for answer in made["objects"]]
    keys = [fingerprint for identity in recorded for fingerprint in identity["host_keys"].values()]
    assert len(set(keys)) == 2 * CLONES
    assert len({identity["random_seed_sha256"] for identity in recorded}) == CLONES

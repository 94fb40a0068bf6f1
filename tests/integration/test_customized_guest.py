# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A customized clone as a running guest: it is who its record says, and its first-boot script ran once."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.contract.guests import Clone, customize
from tests.lab.commands import wait_until

pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

ITEMS = [
    {"name": "count", "type": "firstboot", "content": "echo ran >> /var/www/firstboot.txt\nsync\n"},
    {"name": "page", "type": "file", "path": "/var/www/index.html", "content": "customized\n"},
]


@contextlib.contextmanager
def booted(clone: Clone, port: int) -> t.Iterator[None]:
    """Run a clone in a bare qemu with its web server at a port of this host."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-serial", f"file:{clone.directory}/serial.log"]
    command += ["-drive", f"file={clone.volume},format=qcow2,if=virtio"]
    command += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80", "-device", "virtio-net-pci,netdev=n"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, path: str, content: str) -> None:
    """Wait until the guest serves this content."""
    wait_until(lambda: fetch(port, path) == content, timeout_s=60, what=f"{content!r} at {path}")


def fetch(port: int, path: str) -> str:
    """Return what the guest serves, as soon as it does."""
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return t.cast("bytes", answer.read()).decode()
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, f"the guest does not serve {path}"
            time.sleep(0.5)


def ask_identity(port: int) -> dict[str, str]:
    """Return what the guest says of itself once its ssh server is up, which comes after the web server."""
    deadline = time.monotonic() + 60
    while True:
        answer = fetch(port, "/cgi-bin/identity")
        told = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        if told.get("host_key") or time.monotonic() > deadline:
            return told
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_master_with_rc_local(image: Path, folder: Path) -> Path:
    """Return an image that has an /etc/rc.local, which is what starts scripts then."""
    clone = Clone.make(folder, "master", image)
    script = {"name": "rc", "type": "file", "path": "/etc/rc.local", "content": "#!/bin/sh\nexit 0\n", "mode": "0755"}
    made = customize({"clones": [clone.entry([script])], "virt_type": "qemu"})
    assert not made["failed"], made.get("msg")
    return clone.volume


@pytest.mark.parametrize("starter", ["init.d", "rc.local"])
def test_a_guest_is_who_its_record_says_and_its_script_ran_once(mini_image: Path, tmp_path: Path, starter: str) -> None:
    image = mini_image if starter == "init.d" else make_master_with_rc_local(mini_image, tmp_path)
    clone = Clone.make(tmp_path, "web-1", image)
    result = customize({"clones": [clone.entry(ITEMS)], "virt_type": "qemu"})
    assert not result["failed"], result.get("msg")
    record = result["objects"][0]["record"]
    own = record["identity"]
    assert record["customization"]["applied"][0]["started_by"] == starter
    boots = set()
    for _boot in range(2):
        port = free_port()
        with booted(clone, port):
            assert fetch(port, "/") == "customized\n"
            wait_for(port, "/firstboot.txt", "ran\n")
            told = ask_identity(port)
            time.sleep(2)  # for the guest to have on its disk what it did; it is not shut down
        boots.add(told["boot_id"])
        assert told["hostname"] == own["hostname"] == "web-1"
        assert told["machine_id"] == own["machine_id"]
        assert told["host_key"] == own["host_keys"]["ed25519"]
        assert told["random_seed_sha256"] == own["random_seed_sha256"]
    assert len(boots) == 2

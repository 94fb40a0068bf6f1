# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd on this machine, with keys of its own: what a donor is reached by."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.lab.commands import ProcessId, run, wait_until
from tests.lab.hosts import make_key

_SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""

# Makes of root the user nobody, in a mount namespace of its own, where nobody may do what the server's sudoers say.
_BE_NOBODY = """\
#!/bin/sh
mount --bind {folder}/sudoers /etc/sudoers
exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND"
"""
SUDOERS = "nobody ALL=(root) NOPASSWD: ALL\n"


@dataclasses.dataclass(frozen=True)
class Sshd:
    """The server, and what a client needs."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def identity_file(self) -> str:
        return str(self.folder / "key")

    @property
    def nobodys_file(self) -> str:
        return str(self.folder / "nobody")

    @property
    def known_hosts(self) -> str:
        return str(self.folder / "known_hosts")

    def cut(self) -> None:
        """Cut all sessions, as a network would that is gone; the server goes on."""
        for session in _list_children(self.process.pid):
            for pid in (*_list_children(session), session):
                with contextlib.suppress(Exception):
                    ProcessId.of(pid).kill()


def _list_children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


@contextlib.contextmanager
def running_sshd(folder: Path, sudoers: str = "") -> t.Iterator[Sshd]:
    """Run an sshd that lets root in with one key, and the user nobody with another."""
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host_key", "key", "nobody"):
        make_key(folder / name, comment=name)
    (folder / "be_nobody").write_text(_BE_NOBODY.format(folder=folder), encoding="ascii")
    as_nobody = f'command="exec unshare --mount sh -eu {folder}/be_nobody" '
    keys = (folder / "key.pub").read_text() + as_nobody + (folder / "nobody.pub").read_text()
    (folder / "authorized_keys").write_text(keys, encoding="ascii")
    (folder / "sudoers").write_text(sudoers, encoding="ascii")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(_SETTINGS.format(port=port, folder=folder))
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sshd = Sshd(folder, port, process)
    try:
        wait_until(lambda: _answers(port), timeout_s=20, what="sshd")
        yield sshd
    finally:
        sshd.cut()
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


@contextlib.contextmanager
def loop_device(path: Path) -> t.Iterator[str]:
    """Make a file a disk."""
    device = run("losetup", "--show", "-f", path).stdout.strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)


def write_bytes(device: str, offset: int, content: bytes) -> None:
    """Write to a disk, past the kernel's memory of it."""
    descriptor = os.open(device, os.O_WRONLY | os.O_SYNC)
    try:
        os.pwrite(descriptor, content, offset)
    finally:
        os.close(descriptor)


_FREEZER = """
import json, sys
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_login import SshLogin
from ansible_collections.encompass.images.plugins.module_utils._drivers.donor_session import open_session
place, limit_s, login = json.loads(sys.argv[1])
with open_session(SshLogin(**login), "donor") as session:
    print(session.freeze([place], limit_s) or "frozen", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def running_freezer(place: str, limit_s: int, **login: str | int) -> t.Iterator[subprocess.Popen[str]]:
    """Run a provider that has a donor's file system frozen, and then does nothing more."""
    process = subprocess.Popen(
        [sys.executable, "-c", _FREEZER, json.dumps([place, limit_s, login])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        text=True,
    )
    assert process.stdout
    try:
        answer = process.stdout.readline()
        assert answer == "frozen\n", answer
        yield process
    finally:
        process.kill()
        process.communicate()

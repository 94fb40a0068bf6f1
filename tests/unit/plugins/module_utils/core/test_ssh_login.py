# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a donor is logged in at, and what it means when that fails."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.donor_script import SCRIPT
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_login import (
    SshLogin,
    check_login,
    explain_ending,
    render_login,
)


def test_the_command_asks_nothing_and_trusts_nobody() -> None:
    command = render_login(SshLogin("root@shop", 2222, "/keys/id", "/keys/known", become=True))
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no", "ConnectTimeout=20"):
        assert command[command.index(option) - 1] == "-o"
    assert command[-3:-1] == ["--", "root@shop"]
    words = " ".join(command[:-1])
    assert "-p 2222 -o IdentitiesOnly=yes -i /keys/id -o UserKnownHostsFile=/keys/known -- root@shop" in words
    assert shlex.split(command[-1]) == ["exec", "sudo", "-n", "sh", "-c", SCRIPT]
    plain = render_login(SshLogin("shop"))
    assert not {"-p", "-i"} & set(plain)
    assert plain[-1].startswith("exec sh -c ")


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]])
def test_shells_understand_the_script(shell: list[str]) -> None:
    subprocess.run([*shell, "-n", "-c", SCRIPT], check=True, timeout=10)


@pytest.mark.parametrize(
    "login",
    [
        SshLogin("-oProxyCommand=x"),
        SshLogin(""),
        SshLogin("a b"),
        SshLogin("root@-x"),
        SshLogin("root@shop;x"),
        SshLogin("shop", 70000),
        SshLogin("shop", identity_file="id"),
        SshLogin("shop", known_hosts="/a b"),
        SshLogin("shop", identity_file="/%h"),
    ],
)
def test_what_ssh_could_take_for_something_else_is_refused(login: SshLogin) -> None:
    with pytest.raises(InvalidRequest):
        check_login(login, "donor x")


@pytest.mark.parametrize("address", ["shop", "root@192.0.2.1", "admin_1@shop-1.example.com", "root@2001:db8::1", "::1"])
def test_addresses(address: str) -> None:
    check_login(SshLogin(address, 22, "/root/.ssh/id_ed25519", "/etc/ssh/known"), "donor x")


# What OpenSSH 9.2 and sudo 1.9 print.
UNKNOWN = (
    "No ED25519 host key is known for shop and you have requested strict checking.\nHost key verification failed.\n"
)
CHANGED = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\n"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (UNKNOWN, 255, "the provider does not know its host key. Compare its fingerprint"),
        (CHANGED, 255, "its host key is another one than the provider knows. Find out why"),
        ("root@shop: Permission denied (publickey,password).\n", 255, "it lets nobody in without a password. Give id"),
        ("ssh: Could not resolve hostname shop: Name or service not known\n", 255, "its name is not known to the prov"),
        ("ssh: connect to host shop port 22: Connection refused\n", 255, "it cannot be reached: ssh: connect to host"),
        ("ssh: connect to host shop port 22: Connection timed out\n", 255, "it cannot be reached: ssh: connect to"),
        ("", 255, "it cannot be reached: ssh gave no reason. See that it is up"),
        ("sudo: a password is required\n", 1, "its sudo asks for a password. Allow the user sudo without"),
        ("sh: 1: exec: sudo: not found\n", 127, "its sudo refuses"),
        ("This account is currently not available.\n", 1, "it has no shell for what is to be done there"),
        ("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nroot@shop: Permission denied (publickey).\n", 255, "others may"),
    ],
)
def test_an_end_before_the_beginning_is_told_in_one_sentence(words: str, code: int, sentence: str) -> None:
    assert str(explain_ending("donor x", code=code, words=words, has_begun=False)).startswith(f"donor x: {sentence}")


def test_an_end_after_the_beginning_is_a_lost_connection() -> None:
    error = explain_ending("donor x", code=255, words="client_loop: send disconnect: Broken pipe\n", has_begun=True)
    assert str(error) == (
        "donor x: the connection to it was lost. "
        "What was copied is kept: run again to go on. It thaws its file systems by itself."
    )

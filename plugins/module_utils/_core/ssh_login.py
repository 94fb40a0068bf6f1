# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a provider logs in at a donor, and what ssh's last words mean. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .donor_script import SCRIPT
from .errors import EncompassError, InvalidRequest, NotFound, ToolFailed, Unsupported

CONNECT_S = 20

_ADDRESS = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9:][A-Za-z0-9.:_-]*")

# No question is ever asked, no key is ever taken on trust, and nobody there gets at anything of the provider's.
_OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    f"ConnectTimeout={CONNECT_S}",
    "ConnectionAttempts=1",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "RequestTTY=no",
    "EscapeChar=none",
    "LogLevel=ERROR",
)


@dataclasses.dataclass(frozen=True)
class SshLogin:
    """Who logs in where; files are the provider's."""

    address: str
    port: int = 0
    identity_file: str = ""
    known_hosts: str = ""
    become: bool = False


def check_login(login: SshLogin, subject: str) -> None:
    """Refuse what ssh could read as something else than an address or a path."""
    if not _ADDRESS.fullmatch(login.address):
        raise InvalidRequest(subject, "its address is none for ssh", remedy="Give ssh: HOST or USER@HOST.")
    if not 0 <= login.port <= 65535:
        raise InvalidRequest(subject, f"{login.port} is no port")
    for option, path in {"identity_file": login.identity_file, "known_hosts": login.known_hosts}.items():
        if path and (not path.startswith("/") or re.search(r"[\s\"%$]", path)):
            raise InvalidRequest(subject, f"its {option} {path!r} is not a plain absolute path")


def check_devices(paths: t.Sequence[str], subject: str) -> None:
    """Refuse what is no plain path of a device; it stands in a line of its own on the way to the donor."""
    for path in paths:
        if not re.fullmatch(r"/dev/[^\s]+", path):
            raise InvalidRequest(subject, f"its disk {path!r} is no device", remedy="Give paths such as /dev/sda.")


def render_login(login: SshLogin) -> list[str]:
    """Return the command that runs the script at the donor."""
    options = [part for option in _OPTIONS for part in ("-o", option)]
    if login.port:
        options += ["-p", str(login.port)]
    if login.identity_file:
        options += ["-o", "IdentitiesOnly=yes", "-i", login.identity_file]
    if login.known_hosts:
        options += ["-o", f"UserKnownHostsFile={login.known_hosts}"]
    become = "sudo -n " if login.become else ""
    return ["ssh", "-T", *options, "--", login.address, f"exec {become}sh -c '{SCRIPT}'"]


_Ending = tuple[str, "type[EncompassError]", str, str]

# The first that fits: ssh's words in the C locale, with its exit status 255.
_SSH_ENDINGS: tuple[_Ending, ...] = (
    (
        "IDENTIFICATION HAS CHANGED",
        ToolFailed,
        "its host key is another one than the provider knows",
        "Find out why; only then replace the key in known_hosts there.",
    ),
    (
        "Host key verification failed",
        ToolFailed,
        "the provider does not know its host key",
        "Compare its fingerprint, then add the key to known_hosts of root there, or name a file (known_hosts).",
    ),
    ("UNPROTECTED PRIVATE KEY", ToolFailed, "others may read its identity_file", "Give the file mode 0600."),
    (
        "Permission denied",
        ToolFailed,
        "it lets nobody in without a password",
        "Give identity_file, or add the provider's key to authorized_keys there.",
    ),
    ("Could not resolve", NotFound, "its name is not known to the provider", "Look at the name, or give an address."),
)

# What runs there instead of the script.
_OTHER_ENDINGS: tuple[_Ending, ...] = (
    (
        "password is required",
        ToolFailed,
        "its sudo asks for a password",
        "Allow the user sudo without a password (NOPASSWD), or log in as root.",
    ),
    ("sudo", ToolFailed, "its sudo refuses", "Allow the user sudo without a password, or log in as root."),
    ("", Unsupported, "it has no shell for what is to be done there", "Give a user with a POSIX shell."),
)
_SSH_FAILED = 255


def explain_ending(subject: str, *, code: int | None, words: str, has_begun: bool) -> EncompassError:
    """Return what it means that a session ended; ``has_begun`` says whether the script had greeted before."""
    if has_begun:
        return lose_connection(subject)
    for sign, kind, problem, remedy in _SSH_ENDINGS if code == _SSH_FAILED else _OTHER_ENDINGS:
        if sign in words:
            return kind(subject, problem, remedy=remedy)
    last = (words.strip().splitlines() or ["ssh gave no reason"])[-1].strip()[:200]
    return ToolFailed(
        subject, f"it cannot be reached: {last}", remedy="See that it is up, and that ssh works from the provider."
    )


def lose_connection(subject: str) -> EncompassError:
    """Return the error of a donor that does not answer any more."""
    return ToolFailed(
        subject,
        "the connection to it was lost",
        remedy="What was copied is kept: run again to go on. It thaws its file systems by itself.",
    )

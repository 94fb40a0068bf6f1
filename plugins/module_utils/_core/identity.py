# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a clone somebody: its name, machine-id, ssh host keys, random seed. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import re
import typing as t

from .errors import InvalidRequest, ToolFailed
from .guest_changes import Change, EditHosts, Remove, SetContent
from .guest_files import FileState
from .ssh_keys import fingerprint_private, fingerprint_public

RANDOM_SEED_BYTES = 512
KEY_TYPES = ("ed25519", "ecdsa", "rsa")
"""Types of host keys that are made anew; keys of any other type (dsa) are removed."""

HOSTNAME, HOSTS, MACHINE_ID, DBUS_ID = "/etc/hostname", "/etc/hosts", "/etc/machine-id", "/var/lib/dbus/machine-id"
_KEYS = "/etc/ssh/ssh_host_"
_SEED_HOMES = ("/var/lib/systemd", "/var/lib/urandom")
_OWN_FILES = (
    HOSTNAME,
    HOSTS,
    MACHINE_ID,
    DBUS_ID,
    *_SEED_HOMES,
    *(f"{home}/random-seed" for home in _SEED_HOMES),
    "/usr/sbin/sshd",
    "/etc/ssh",
    "/etc/ssh/sshd_config",
    f"{_KEYS}*",
)
LEFTOVERS = (
    "/etc/udev/rules.d/*persistent-net.rules",
    "/var/lib/dhcp/*lease*",
    "/var/lib/dhcp3/*lease*",
    "/var/lib/dhclient/*lease*",
    "/var/lib/dhcpcd/*lease*",
    "/var/lib/NetworkManager/*lease*",
    # By a DUID a DHCPv6 server knows a client; those of systemd and NetworkManager come of the machine-id.
    "/etc/dhcpcd.duid",
    "/var/lib/dhcpcd*/duid",
    "/var/lib/dhcpv6/*_duid",
    "/var/lib/dibbler/client-duid",
    # Made anew where they are missing; addresses, and credentials that are sealed to a host, come of them.
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/systemd/credential.secret",
)
SURVEY = (*_OWN_FILES, *LEFTOVERS)

_SECRETS = ("/random-seed", "/secret_key", "/credential.secret")
_RESERVED = re.compile(
    r"/etc/(hostname|machine-id|ssh/ssh_host_.*)|/var/lib/dbus/machine-id|/var/lib/(systemd|urandom)/random-seed"
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """The two files of one ssh host key."""

    private: bytes = dataclasses.field(repr=False)
    public: bytes = dataclasses.field(repr=False)

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint; None when the files are not whole or do not belong together."""
        fingerprint = fingerprint_private(self.private)
        return fingerprint if fingerprint == fingerprint_public(self.public) else None


@dataclasses.dataclass(frozen=True)
class Identity:
    """An identity as it is recorded: nothing in it is a secret. ``host_keys`` are fingerprints by type."""

    hostname: t.Optional[str] = None
    machine_id: t.Optional[str] = None
    random_seed_sha256: t.Optional[str] = None
    host_keys: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_record(self) -> dict[str, t.Any]:
        """Return the identity as JSON."""
        return {**dataclasses.asdict(self), "host_keys": dict(self.host_keys)}


@dataclasses.dataclass(frozen=True)
class Material:
    """All that an identity consists of, secrets included; never stored."""

    hostname: str
    machine_id: str
    random_seed: t.Optional[bytes] = dataclasses.field(default=None, repr=False)
    keys: t.Mapping[str, KeyPair] = dataclasses.field(default_factory=dict, repr=False)

    def describe(self) -> Identity:
        """Return what may be recorded of it."""
        keys = {kind: pair.fingerprint or "" for kind, pair in self.keys.items()}
        return Identity(self.hostname, self.machine_id, hash_seed(self.random_seed), keys)


def check_identity(subject: str, hostname: str, machine_id: str) -> None:
    """Refuse what cannot be a Linux system's name or id (hostname(7), machine-id(5))."""
    if len(hostname) > 64 or not _HOST_NAME.fullmatch(hostname):
        raise InvalidRequest(subject, f"{hostname!r} cannot be a host name", remedy="Use letters, digits, - and dots.")
    if not re.fullmatch("[0-9a-f]{32}", machine_id) or not machine_id.strip("0"):
        raise InvalidRequest(subject, f"{machine_id!r} cannot be a machine-id", remedy="Give 32 lower-case hex digits.")


def is_reserved(path: str) -> bool:
    """Tell whether a path belongs to the identity, so that no item may write it."""
    return _RESERVED.fullmatch(path) is not None


def is_secret(path: str) -> bool:
    """Tell whether a file of the identity may be seen by nobody: private keys, random seeds and the like."""
    return path.endswith(_SECRETS) or (path.startswith(_KEYS) and not path.endswith(".pub"))


def hash_seed(seed: bytes | None) -> str | None:
    """Return what is recorded of a random seed."""
    return None if seed is None else hashlib.sha256(seed).hexdigest()


def choose_key_types(survey: t.Collection[str]) -> tuple[str, ...]:
    """Return the types of host keys that the image is to have: those it has, and ed25519 when it has an ssh server."""
    if "/etc/ssh/" not in survey:
        return ()
    present = {kind for kind in KEY_TYPES if f"{_KEYS}{kind}_key" in survey}
    if present or "/usr/sbin/sshd" in survey or "/etc/ssh/sshd_config" in survey or _list_keys(survey):
        present.add("ed25519")
    return tuple(kind for kind in KEY_TYPES if kind in present)


def list_seeds(survey: t.Collection[str]) -> tuple[str, ...]:
    """Return where the image keeps a random seed."""
    return tuple(f"{home}/random-seed" for home in _SEED_HOMES if f"{home}/" in survey)


def key_paths(kind: str) -> tuple[str, str]:
    """Return where a host key's private and public files are."""
    return f"{_KEYS}{kind}_key", f"{_KEYS}{kind}_key.pub"


def plan_identity(material: Material, survey: t.Collection[str]) -> dict[str, Change]:
    """Return the changes that give an image this identity and take its master's away."""
    machine_id = SetContent(f"{material.machine_id}\n".encode())
    changes: dict[str, Change] = {path: Remove() for path in _list_leftovers(survey)}
    changes[HOSTNAME] = SetContent(f"{material.hostname}\n".encode())
    changes[MACHINE_ID] = machine_id if MACHINE_ID in survey else dataclasses.replace(machine_id, mode=0o444)
    if HOSTS in survey:
        changes[HOSTS] = EditHosts(material.hostname)
    if DBUS_ID in survey:
        changes[DBUS_ID] = machine_id
    if material.random_seed is not None:
        changes.update({path: SetContent(material.random_seed, 0o600) for path in list_seeds(survey)})
    for kind, pair in material.keys.items():
        private, public = key_paths(kind)
        changes[private] = SetContent(pair.private, None if private in survey else 0o600)
        changes[public] = SetContent(pair.public)
    return changes


def read_identity(read: t.Callable[[str], FileState], survey: t.Collection[str]) -> Identity:
    """Return the identity that an image has, given a way to read its files."""
    keys = {}
    for kind in choose_key_types(survey):
        private, public = (read(path).content for path in key_paths(kind))
        keys[kind] = KeyPair(private, public).fingerprint or "(broken)"
    seeds = {read(path).content for path in list_seeds(survey)} - {b""}
    return Identity(
        hostname=_read_word(read(HOSTNAME)),
        machine_id=_read_word(read(MACHINE_ID)),
        random_seed_sha256="+".join(sorted(hashlib.sha256(seed).hexdigest() for seed in seeds)) or None,
        host_keys=keys,
    )


def require_identity(subject: str, wanted: Identity, found: Identity) -> None:
    """Refuse an image that does not hold the identity that was just written to it."""
    expected, seen = wanted.to_record(), found.to_record()
    wrong = [name for name in expected if expected[name] != seen[name]]
    if wrong:
        raise ToolFailed(
            subject,
            f"read back after writing, its {', '.join(wrong)} is not what was written",
            remedy="Run again; if it happens again, the clone's disk or its master's file system is damaged.",
        )


def list_shared_traits(found: Identity, master: Identity) -> list[str]:
    """Return what a clone has in common with its master though it must not."""
    ours, theirs = found.to_record(), master.to_record()
    shared = [name for name in ("machine_id", "random_seed_sha256") if ours[name] and ours[name] == theirs[name]]
    keys = set(found.host_keys.values()) & set(master.host_keys.values())
    return [*shared, *(["host_keys"] if keys else [])]


def describe_sealing(identity: Identity, survey: t.Collection[str], keys: t.Collection[str]) -> dict[str, bool]:
    """Return, by trait, whether an image is free of an identity of its own; ``keys`` are its host key files."""
    return {
        "machine_id": identity.machine_id in (None, "", "uninitialized"),
        "host_keys": not keys,
        "random_seed": identity.random_seed_sha256 is None,
        "network_leftovers": not _list_leftovers(survey),
    }


def _list_leftovers(survey: t.Collection[str]) -> list[str]:
    """Return the files that would betray the master: leases, network names, keys of types that are not made anew."""
    kept = {path for kind in choose_key_types(survey) for path in key_paths(kind)}
    # The survey may also hold what items have changed, such as /etc/os-release, which is no lease.
    traces = [path for path in survey if any(fnmatch.fnmatchcase(path, pattern) for pattern in LEFTOVERS)]
    return sorted(path for path in {*traces, *_list_keys(survey)} - kept if not path.endswith("/"))


def _list_keys(survey: t.Collection[str]) -> list[str]:
    return [path for path in survey if path.startswith(_KEYS)]


def _read_word(state: FileState) -> str | None:
    return state.content.decode("utf-8", "replace").strip() if state.content else None

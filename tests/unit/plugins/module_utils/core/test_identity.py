# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity: what an image has of one, what is written, and what counts as its own."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core import identity
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._core.guest_changes import EditHosts, Remove, SetContent
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, NOTHING, FileState
from ansible_collections.encompass.images.plugins.module_utils._core.identity import Identity, Material
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_keys import (
    fingerprint_private,
    fingerprint_public,
)
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.ssh_key_pairs import make_pair

FULL = frozenset(
    [
        "/etc/hostname",
        "/etc/hosts",
        "/etc/machine-id",
        "/var/lib/dbus/machine-id",
        "/var/lib/systemd/",
        "/etc/ssh/",
        "/usr/sbin/sshd",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssh/ssh_host_rsa_key.pub",
        "/etc/ssh/ssh_host_dsa_key",
        "/var/lib/dhcp/dhclient.leases",
        "/etc/udev/rules.d/70-persistent-net.rules",
    ]
)


class TestKeys:
    def test_both_files_have_one_fingerprint(self) -> None:
        pair = make_pair(1)
        assert pair.fingerprint == fingerprint_public(pair.public) == fingerprint_private(pair.private)
        assert pair.fingerprint.startswith("SHA256:")
        assert pair.fingerprint != make_pair(2).fingerprint

    def test_files_that_do_not_belong_together_have_none(self) -> None:
        assert make_pair(1, public_number=2).fingerprint is None

    def test_a_broken_private_key_has_none(self) -> None:
        pair = make_pair(1)
        assert make_pair(1, whole=False).fingerprint is None
        for cut in (
            b"",
            pair.private[:60],
            pair.private[:-30],
            b"x" + pair.private,
            pair.private.replace(b"b3Blb", b""),
        ):
            assert fingerprint_private(cut) is None

    @pytest.mark.parametrize("line", [b"", b"ssh-rsa", b"ssh-rsa !!!", b"ssh-rsa AAAA", b"ssh-rsa AAAAB3NzaC1kc3M="])
    def test_what_is_no_public_key_has_none(self, line: bytes) -> None:
        assert fingerprint_public(line) is None


class TestChoice:
    @pytest.mark.parametrize(
        ("survey", "types"),
        [
            ((), ()),
            (("/etc/ssh/",), ()),
            (("/usr/sbin/sshd",), ()),
            (("/etc/ssh/", "/usr/sbin/sshd"), ("ed25519",)),
            (("/etc/ssh/", "/etc/ssh/sshd_config"), ("ed25519",)),
            (("/etc/ssh/", "/etc/ssh/ssh_host_rsa_key"), ("ed25519", "rsa")),
            (("/etc/ssh/", "/etc/ssh/ssh_host_dsa_key"), ("ed25519",)),
        ],
    )
    def test_key_types(self, survey: tuple[str, ...], types: tuple[str, ...]) -> None:
        assert identity.choose_key_types(survey) == types

    def test_a_seed_goes_where_the_image_keeps_one(self) -> None:
        assert identity.list_seeds(FULL) == ("/var/lib/systemd/random-seed",)
        assert identity.list_seeds(()) == ()


class TestPlan:
    def test_what_is_written_and_removed(self) -> None:
        material = Material("web-1", "0" * 31 + "1", b"s" * 512, {"rsa": make_pair(1)})
        changes = identity.plan_identity(material, FULL)
        assert changes["/etc/hostname"] == SetContent(b"web-1\n")
        assert changes["/etc/hosts"] == EditHosts("web-1")
        assert changes["/etc/machine-id"] == changes["/var/lib/dbus/machine-id"] == SetContent(b"0" * 31 + b"1\n")
        assert changes["/var/lib/systemd/random-seed"] == SetContent(b"s" * 512, 0o600)
        assert changes["/etc/ssh/ssh_host_rsa_key"] == SetContent(make_pair(1).private)
        removed = {path for path, change in changes.items() if change == Remove()}
        assert removed == {
            "/etc/ssh/ssh_host_dsa_key",
            "/var/lib/dhcp/dhclient.leases",
            "/etc/udev/rules.d/70-persistent-net.rules",
        }

    def test_what_dhcp_servers_and_neighbours_know_the_master_by_goes(self) -> None:
        known_by = ("/etc/dhcpcd.duid", "/var/lib/dhcpcd5/duid", "/var/lib/dhcpv6/dhcp6c_duid")
        keys = ("/var/lib/NetworkManager/secret_key", "/var/lib/systemd/credential.secret")
        changes = identity.plan_identity(Material("web-1", "1" * 32), {*FULL, *known_by, *keys})
        assert {changes[path] for path in (*known_by, *keys)} == {Remove()}
        assert all(identity.is_secret(path) for path in keys)

    def test_what_items_have_changed_is_no_leftover_of_the_network(self) -> None:
        material = Material("web-1", "1" * 32, None, {"ed25519": make_pair(1)})
        changes = identity.plan_identity(material, (*FULL, "/etc/os-release", "/var/www/releases"))
        assert "/etc/os-release" not in changes
        assert "/var/www/releases" not in changes

    def test_files_that_the_image_lacks_get_their_usual_modes(self) -> None:
        material = Material("web-1", "1" * 32, None, {"ed25519": make_pair(1)})
        changes = identity.plan_identity(material, ("/etc/ssh/",))
        assert changes["/etc/machine-id"] == SetContent(b"1" * 32 + b"\n", 0o444)
        assert changes["/etc/ssh/ssh_host_ed25519_key"] == SetContent(make_pair(1).private, 0o600)
        assert "/etc/hosts" not in changes

    def test_no_secret_shows(self) -> None:
        material = Material("web-1", "1" * 32, b"hush-seed", {"rsa": make_pair(1)})
        assert "hush" not in repr(material)
        assert "PRIVATE" not in repr([material, *identity.plan_identity(material, FULL).values()])


class TestReadBack:
    def read(self, files: dict[str, bytes]):
        return lambda path: FileState(kind=FILE, content=files[path]) if path in files else NOTHING

    def test_what_was_written_is_read(self) -> None:
        pair = make_pair(1)
        files = {"/etc/hostname": b"web-1\n", "/etc/machine-id": b"1" * 32, "/var/lib/systemd/random-seed": b"s"}
        files |= {"/etc/ssh/ssh_host_ed25519_key": pair.private, "/etc/ssh/ssh_host_ed25519_key.pub": pair.public}
        survey = ("/etc/ssh/", "/usr/sbin/sshd", "/var/lib/systemd/")
        found = identity.read_identity(self.read(files), survey)
        assert found == Material("web-1", "1" * 32, b"s", {"ed25519": pair}).describe()
        identity.require_identity("clone c", found, found)
        assert identity.read_identity(self.read({}), survey).random_seed_sha256 is None
        broken = identity.read_identity(self.read({**files, "/etc/ssh/ssh_host_ed25519_key": b"x"}), survey)
        with pytest.raises(ToolFailed, match="host_keys"):
            identity.require_identity("clone c", found, broken)

    @pytest.mark.parametrize("field", ["hostname", "machine_id", "random_seed_sha256"])
    def test_each_difference_is_named(self, field: str) -> None:
        with pytest.raises(ToolFailed, match=field):
            identity.require_identity(
                "clone c", Identity("a", "b", "c"), dataclasses.replace(Identity("a", "b", "c"), **{field: "x"})
            )

    def test_what_is_shared_with_the_master_is_told(self) -> None:
        master = Identity("m", "1", "2", {"rsa": "SHA256:x"})
        assert identity.list_shared_traits(Identity("c", "9", "9", {"ed25519": "SHA256:y"}), master) == []
        assert identity.list_shared_traits(Identity("c", "1", "2", {"ed25519": "SHA256:x"}), master) == [
            "machine_id",
            "random_seed_sha256",
            "host_keys",
        ]
        assert identity.list_shared_traits(Identity("c"), Identity("m")) == []

    def test_sealing(self) -> None:
        assert all(identity.describe_sealing(Identity("m", None), ("/etc/hostname",), ()).values())
        not_sealed = identity.describe_sealing(Identity("m", "1" * 32, "2"), FULL, ("/etc/ssh/ssh_host_rsa_key",))
        assert not any(not_sealed.values())
        assert identity.describe_sealing(Identity("m", "uninitialized"), (), ())["machine_id"]


@pytest.mark.parametrize("hostname", ["", "-a", "a-", "a_b", "a..b", "a" * 65, "a b", "a\n"])
def test_bad_host_names_are_refused(hostname: str) -> None:
    with pytest.raises(InvalidRequest, match="host name"):
        identity.check_identity("clone c", hostname, "1" * 32)


@pytest.mark.parametrize("machine_id", ["", "0" * 32, "1" * 31, "G" * 32, "A" * 32, "1" * 32 + "\n"])
def test_bad_machine_ids_are_refused(machine_id: str) -> None:
    with pytest.raises(InvalidRequest, match="machine-id"):
        identity.check_identity("clone c", "web-1", machine_id)


def test_good_names_pass() -> None:
    identity.check_identity("clone c", "web-1.example.org", "0f1e2d3c4b5a69788796a5b4c3d2e1f0")


def test_paths_of_the_identity_are_reserved_and_some_secret() -> None:
    for path in ("/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_rsa_key", "/var/lib/systemd/random-seed"):
        assert identity.is_reserved(path)
    assert not identity.is_reserved("/etc/hosts")
    assert not identity.is_reserved("/etc/ssh/sshd_config")
    assert identity.is_secret("/etc/ssh/ssh_host_rsa_key")
    assert not identity.is_secret("/etc/ssh/ssh_host_rsa_key.pub")

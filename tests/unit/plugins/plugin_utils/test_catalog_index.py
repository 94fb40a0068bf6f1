# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.index import (
    TAGS,
    claims_of,
    describe_claim,
    tags_of,
)
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.objects import KINDS

MACHINE = {
    "provider": "kvm-1",
    "server": "web-1",
    "deployment": "web",
    "clone": "web-server-v2-1",
    "uuid": "AB-1",
    "nics": [
        {"mac": "52:54:00:AA:00:01", "address": "10.0.0.5/24"},
        {"mac": "52:54:00:aa:00:02", "address": "2001:DB8::0:1"},
        {"mac": "52:54:00:aa:00:03", "address": None},
    ],
}
CLONE = {
    "master": "web-server-v2",
    "provider": "kvm-1",
    "pool": "default",
    "stage": "active",
    "metastate": "operational",
    "machine": "web-1",
    "volumes": [{"name": "root", "path": "/pool/clones/a/root.qcow2"}, {"name": "data", "path": None}],
    "identity": {"machine_id": "m1", "host_keys": {"ed25519": "SHA256:x"}},
}

TAG_CASES = {
    "machine": (MACHINE, {"provider": "kvm-1", "server": "web-1", "deployment": "web", "clone": "web-server-v2-1"}),
    "clone": (
        CLONE,
        {
            "function": "web-server",
            "version": "2",
            "master": "web-server-v2",
            "provider": "kvm-1",
            "pool": "default",
            "stage": "active",
            "metastate": "operational",
            "machine": "web-1",
        },
    ),
    "master": (
        {"function": "web-server", "version": 2, "state": "available", "layout": {}},
        {"function": "web-server", "version": "2", "state": "available"},
    ),
    "pool": ({"pool": "default", "providers": ["kvm-1", "kvm-2"]}, {"pool": "default", "provider": ("kvm-1", "kvm-2")}),
    "provider": ({"virt_type": "qemu", "arch": "x86_64"}, {"virt_type": "qemu", "arch": "x86_64"}),
    "volume": (
        {"server": "web-1", "deployment": "web", "provider": "kvm-1", "pool": "default", "stage": "available"},
        {"server": "web-1", "deployment": "web", "provider": "kvm-1", "pool": "default", "stage": "available"},
    ),
    "deployment": ({"spec": {"function": "web-server", "version": 2}}, {"function": "web-server", "version": "2"}),
    "function": ({"current": 2, "last": 3}, {}),
    "profile": ({"packages": {"nginx": "1.22.1-9"}}, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tags(kind):
    body, tags = TAG_CASES[kind]

    assert tags_of(kind, body) == tags


@pytest.mark.parametrize("kind", KINDS)
def test_every_declared_tag_is_found_in_some_object(kind):
    assert set(TAG_CASES[kind][1]) == set(TAGS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_record_has_no_tags_and_no_claims(kind):
    assert tags_of(kind, {}) == {}
    assert claims_of(kind, "x", {}) == set()


def test_a_master_name_that_does_not_follow_the_rule_gives_no_function():
    assert tags_of("clone", {"master": "handmade"}) == {"master": "handmade"}


def test_claims_of_a_machine_are_normalized():
    assert claims_of("machine", "m", MACHINE) == {
        "mac:52:54:00:aa:00:01",
        "mac:52:54:00:aa:00:02",
        "mac:52:54:00:aa:00:03",
        "address:10.0.0.5",
        "address:2001:db8::1",
        "server:web-1",
        "uuid:ab-1",
        "clone-on-machine:web-server-v2-1",
    }


@pytest.mark.parametrize(("shared", "place"), [(False, "kvm-1"), (True, "default")])
def test_a_volume_is_claimed_on_its_provider_or_on_the_shared_pool(shared, place):
    assert claims_of("clone", "c", {**CLONE, "pool_shared": shared}) == {
        f"volume:{place}:/pool/clones/a/root.qcow2",
        "machine-id:m1",
        "host-key:SHA256:x",
    }


def test_a_data_volume_is_claimed_like_a_clones_volume():
    body = {"provider": "kvm-1", "pool": "default", "path": "/pool/data/web-1/db.qcow2"}
    assert claims_of("volume", "web-1.db", body) == {"volume:kvm-1:/pool/data/web-1/db.qcow2"}
    assert claims_of("volume", "web-1.db", {**body, "pool_shared": True}) == {
        "volume:default:/pool/data/web-1/db.qcow2"
    }


def test_a_claim_is_described_with_its_holder():
    assert describe_claim("address:10.0.0.5", ("machine", "db-1")) == "address 10.0.0.5 belongs to machine db-1"
    assert (
        describe_claim("mac:52:54:00:aa:00:01", ("machine", "db-1")) == "mac 52:54:00:aa:00:01 belongs to machine db-1"
    )

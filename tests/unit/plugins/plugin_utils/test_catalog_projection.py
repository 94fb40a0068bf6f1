# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.objects import Row
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.projection import (
    list_names,
    project,
    project_all,
)

BODIES = {
    ("master", "web-server-v2"): {"function": "web-server", "version": 2, "state": "available"},
    ("clone", "web-server-v2-1"): {
        "master": "web-server-v2",
        "provider": "kvm-1",
        "pool": "default",
        "stage": "active",
        "metastate": "operational",
        "method": "overlay",
        "machine": "vm-7",
        "identity": {"hostname": "web-1"},
    },
    ("clone", "web-server-v2-2"): {
        "master": "web-server-v2",
        "provider": "kvm-2",
        "stage": "unassigned",
        "machine": None,
    },
    ("machine", "vm-7"): {
        "provider": "kvm-1",
        "server": "web-1",
        "deployment": "web",
        "clone": "web-server-v2-1",
        "uuid": "u",
        "cpus": 1,
        "memory_mib": 256,
        "virt_type": "qemu",
        "nics": [{"mac": "m", "address": None}, {"mac": "n", "address": "10.0.0.5"}],
        "vars": {"tier": "gold"},
        "ready": {"at": 1},
    },
    ("machine", "spare"): {"provider": "kvm-1", "server": None, "clone": None, "nics": []},
    ("deployment", "web"): {"spec": {"function": "web-server", "vars": {"tier": "tin", "ansible_user": "admin"}}},
}


class Shelf:
    """Rows to read, as a catalog has them."""

    def get(self, kind, name):
        return Row(kind, name, 1, BODIES[kind, name], None, 0.0) if (kind, name) in BODIES else None

    def find(self, kind, **tags):
        rows = [self.get(*key) for key in sorted(BODIES) if key[0] == kind]
        return [row for row in rows if all(row.body.get(tag) == value for tag, value in tags.items())]


def test_a_server_is_found_by_its_name_with_all_that_belongs_to_it():
    assert project(Shelf(), "web-1").to_facts() == {
        "kind": "server",
        "server": "web-1",
        "function": "web-server",
        "deployment": "web",
        "master": "web-server-v2",
        "version": 2,
        "machine": {
            "name": "vm-7",
            "cpus": 1,
            "memory_mib": 256,
            "virt_type": "qemu",
            "uuid": "u",
            "nics": BODIES["machine", "vm-7"]["nics"],
        },
        "clone": {
            "name": "web-server-v2-1",
            "stage": "active",
            "metastate": "operational",
            "method": "overlay",
            "pool": "default",
            "identity": {"hostname": "web-1"},
        },
        "provider": "kvm-1",
        "address": "10.0.0.5",
        "state": "active",
        "ready": {"at": 1},
    }


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vm-7", ("machine", "active", "kvm-1", 2)),
        ("spare", ("machine", "free", "kvm-1", None)),
        ("web-server-v2-2", ("clone", "unassigned", "kvm-2", 2)),
        ("web-server-v2", ("master", "available", None, 2)),
    ],
)
def test_others_are_found_by_their_own_name(name, fields):
    facts = project(Shelf(), name).to_facts()

    assert (facts["kind"], facts["state"], facts["provider"], facts["version"]) == fields


def test_an_unknown_name_has_no_view():
    assert project(Shelf(), "web") is None


@pytest.mark.parametrize("kind", ["server", "machine", "clone", "master"])
def test_all_views_at_once_equal_the_single_ones(kind):
    views = project_all(Shelf(), kind)

    expected = {"server": ["web-1"], "machine": ["spare", "vm-7"]}.get(kind) or [n for k, n in BODIES if k == kind]
    assert sorted(view.name for view in views) == expected
    for view in views:
        assert view.to_facts() == project(Shelf(), view.name).to_facts()


def test_names():
    assert list_names(Shelf()) == {"web-1", "vm-7", "spare", "web-server-v2", "web-server-v2-1", "web-server-v2-2"}


def test_variables_of_the_machine_are_stronger_than_those_of_the_deployment():
    assert project(Shelf(), "web-1").variables == {"tier": "gold", "ansible_user": "admin"}


def test_a_clone_whose_master_row_is_gone_still_tells_its_function(monkeypatch):
    monkeypatch.delitem(BODIES, ("master", "web-server-v2"))

    facts = project(Shelf(), "web-1").to_facts()

    assert (facts["function"], facts["version"], facts["master"]) == ("web-server", 2, "web-server-v2")


def test_fields_to_group_and_filter_by():
    view = project(Shelf(), "web-1")

    fields = ("server", "machine", "clone", "pool", "metastate", "state", "deployment")
    assert [view.get_field(field) for field in fields] == [
        "web-1",
        "vm-7",
        "web-server-v2-1",
        "default",
        "operational",
        "active",
        "web",
    ]
    with pytest.raises(KeyError):
        view.get_field("colour")

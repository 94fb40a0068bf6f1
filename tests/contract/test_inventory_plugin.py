# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin under the real ansible-inventory."""

from __future__ import annotations

import pytest

NATIVE = {
    "function_web_server": ["web-1", "web-2"],
    "deployment_web": ["web-1", "web-2"],
    "master_web_server_v2": ["web-1", "web-2"],
    "provider_kvm_1": ["web-2"],
    "provider_kvm_2": ["web-1"],
    "state_active": ["web-1", "web-2"],
}


def read_groups(listing):
    """Return the groups with hosts, as sorted lists."""
    groups = {name: sorted(group.get("hosts", [])) for name, group in listing.items() if name != "_meta"}
    return {name: hosts for name, hosts in groups.items() if hosts and name != "ungrouped"}


def test_active_servers_are_hosts_in_native_groups(project, servers):
    listing = project.list_inventory(ANSIBLE_CACHE_PLUGIN="memory", ENCOMPASS_CATALOG_URL=project.url)

    assert read_groups(listing) == NATIVE
    assert listing["_meta"]["hostvars"]["web-1"] == {
        "ansible_host": "10.0.0.1",
        "ansible_user": "admin",
        "motto": {"__ansible_unsafe": "{{ 6 * 7 }}"},
        "encompass_server": "web-1",
        "encompass_machine": "vm-1",
        "encompass_provider": "kvm-2",
    }


def test_records_come_as_facts_when_the_catalog_is_the_fact_cache_too(project, servers):
    facts = project.list_inventory()["_meta"]["hostvars"]["web-1"]["encompass"]

    # Up to core 2.18 the listing wraps the strings of all facts, whatever they hold.
    names = [
        value if isinstance(value, str) else value["__ansible_unsafe"] for value in (facts["server"], facts["state"])
    ]
    assert names == ["web-1", "active"]
    assert facts["machine"]["memory_mib"] == 256


def test_a_play_reaches_the_servers_by_their_groups(project, servers):
    output = project.play(
        "- ansible.builtin.debug: {msg: '{{ inventory_hostname }} at {{ ansible_host }}, {{ motto }}'}",
        hosts="function_web_server:&provider_kvm_2",
    )

    assert "web-1 at 10.0.0.1, {{ 6 * 7 }}" in output
    assert "web-2" not in output


def test_no_catalog_is_an_empty_inventory_and_none_is_made(project):
    listing = project.list_inventory()

    assert read_groups(listing) == {}
    assert not (project.path / "state").exists()


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"states": ["active", "attached"]}, ["web-1", "web-2", "web-3"]),
        ({"filters": {"provider": "kvm-1"}}, ["web-2"]),
        ({"filters": {"provider": ["kvm-1", "kvm-2"], "version": 2}}, ["web-1", "web-2"]),
        ({"filters": {"function": "db"}}, []),
        ({"objects": ["machines"]}, ["vm-1", "vm-2", "vm-3"]),
        ({"objects": ["clones"], "filters": {"state": "unassigned"}}, ["web-server-v2-4"]),
        ({"objects": ["masters", "servers"]}, ["web-1", "web-2", "web-server-v2"]),
        ({"filters": {"metastate": "operational", "pool": "default", "server": "web-2"}}, ["web-2"]),
        ({"filters": {"machine": "vm-1", "clone": "web-server-v2-1", "master": "web-server-v2"}}, ["web-1"]),
        ({"filters": {"deployment": "web", "state": "active"}}, ["web-1", "web-2"]),
    ],
)
def test_what_is_listed_can_be_chosen(project, servers, options, hosts):
    project.write_inventory(**options)

    listing = project.list_inventory("--limit", "all:!h1:!h2")

    assert sorted({host for group in read_groups(listing).values() for host in group}) == hosts


def test_a_server_is_listed_rather_than_a_machine_of_its_name(project, servers):
    with servers.transaction() as transaction:
        transaction.put("machine", "web-1", {"provider": "kvm-9"})
    project.write_inventory(objects=["machines", "servers"])

    listing = project.list_inventory()

    assert listing["_meta"]["hostvars"]["web-1"]["encompass_machine"] == "vm-1"
    assert "web-1" in read_groups(listing)["function_web_server"]


def test_constructed_groups_and_variables(project, servers):
    project.write_inventory(
        keyed_groups=[{"key": "encompass.machine.memory_mib | string", "prefix": "memory"}],
        groups={"even": "encompass_machine == 'vm-2'"},
        compose={"ansible_port": "2200 + encompass.version"},
        strict=True,
    )

    listing = project.list_inventory()

    groups = read_groups(listing)
    assert (groups["memory_256"], groups["even"]) == (["web-1", "web-2"], ["web-2"])
    assert int(listing["_meta"]["hostvars"]["web-1"]["ansible_port"]) == 2202


def test_strict_makes_an_error_of_what_is_skipped_otherwise(project, servers):
    bad = {"compose": {"x": "encompass.nonsense.deep"}}
    project.write_inventory(**bad)
    assert read_groups(project.list_inventory())["state_active"] == ["web-1", "web-2"]

    project.write_inventory(strict=True, **bad)
    output = project.run("ansible-inventory", "--list", succeeds=False, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1")
    assert "Could not set x for host web-1" in output


def test_the_catalog_can_be_named_relative_to_the_file(project, servers):
    project.write_inventory(catalog_url="../state/catalog.sqlite")

    listing = project.list_inventory(ANSIBLE_CACHE_PLUGIN="memory", ENCOMPASS_CATALOG_URL="/nowhere/at.all")

    assert read_groups(listing) == NATIVE


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"filters": {"colour": "red"}}, "there is no field 'colour'"),
        ({"catalog_url": "redis://x"}, "there is no store for redis:// URLs"),
        ({"objects": ["volumes"]}, "volumes"),
    ],
)
def test_a_bad_option_is_an_error_in_one_sentence(project, servers, options, problem):
    project.write_inventory(**options)

    output = project.run("ansible-inventory", "--list", succeeds=False, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1")

    assert problem in output


def test_refresh_inventory_shows_what_was_made_in_the_run(project, servers):
    script = project.path / "activate.py"
    script.write_text(
        "import sys, sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(\"UPDATE object SET body = replace(body, 'attached', 'active')\")\n"
        "connection.commit()\n"
    )
    project.play("""
    - ansible.builtin.assert: {that: "'web-3' not in groups.state_active"}
    - ansible.builtin.command: "{{ ansible_playbook_python }} activate.py state/catalog.sqlite"
      args: {chdir: "{{ playbook_dir }}"}
    - ansible.builtin.meta: refresh_inventory
    - ansible.builtin.assert: {that: "'web-3' in groups.state_active"}
    """)


def test_the_graph_shows_the_groups(project, servers):
    graph = project.run("ansible-inventory", "--graph")

    for group in NATIVE:
        assert f"@{group}:" in graph

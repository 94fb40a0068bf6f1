# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The info modules under the real ansible-playbook."""

from __future__ import annotations

import importlib
import json
import re

import pytest
import yaml

KINDS = ("master", "clone", "machine")
ALL = {
    "master": ["web-server-v2"],
    "clone": [f"web-server-v2-{number}" for number in range(1, 5)],
    "machine": ["vm-1", "vm-2", "vm-3"],
}
NAMES = " | map(attribute='name') | list == "


def ask(project, kind, options, *expressions, arguments=(), **run):
    """Run an info module and let Ansible assert the expressions over ``found``, its result."""
    lines = "".join(f"\n          - >-\n            {expression}" for expression in expressions or ["true"])
    return project.play(f"""
    - encompass.images.{kind}_info: {json.dumps(options)}
      register: found
    - ansible.builtin.assert:
        that:{lines}
    """, *arguments, **run)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_without_options_there_are_all_records(kind, project, servers):
    ask(
        project,
        kind,
        {},
        f"found.{kind}s{NAMES}{ALL[kind]}",
        f"found.{kind}s | map(attribute='revision') | unique | list == [1]",
        "not found.changed",
    )


SELECTIONS = {
    "masters by function": ("master", {"function": "web-server"}, ALL["master"]),
    "masters by another function": ("master", {"function": "db"}, []),
    "masters by state": ("master", {"state": ["available", "deprecated"], "version": 2}, ALL["master"]),
    "masters by another version": ("master", {"version": [1, 3]}, []),
    "clones by name": ("clone", {"name": ["web-server-v2-2", "nobody"]}, ["web-server-v2-2"]),
    "clones by stage": ("clone", {"stage": "unassigned"}, ["web-server-v2-4"]),
    "clones by function": ("clone", {"function": "web-server", "version": 2, "pool": "default"}, ALL["clone"]),
    "clones by provider": ("clone", {"provider": "kvm-2"}, ["web-server-v2-1", "web-server-v2-3"]),
    "clones by master and metastate": ("clone", {"master": "web-server-v2", "metastate": "clean"}, []),
    "clones by deployment": ("clone", {"deployment": "web"}, ALL["clone"][:3]),
    "clones by another deployment": ("clone", {"deployment": "db"}, []),
    "clones by machine": ("clone", {"machine": "vm-3"}, ["web-server-v2-3"]),
    "machines by server": ("machine", {"server": ["web-1", "web-2"]}, ["vm-1", "vm-2"]),
    "machines by deployment and provider": ("machine", {"deployment": "web", "provider": "kvm-1"}, ["vm-2"]),
    "machines by clone": ("machine", {"clone": "web-server-v2-3"}, ["vm-3"]),
    "machines by function": ("machine", {"function": "db"}, ["vm-9"]),
}


def test_options_select(project, servers):
    """Run all selections as tasks of one play: a command for each would take a minute."""
    with servers.transaction() as transaction:
        transaction.put("machine", "vm-9", {"function": "db", "provider": "kvm-9"})
    tasks = []
    for title, (kind, options, names) in SELECTIONS.items():
        tasks.append({"name": title, f"encompass.images.{kind}_info": options, "register": "found"})
        tasks.append({"ansible.builtin.assert": {"that": [f"found.{kind}s{NAMES}{names}"]}})
    project.play("\n".join(f"- {json.dumps(task)}" for task in tasks))


def test_a_query_takes_the_place_of_the_list(project, servers):
    ask(project, "machine", {"query": "[].nics[].address"}, "found.machines == ['10.0.0.1', '10.0.0.2', '10.0.0.3']")
    ask(project, "clone", {"stage": "active", "query": "length(@)"}, "found.clones == 2")


@pytest.mark.parametrize(
    ("query", "sentence"), [("[?", "is no JMESPath expression"), ("length(`1`)", "does not fit the records")]
)
def test_a_bad_query_is_one_sentence(query, sentence, project, servers):
    output = ask(project, "machine", {"query": query}, succeeds=False)
    assert sentence in output
    assert "Traceback" not in output


def test_an_unknown_option_is_refused(project, servers):
    assert "Unsupported parameters" in ask(project, "master", {"functoin": "web"}, succeeds=False)


def test_clones_of_an_older_master_are_stale(project, servers):
    stale = "found.clones | map(attribute='stale') | unique | list == "
    ask(project, "clone", {}, f"{stale}[false]")
    with servers.transaction() as transaction:
        transaction.put("master", "web-server-v10", {"function": "web-server", "version": 10, "state": "available"})
        transaction.put("master", "web-server-v11", {"function": "web-server", "version": 11, "state": "importing"})
        clone = {"master": "web-server-v10", "provider": "kvm-1", "pool": "default", "stage": "unassigned"}
        transaction.put("clone", "web-server-v10-1", {**clone, "metastate": "clean"})
    ask(project, "clone", {"master": "web-server-v2"}, f"{stale}[true]")
    ask(project, "clone", {"version": 10}, f"{stale}[false]")
    ask(project, "clone", {"query": "[?stale].name"}, f"found.clones == {ALL['clone']}")


def put_masters(catalog):
    """Put two more versions, of which the older one is current, with their packages."""
    volume = {"name": "root", "digest": "d", "virtual_bytes": 100, "allocated_bytes": 10}
    items = [{"name": "motd", "content": "one"}, {"name": "page", "content": "x"}]
    third = {
        "function": "web-server",
        "version": 3,
        "state": "available",
        "volumes": [volume],
        "hardware": {"arch": "x86_64", "min_memory_mib": 256},
        "software": {"product": "Debian GNU/Linux 12", "kernels": ["6.1.0-1"]},
        "items": items,
        "inputs": [],
        "replicas": [{"provider": "kvm-1", "pool": "default"}, {"provider": "kvm-2", "pool": "default"}],
    }
    fourth = {
        **third,
        "version": 4,
        "volumes": [{**volume, "allocated_bytes": 30}],
        "hardware": {"arch": "x86_64", "min_memory_mib": 512},
        "software": {"product": "Debian GNU/Linux 13", "kernels": ["6.12.0-1"]},
        "items": [items[1], {"name": "motd", "content": "two"}, {"name": "new"}],
        "inputs": [{"name": "greeting"}],
        "state": "deprecated",
        "delete_when_unused": True,
    }
    with catalog.transaction() as transaction:
        transaction.put("master", "web-server-v3", third)
        transaction.put("master", "web-server-v4", fourth)
        transaction.put("function", "web-server", {"current": 2, "last": 4})
        transaction.put("profile", "web-server-v3", {"packages": {"nginx": "1.22-9", "gone": "1", "same": "2"}})
        transaction.put("profile", "web-server-v4", {"packages": {"nginx": "1.26-3", "new": "1", "same": "2"}})


def test_current_masters_are_told_from_the_others(project, servers):
    ask(project, "master", {"current": True}, f"found.masters{NAMES}['web-server-v2']")
    put_masters(servers)
    ask(project, "master", {"current": True}, f"found.masters{NAMES}['web-server-v2']")
    ask(project, "master", {"current": False}, f"found.masters{NAMES}['web-server-v3', 'web-server-v4']")
    ask(project, "clone", {"query": "[?stale].name"}, "found.clones == []")


def test_two_masters_are_compared(project, servers):
    put_masters(servers)
    ask(
        project,
        "master",
        {"name": "web-server-v4", "compare": ["web-server-v3", "web-server-v4"]},
        f"found.masters{NAMES}['web-server-v4']",
        "found.comparison.packages == {'added': {'new': '1'}, 'removed': {'gone': '1'}, "
        "'changed': {'nginx': ['1.22-9', '1.26-3']}}",
        "found.comparison.kernels == {'added': ['6.12.0-1'], 'removed': ['6.1.0-1']}",
        "found.comparison.software == {'product': ['Debian GNU/Linux 12', 'Debian GNU/Linux 13']}",
        "found.comparison.hardware == {'min_memory_mib': [256, 512]}",
        "found.comparison.virtual_bytes == {'before': 100, 'after': 100, 'difference': 0}",
        "found.comparison.allocated_bytes == {'before': 10, 'after': 30, 'difference': 20}",
        "found.comparison['items'] == {'added': ['new'], 'removed': [], "
        "'changed': {'motd': {'content': ['one', 'two']}}, 'reordered': true}",
        "found.comparison.inputs == {'added': ['greeting'], 'removed': [], 'changed': {}, 'reordered': false}",
    )
    ask(
        project,
        "master",
        {"compare": ["web-server-v2", "web-server-v3"]},
        "found.comparison.packages is none",
        "found.comparison.kernels.added == ['6.1.0-1']",
    )


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["web-server-v2", "web-server-v9"], "master web-server-v9: does not exist. The library has web-server-v2."),
        (["web-server-v2"], "option compare: it names 1 masters. Name two of them."),
    ],
)
def test_a_comparison_that_cannot_be_is_one_sentence(names, sentence, project, servers):
    assert sentence in ask(project, "master", {"compare": names}, succeeds=False)


def test_the_report_of_masters(project, servers):
    assert project.run("ansible-playbook", "encompass.images.masters").count("web-server ") == 1
    put_masters(servers)
    output = project.run("ansible-playbook", "encompass.images.masters")
    [start] = [number for number, line in enumerate(output.splitlines()) if line.startswith("FUNCTION")]
    assert [line.split("  ") for line in re.sub(" {2,}", "  ", output).splitlines()[start : start + 4]] == [
        ["FUNCTION", "VERSION", "CURRENT", "STATE", "OS", "SIZE", "CLONES", "PROVIDERS"],
        ["web-server", "2", "yes", "available", "-", "0 bytes", "4", "-"],
        ["web-server", "3", "no", "available", "Debian GNU/Linux 12", "10 bytes", "0", "kvm-1, kvm-2"],
        ["web-server", "4", "no", "deprecated, to be deleted", "Debian GNU/Linux 13", "30 bytes", "0", "kvm-1, kvm-2"],
    ]
    other = project.run("ansible-playbook", "encompass.images.masters", "-e", '{"encompass_report_functions": ["db"]}')
    assert "There are no masters." in other


def test_clones_without_an_available_master_are_not_stale(project, servers):
    with servers.transaction() as transaction:
        transaction.put("master", "web-server-v2", {"function": "web-server", "version": 2, "state": "deprecated"})
    ask(project, "clone", {"query": "[?stale]"}, "found.clones == []")


def test_a_machine_tells_who_holds_it(project, servers, owner):
    operation = servers.begin("activate", [("machine", "vm-2")], owner=owner, lease_s=60)
    ask(
        project,
        "machine",
        {},
        "found.machines | map(attribute='lease') | select | list | length == 1",
        f"found.machines[1].lease.operation == '{operation.id}'",
        "found.machines[1].lease.verb == 'activate'",
        "found.machines[1].lease.run == 'mine.yml'",
        "found.machines[1].lease.until - found.machines[1].lease.since > 59",
    )


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_no_catalog_gives_no_records_and_makes_none(arguments, project):
    ask(project, "clone", {}, "found.clones == []", arguments=arguments)
    assert not (project.path / "state").exists()


def test_check_mode_reads_too_and_nothing_is_ever_written(project, servers):
    before = servers.history("machine", "vm-1")
    ask(project, "machine", {"name": "vm-1"}, "found.machines | length == 1", arguments=["--check"])
    ask(project, "machine", {"name": "vm-1"}, "found.machines | length == 1")
    assert servers.history("machine", "vm-1") == before
    assert servers.operations() == []


def test_what_a_guest_is_called_is_no_template(project, servers):
    with servers.transaction() as transaction:
        transaction.put("machine", "vm-7", {"provider": "{{ 6 * 7 }}", "server": "evil"})
    ask(project, "machine", {"name": "vm-7"}, "found.machines[0].provider | length == 11")


@pytest.mark.parametrize("kind", KINDS)
def test_the_options_are_those_documented(kind):
    package = "ansible_collections.encompass.images.plugins"
    action = importlib.import_module(f"{package}.action.{kind}_info").ActionModule
    documented = yaml.safe_load(importlib.import_module(f"{package}.modules.{kind}_info").DOCUMENTATION)["options"]
    shown = {
        option: {key: value for key, value in entry.items() if key != "description"}
        for option, entry in documented.items()
    }
    assert shown == action.argument_spec()

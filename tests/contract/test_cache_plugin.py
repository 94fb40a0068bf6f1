# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache plugin under the real ansible-playbook."""

from __future__ import annotations

import sqlite3

import ansible.template
import pytest

SET_FACTS = """
- ansible.builtin.set_fact:
    alpha: 1
    beta: {x: [1, 2]}
    cacheable: true
"""
READ_FACTS = """
- ansible.builtin.assert:
    that:
      - ansible_facts.alpha == 1
      - ansible_facts.beta.x == [1, 2]
"""


def read_data_version(project):
    """Return the counter that SQLite increments at each commit, from the file's header: sqlite.org/fileformat.html."""
    with sqlite3.connect(project.path / "state" / "catalog.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (project.path / "state" / "catalog.sqlite").read_bytes()[24:28]


def test_facts_are_there_in_the_next_run(project):
    project.play(SET_FACTS)
    project.play(READ_FACTS)


def test_facts_do_not_expire(project):
    project.play(SET_FACTS)
    project.play(READ_FACTS, ANSIBLE_CACHE_PLUGIN_TIMEOUT="1")


def test_a_run_without_facts_makes_no_catalog(project):
    project.play("- ansible.builtin.debug: {msg: hello}")
    project.play("- ansible.builtin.meta: clear_facts")
    project.play("- ansible.builtin.debug: {msg: hello}", "--flush-cache")

    assert not (project.path / "state").exists()


def test_unchanged_facts_are_not_written_again(project):
    project.play(SET_FACTS)
    before = read_data_version(project)

    project.play(SET_FACTS)

    assert read_data_version(project) == before


def test_check_mode_keeps_facts_in_the_run_only(project):
    project.play(SET_FACTS + READ_FACTS, "--check")

    assert not (project.path / "state").exists()


def test_check_mode_does_not_touch_facts_that_are_there(project):
    project.play(SET_FACTS)
    before = read_data_version(project)

    tasks = """
    - ansible.builtin.set_fact: {alpha: 2, cacheable: true}
    - ansible.builtin.meta: clear_facts
    """
    project.play(tasks, "--check")

    assert read_data_version(project) == before
    project.play(READ_FACTS)


def test_runs_at_once_keep_each_others_facts(project):
    project.play("- ansible.builtin.set_fact: {zero: 0, cacheable: true}")
    play = project.write_play("""
    - ansible.builtin.wait_for: {path: "{{ playbook_dir }}/go", sleep: 1, timeout: 60}
    - ansible.builtin.set_fact: {"key{{ number }}": "{{ number | int }}", cacheable: true}
    """)

    runs = [project.start("ansible-playbook", play, "-e", f"number={number}") for number in range(8)]
    (project.path / "go").touch()
    outputs = [run.communicate(timeout=120)[0] for run in runs]

    assert [run.returncode for run in runs] == [0] * 8, outputs
    project.play("""
    - ansible.builtin.assert:
        that: ansible_facts | dict2items | map(attribute='key') | select('match', 'key|zero') | length == 9
    """)


def test_a_key_that_another_run_changed_is_not_set_back(project):
    """The run reads 'alpha', another run changes it, then the first writes 'beta': only 'beta' may be written."""
    project.play(SET_FACTS)
    inner = project.write_play("- ansible.builtin.set_fact: {alpha: 2, cacheable: true}", name="inner.yml")

    project.play(f"""
    - ansible.builtin.debug: {{var: ansible_facts.alpha}}
    - ansible.builtin.command: {{cmd: ansible-playbook {inner}, chdir: "{{{{ playbook_dir }}}}"}}
      environment: {{PATH: "{{{{ ansible_playbook_python | dirname }}}}:/usr/bin:/bin"}}
    - ansible.builtin.set_fact: {{beta: 3, cacheable: true}}
    """)

    project.play("- ansible.builtin.assert: {that: [ansible_facts.alpha == 2, ansible_facts.beta == 3]}")


def test_clear_facts_and_flush_cache_delete_only_facts(project, servers):
    project.play(SET_FACTS, hosts="web-1", succeeds=True)
    project.play("- ansible.builtin.meta: clear_facts", hosts="web-1")
    project.play("- ansible.builtin.assert: {that: ansible_facts.alpha is not defined}", hosts="web-1")

    project.play(SET_FACTS, hosts="web-1")
    project.play("- ansible.builtin.assert: {that: ansible_facts.alpha is not defined}", "--flush-cache", hosts="web-1")

    assert [row.name for row in servers.find("machine")] == ["vm-1", "vm-2", "vm-3"]
    assert {row.revision for row in servers.find("machine")} == {1}


def test_a_server_shows_its_record(project, servers):
    project.play("""
    - ansible.builtin.assert:
        that:
          - view.server == 'web-1'
          - view.function == 'web-server'
          - view.deployment == 'web'
          - view.master == 'web-server-v2'
          - view.version == 2
          - view.machine.name == 'vm-1'
          - view.machine.memory_mib == 256
          - view.clone.stage == 'active'
          - view.provider == 'kvm-2'
          - view.address == '10.0.0.1'
          - view.state == 'active'
          - hostvars['web-2'].ansible_facts.encompass.address == '10.0.0.2'
      vars:
        view: "{{ hostvars['web-1'].ansible_facts.encompass }}"
    """)


def test_nothing_that_a_play_does_to_facts_changes_the_record(project, servers):
    before = [(row.revision, row.body) for row in servers.find("machine")]

    project.play(
        """
        - ansible.builtin.set_fact: {encompass: forged, cacheable: true}
        - ansible.builtin.assert: {that: ansible_facts.encompass.server == 'web-1'}
        """,
        hosts="web-1",
    )
    assert servers.facts_get("web-1") == {}
    project.play(
        """
        - ansible.builtin.meta: clear_facts
        - ansible.builtin.assert: {that: ansible_facts.encompass.server == 'web-1'}
        """,
        hosts="web-1",
    )

    assert [(row.revision, row.body) for row in servers.find("machine")] == before


def test_the_view_follows_the_record_within_a_run(project, servers):
    script = project.path / "change.py"
    script.write_text(
        "import sys, sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(\"UPDATE object SET body = replace(body, '10.0.0.1', '10.9.9.9') WHERE name = 'vm-1'\")\n"
        "connection.commit()\n"
    )
    project.play(
        """
        - ansible.builtin.assert: {that: ansible_facts.encompass.address == '10.0.0.1'}
        - ansible.builtin.command: "{{ ansible_playbook_python }} change.py state/catalog.sqlite"
          args: {chdir: "{{ playbook_dir }}"}
          vars: {ansible_connection: local, ansible_user: null}
        - ansible.builtin.assert: {that: ansible_facts.encompass.address == '10.9.9.9'}
        """,
        hosts="web-1",
    )


def test_facts_are_never_templates(project):
    module = project.path / "library" / "hostile.sh"
    module.parent.mkdir()
    module.write_text('#!/bin/sh\necho \'{"ansible_facts": {"motto": "{{ 6 * 7 }}"}}\'\n')
    project.play("- hostile.sh:")

    output = project.play("- ansible.builtin.debug: {msg: 'motto is {{ ansible_facts.motto }}'}")

    assert "motto is {{ 6 * 7 }}" in output


@pytest.mark.skipif(
    not hasattr(ansible.template, "trust_as_template"),
    reason="up to core 2.18 a template hands on a decrypted value without a trace of where it came from",
)
def test_a_vaulted_fact_is_not_stored_and_a_warning_names_it(project):
    (project.path / "password").write_text("correct horse\n")
    secret = project.run(
        "ansible-vault", "encrypt_string", "--vault-password-file=password", "-n", "token", "swordfish"
    )
    (project.path / "secrets.yml").write_text(secret.partition("Encryption successful")[0])

    output = project.play(
        """
        - ansible.builtin.set_fact: {kept: 1, dropped: "{{ token }}", cacheable: true}
        - ansible.builtin.assert: {that: [dropped == 'swordfish', ansible_facts.kept == 1]}
        """,
        "-e@secrets.yml",
        "--vault-password-file=password",
    )

    stored = (project.path / "state" / "catalog.sqlite").read_bytes()
    assert b"swordfish" not in stored
    assert b"kept" in stored
    assert "Fact of h1 not stored: dropped: holds a vaulted value" in output


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://localhost:6379", "there is no store for redis:// URLs"),
        ("/proc/nowhere/catalog.sqlite", "cannot be made or opened: No such file or directory"),
        ("ansible.cfg", "file is not a database"),
    ],
)
def test_a_catalog_that_cannot_be_used_stops_the_run(project, url, problem):
    output = project.play(SET_FACTS, ANSIBLE_CACHE_PLUGIN_CONNECTION=url, succeeds=False)

    assert "The fact cache cannot be used: catalog" in output
    assert problem in output


def test_the_environment_is_stronger_than_the_configuration(project, tmp_path):
    project.play(SET_FACTS, ENCOMPASS_CATALOG_URL=f"sqlite://{tmp_path}/elsewhere.sqlite")

    assert (tmp_path / "elsewhere.sqlite").exists()
    assert not (project.path / "state").exists()


MERGE = """
from ansible.plugins.loader import cache_loader, init_plugin_loader
init_plugin_loader()
one, other = cache_loader.get("encompass.images.catalog"), cache_loader.get("encompass.images.catalog")
one.set("h1", {"alpha": 1, "gamma": 1})
facts = one.get("h1")
other.set("h1", {"alpha": 2})
facts |= {"beta": 3}
one.set("h1", facts)
assert one.get("h1") == {"alpha": 2, "beta": 3, "gamma": 1}, one.get("h1")
"""


def test_between_reading_and_writing_another_run_may_write(project):
    (project.path / "merge.py").write_text(MERGE)

    project.run("python", "merge.py")


KEYS = """
import json, sys
from ansible.plugins.loader import cache_loader, init_plugin_loader
init_plugin_loader()
cache = cache_loader.get("encompass.images.catalog")
before = sorted(cache.keys())
assert all(cache.contains(key) for key in before) and not cache.contains("nobody")
assert sorted(cache.copy()) == before
try:
    cache.get("nobody")
except KeyError:
    pass
else:
    raise AssertionError("nobody has facts")
cache.flush()
print(json.dumps([before, sorted(cache.keys())]))
"""


def test_keys_contains_copy_and_flush(project, servers):
    servers.facts_set("h1", {"a": 1})
    servers.facts_set("web-1", {"a": 1})
    (project.path / "keys.py").write_text(KEYS)

    output = project.run("python", "keys.py")

    clones = [f"web-server-v2-{number}" for number in (1, 2, 3, 4)]
    names = sorted([*clones, "web-server-v2", "vm-1", "vm-2", "vm-3", "web-1", "web-2", "web-3"])
    assert __import__("json").loads(output.splitlines()[-1]) == [sorted(["h1", *names]), names]
    assert servers.facts_hosts() == []

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup under the real ansible-playbook."""

from __future__ import annotations

import pytest

LOOKUP = "lookup('encompass.images.image', "


def check(project, *expressions, **options):
    """Let Ansible assert the expressions."""
    lines = "".join(f"\n          - >-\n            {expression}" for expression in expressions)
    return project.play(f"""
    - ansible.builtin.assert:
        that:{lines}
    """, **options)  # fmt: skip


def test_records_have_their_fields_with_kind_name_and_revision(project, servers):
    check(
        project,
        LOOKUP + "'master') == [{'kind': 'master', 'name': 'web-server-v2', 'revision': 1, 'function': 'web-server', "
        "'version': 2, 'state': 'available'}]",
        LOOKUP + "'machine') | map(attribute='name') == ['vm-1', 'vm-2', 'vm-3']",
        LOOKUP + "'pool') == []",
    )


def test_selection_by_name_and_tags(project, servers):
    check(
        project,
        LOOKUP + "'machine', name='vm-2')[0].server == 'web-2'",
        LOOKUP + "'machine', name='vm-9') == []",
        LOOKUP + "'clone', tags={'stage': 'unassigned', 'version': 2}) | map(attribute='name') == ['web-server-v2-4']",
        LOOKUP + "'clone', tags={'stage': ['unassigned', 'attached']}) | length == 2",
    )


def test_a_query_works_on_what_the_tags_left(project, servers):
    check(
        project,
        LOOKUP + "'machine', query='length(@)') == 3",
        LOOKUP + "'machine', tags={'provider': 'kvm-2'}, query='[].server') == ['web-1', 'web-3']",
        LOOKUP + "'machine', query='[?memory_mib > `4096`]') == []",
        LOOKUP + "'master', query='max_by(@, &version).name') == 'web-server-v2'",
        LOOKUP + "'master', 'machine', query='length(@)') == [1, 3]",
    )


def test_no_catalog_gives_no_records_and_makes_none(project):
    check(project, LOOKUP + "'machine') == []")

    assert not (project.path / "state").exists()


def test_another_catalog_can_be_named(project, servers):
    check(
        project,
        LOOKUP + f"'machine', catalog_url='{project.url}', query='length(@)') == 3",
        ENCOMPASS_CATALOG_URL="/nowhere/at.all",
        ANSIBLE_CACHE_PLUGIN="memory",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("'flavour'", "there is no kind 'flavour'"),
        ("'machine', tags={'colour': 'red'}", "there is no tag 'colour'"),
        ("'machine', query='[?'", "is no JMESPath expression"),
        ("'machine', query='abs(@)'", "does not fit the records"),
        ("'machine', catalog_url='redis://x'", "there is no store for redis:// URLs"),
    ],
)
def test_a_bad_request_is_an_error_in_one_sentence(project, servers, arguments, problem):
    output = check(project, f"{LOOKUP}{arguments}) == []", succeeds=False)

    assert problem in output


def test_jmespath_is_needed_for_a_query_only(project, servers):
    """A module that cannot be imported stands in front of the library."""
    shadow = project.path / "shadow"
    shadow.mkdir()
    (shadow / "jmespath.py").write_text("raise ImportError('no such library')\n")

    check(project, LOOKUP + "'machine') | length == 3", PYTHONPATH=str(shadow))
    output = check(project, LOOKUP + "'machine', query='[]') == []", PYTHONPATH=str(shadow), succeeds=False)

    assert "needs the Python library jmespath, which is not installed on the control node" in output

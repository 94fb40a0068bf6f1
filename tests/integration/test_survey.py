# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every scenario takes what a survey answers: texts for numbers, truth values and lists, none of them trusted."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import MASTER, SECRET
from tests.integration.test_migrate import SpanningSite
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHosts

# What the inventory of a site says once, for the questions of its surveys to fill.
WEB = {
    "name": "web",
    "function": "web-server",
    "count": "{{ web_count | default(1) }}",
    "memory_mib": "{{ web_memory_mib | default(96) }}",
    "placement": {"providers": "{{ web_providers | default([]) }}"},
    "inputs": {"greeting": "{{ web_greeting | default('hello') }}", "token": "{{ web_token | default('') }}"},
    "ready": {"url": "http://{address}/", "timeout_s": "{{ web_timeout_s | default(150) }}"},
}
ITEMS = t.cast("list[dict[str, t.Any]]", MASTER["items"])
NEXT = {
    **MASTER,
    "items": [
        {**item, "src": f"{{{{ inventory_dir }}}}/../templates/{item['src']}"} for item in ITEMS if "src" in item
    ],
    "version": "{{ next_version | default(2) }}",
    "current": "{{ next_is_current | default(true) }}",
}

Answer = t.Union[str, list[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[SpanningSite]:
    """Return a site with one server that was deployed by a survey, and another function."""
    with LabHosts(2, share_guests=True) as lab:
        site = SpanningSite(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
        site.prepare(mini_image)
        site.add_master(function="batch")
        declared = {"encompass_deployments": [WEB], "encompass_masters": [NEXT]}
        site.controller.write("inventory/declared.json", {"all": {"vars": declared}})
        first, answers = min(site.providers), {"web_count": "1", "web_memory_mib": "104", "web_timeout_s": "150"}
        answer(site, "deploy", **answers, web_greeting="moin", web_token=SECRET, web_providers=[first])
        yield site


def answer(site: SpanningSite, scenario: str, *arguments: str, **answers: Answer) -> PlaybookRun:
    """Run a playbook as AWX does: the answers are in a file, and nothing in them is rendered."""
    lines = []
    for name, given in answers.items():
        texts = [f"!unsafe {json.dumps(text)}" for text in ([given] if isinstance(given, str) else given)]
        lines.append(f"{name}: {texts[0] if isinstance(given, str) else '[' + ', '.join(texts) + ']'}\n")
    path = site.controller.write("answers.yml", "".join(lines))
    return site.controller.run(f"encompass.images.{scenario}", *arguments, "-e", f"@{path}").require_success()


SCENARIOS: dict[str, tuple[str, dict[str, Answer], str]] = {
    "hypervisor": (
        "hypervisor",
        {"encompass_install_packages": "no", "encompass_virt_type": "qemu"},
        "PLAY [Make hosts providers]",
    ),
    "add_master": (
        "add_master",
        {"encompass_masters_keep": "3", "next_version": "3", "next_is_current": "false"},
        "PLAY [Add masters",
    ),
    "deploy": (
        "deploy",
        {"web_count": "2", "encompass_retire_data": "no", "encompass_recreate_data": "web-1.db, web-2.db"},
        "create web-2 on",
    ),
    "maintain a function": (
        "maintain",
        {
            "encompass_maintain_function": "web-server",
            "encompass_maintain_version": "1",
            "encompass_maintain_gather_facts": "false",
        },
        "is in maintenance, as server web-server-maintenance-1",
    ),
    "migrate machines": (
        "migrate",
        {"encompass_migrate_machines": "web-1", "encompass_migrate_to": "OTHER", "encompass_migrate_live": "false"},
        "it is stopped on the way",
    ),
    "migrate a deployment": (
        "migrate",
        {"encompass_migrate_deployment": "web", "encompass_migrate_machines": "", "encompass_migrate_fenced": []},
        "moves from FIRST to OTHER",
    ),
    "reassign machines": (
        "reassign",
        {
            "encompass_reassign_machines": ["web-1"],
            "encompass_reassign_function": "batch",
            "encompass_reassign_version": "1",
        },
        "of batch-v1",
    ),
    "retire some": (
        "retire",
        {"encompass_retire": "web\nnight\n", "encompass_retire_data": "yes", "encompass_hosts": ["FIRST", "OTHER"]},
        "deployment night: nothing to do",
    ),
    "verify and repair": (
        "verify",
        {"encompass_verify_repair": "yes", "encompass_verify_fail_on": "warning"},
        "TASK [encompass.images.verify : Look again]",
    ),
    "verify": ("verify", {"encompass_verify_repair": "false"}, "nothing to find fault with"),
    "report": ("report", {"encompass_report_deployments": "web,night", "encompass_report_probe": "no"}, "active  -"),
    "masters": ("masters", {"encompass_report_functions": "batch\nweb-server"}, "batch "),
    "move_catalog": ("move_catalog", {"encompass_catalog_target": "moved.sqlite"}, "PLAY [Move the catalog"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_check_mode_understands_texts(site: SpanningSite, name: str) -> None:
    playbook, answers, words = SCENARIOS[name]
    first, other = site.providers
    told = json.loads(json.dumps(answers).replace("FIRST", first).replace("OTHER", other))
    before = site.dump()
    run = answer(site, playbook, "--check", **told)
    assert words.replace("FIRST", first).replace("OTHER", other) in run.stdout
    assert site.dump() == before


def test_a_survey_leads_a_server_from_one_version_to_the_next_and_away(site: SpanningSite) -> None:
    assert site.find("machine")["web-1"]["memory_mib"] == 104
    assert site.find("machine")["web-1"]["provider"] == next(iter(site.providers))
    assert site.fetch("web-1").startswith("moin from web-1")
    answer(site, "add_master", next_version="2", next_is_current="no")
    update = {"encompass_update": "web", "encompass_update_version": "2", "encompass_update_waves": "1, 50%"}
    answer(site, "update", **update, web_memory_mib="104", web_greeting="salut", web_token=SECRET)
    assert site.find("clone")[site.find("machine")["web-1"]["clone"]]["master"] == "web-server-v2"
    assert site.fetch("web-1").startswith("salut from web-1")
    back = answer(site, "rollback", "--check", encompass_rollback=["web"], encompass_rollback_waves="1\n100%")
    assert "web-server-v1" in back.stdout

    answer(site, "maintain", encompass_maintain_clone="web-1")
    options = {"prove": "no", "keep": "false", "force": "yes", "current": "no", "on_secret": "report"}
    asked: dict[str, Answer] = {f"encompass_capture_{name}": text for name, text in options.items()}
    captured = answer(site, "capture", "--check", encompass_capture="web-1", **asked)
    assert "web-server-v3" in captured.stdout

    answer(site, "retire", encompass_retire="web", encompass_retire_data="true")
    assert site.find("machine") == site.find("clone") == {}
    assert site.domains() == {}

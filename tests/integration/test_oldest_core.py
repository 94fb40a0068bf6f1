# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way on the oldest ansible-core that is supported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.site import Site, make_web
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts
from tests.tools.core_venv import make_core_venv


@pytest.fixture
def site(fresh_lab: LabHosts, mini_image: Path, tmp_path: Path) -> Site:
    tools = make_core_venv("oldest", Path(sys.base_prefix) / "bin/python3") / "bin"
    site = Site(fresh_lab, Controller(tmp_path / "controller", lab=fresh_lab, tools=tools))
    site.prepare(mini_image)
    return site


def test_a_deployment_comes_changes_and_goes(site: Site) -> None:
    assert "core 2.17" in site.controller.command("ansible", "--version").stdout
    web = make_web(count=1)
    site.deploy(web, check=True).require_success()
    assert site.find("machine") == {}
    site.deploy(web).require_success()
    assert site.fetch("web-1").startswith("hello from web-1")
    site.deploy(web).require_unchanged()
    assert "@function_web_server" in site.controller.command("ansible-inventory", "--graph").stdout
    site.add_master(version=2)
    site.controller.run("encompass.images.update", encompass_deployments=[web]).require_success()
    assert site.find("clone")[site.find("machine")["web-1"]["clone"]]["master"] == "web-server-v2"
    site.retire("web").require_success()
    assert site.orphans() == []

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items that delete, link, protect, start and boot, seen from inside the running server; in stages, and taken back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.site import Site, make_web
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.hosts import LabHosts

LOOK = """\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "cmdline: $(cat /proc/cmdline)"
echo "release: $(stat -c '%a %u' /etc/os-release)"
echo "alias: $(readlink /var/www/alias.html)"
echo "dhcp: $(ls /usr/share/udhcpc | wc -l)"
echo "write: $(ls /var/www/cgi-bin | grep -c write)"
echo "greeter: $(cat /run/greeter 2>/dev/null)"
"""
ITEMS = [
    {"name": "look", "type": "file", "path": "/var/www/cgi-bin/look", "mode": "0755", "content": LOOK},
    {"name": "no write", "type": "delete", "path": "/var/www/cgi-bin/write"},
    {"name": "alias", "type": "link", "path": "/var/www/alias.html", "target": "index.html"},
    {"name": "release", "type": "mode", "path": "/etc/os-release", "mode": "0600", "owner": 7},
    {
        "name": "greeter",
        "type": "file",
        "path": "/etc/init.d/greeter",
        "mode": "0755",
        "content": "#!/bin/sh\necho $1 >/run/greeter\n",
    },
    {"name": "greeter on", "type": "service", "service": "greeter", "state": "enabled"},
    {"name": "boot", "type": "kernel", "arguments": {"add": ["encompass.test=1"], "remove": ["quiet"]}},
    {"name": "no keys", "type": "delete", "path": "/root/.ssh", "recursive": True},
]
WEB = make_web(count=1)
STOP = [
    {"encompass.images.activate": {"state": "inactive", "machines": [{"name": "web-1"}]}},
    {"encompass.images.attach": {"state": "detached", "machines": [{"name": "web-1"}]}},
]
START = [
    {"encompass.images.attach": {"machines": [{"name": "web-1"}]}},
    {"encompass.images.activate": {"machines": [{"name": "web-1"}]}},
]


@pytest.fixture
def site(tmp_path: Path, mini_image: Path) -> t.Iterator[Site]:
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(mini_image, items=ITEMS)
        yield site


def look(site: Site) -> dict[str, str]:
    """Return what the server sees of itself."""
    return dict(line.split(": ", 1) for line in site.fetch("web-1", "/cgi-bin/look").splitlines())


def customize(**options: str) -> dict[str, t.Any]:
    clone = {"name": "web-server-v1-1"}
    return {"encompass.images.customize": {"clones": [clone], "deployments": [WEB], **options}}


def work(site: Site, *tasks: dict[str, t.Any]) -> PlaybookRun:
    play = {"hosts": "encompass_providers", "gather_facts": False, "tasks": list(tasks)}
    return site.controller.run([play], timeout_s=600).require_success()


def pointers(run: PlaybookRun) -> list[int]:
    """Return how many items were applied after each call of the module."""
    results = run.results(action="encompass.images.customize")
    return [result["objects"][0]["record"]["customization"]["pointer"] for result in results]


def test_items_are_applied_in_stages_and_taken_back(site: Site) -> None:
    site.deploy(WEB).require_success()
    told = look(site)
    assert "encompass.test=1" in told["cmdline"].split()
    assert "quiet" not in told["cmdline"].split()
    expected = {"release": "600 7", "alias": "index.html", "dhcp": "1", "write": "0", "greeter": "start"}
    assert told.items() >= expected.items()
    assert site.fetch("web-1", "/alias.html") == site.fetch("web-1", "/")
    journal = site.find("clone")["web-server-v1-1"]["customization"]
    assert journal["pointer"] == len(ITEMS)

    run = work(site, *STOP, customize(rollback_to="look"), *START)
    assert pointers(run) == [1]
    back = look(site)
    assert "quiet" in back["cmdline"].split()
    assert back.items() >= {"release": "644 0", "write": "1"}.items()
    assert "encompass.test=1" not in back["cmdline"]
    assert "greeter" not in back or back["greeter"] == ""

    run = work(site, *STOP, customize(until="alias"), customize(until="alias"), customize(until="greeter on"))
    assert pointers(run) == [3, 3, 6]
    first, second, _third = run.results(action="encompass.images.customize")
    assert (first["changed"], second["changed"]) == (True, False)
    assert site.find("clone")["web-server-v1-1"]["customization"]["pointer"] == 6

    site.deploy(WEB).require_success()  # applies the rest
    assert {**look(site), "cmdline": ""} == {**told, "cmdline": ""}
    assert "encompass.test=1" in look(site)["cmdline"].split()
    site.deploy(WEB).require_unchanged()
    site.retire("web").require_success()

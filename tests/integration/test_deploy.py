# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function deployed end to end on real guests: made, kept, changed, repaired and taken away."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import MakeSite
from tests.integration.site import SECRET, Site, make_web

WEB = make_web(count=3, inputs={"greeting": "moin", "token": SECRET})


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site()


@pytest.fixture
def web(site: Site) -> t.Iterator[Site]:
    """Have the three web servers of WEB, as they were declared."""
    site.deploy(WEB).require_success()
    yield site


def test_check_before_the_first_run_shows_the_plan_and_leaves_no_trace(site: Site) -> None:
    before = (site.dump(), site.domains(), site.files(), site.reservations())
    run = site.deploy(WEB, check=True).require_success()
    assert "create web-1 on" in run.stdout
    assert "because overlay:" in run.stdout
    assert "fewest members" in run.stdout
    assert "KiB" in run.stdout
    assert (site.dump(), site.domains(), site.files(), site.reservations()) == before


def test_servers_answer_as_themselves(site: Site) -> None:
    run = site.deploy(WEB).require_success()
    assert any(run.changed.values())
    machines = site.find("machine")
    assert sorted(machines) == ["web-1", "web-2", "web-3"]
    assert len({machine["provider"] for machine in machines.values()}) == 2
    identities = {name: site.identity(name) for name in machines}
    for name, identity in identities.items():
        clone = site.find("clone")[machines[name]["clone"]]
        assert site.fetch(name) == f"moin from {name} at {site.address_of(name)}\n"
        assert site.fetch(name, "/first-boots") == f"{name}\n"
        assert identity["hostname"] == name
        assert identity["machine_id"] == clone["identity"]["machine_id"]
        assert identity["host_key"] == clone["identity"]["host_keys"]["ed25519"]
        assert identity["mac"] == machines[name]["nics"][0]["mac"]
        assert (clone["metastate"], clone["stage"]) == ("operational", "active")
    for field in ("hostname", "machine_id", "host_key", "random_seed_sha256", "uuid", "mac"):
        assert len({identity[field] for identity in identities.values()}) == 3, field
    assert site.orphans() == []


def test_a_second_run_changes_nothing_and_writes_nothing(web: Site) -> None:
    before = (web.dump(), web.domains(), web.files(), web.reservations())
    for check in (False, True):
        run = web.deploy(WEB, check=check).require_unchanged()
        assert "deployment web: nothing to do" in run.stdout
    assert (web.dump(), web.domains(), web.files(), web.reservations()) == before


def test_a_server_removed_behind_our_back_comes_back_the_same(web: Site) -> None:
    machine, identity = web.find("machine")["web-2"], web.identity("web-2")
    host = web.host_of("web-2")
    host.exec("virsh", "-q", "destroy", "web-2")
    host.exec("virsh", "-q", "undefine", "web-2")
    run = web.deploy(WEB).require_success()
    assert f"its domain is gone from {machine['provider']}" in run.stdout
    again = web.find("machine")["web-2"]
    assert (again["nics"], again["uuid"], again["clone"]) == (machine["nics"], machine["uuid"], machine["clone"])
    assert {**web.identity("web-2"), "boot_id": ""} == {**identity, "boot_id": ""}
    assert web.fetch("web-2", "/first-boots") == "web-2\n"
    web.deploy(WEB).require_unchanged()


def test_a_lost_volume_is_made_again_from_the_master(web: Site) -> None:
    host, machine = web.host_of("web-3"), web.find("machine")["web-3"]
    host.exec("virsh", "-q", "destroy", "web-3")
    host.exec("rm", "-r", f"/srv/local/pool/clones/{machine['clone']}")
    run = web.deploy(WEB).require_success()
    assert "is gone" in run.stdout
    assert web.fetch("web-3").startswith("moin from web-3")
    assert web.orphans() == []


def test_size_and_inputs_follow_the_declaration(web: Site) -> None:
    declared = {**WEB, "cpus": 2, "memory_mib": 128, "inputs": {**WEB["inputs"], "greeting": "salut"}}
    small_kib = int(web.identity("web-1")["memory_kib"])
    before = (web.dump(), web.domains(), web.files())
    planned = web.deploy(declared, check=True).require_success()
    assert (web.dump(), web.domains(), web.files()) == before
    run = web.deploy(declared).require_success()
    assert "memory_mib 96 -> 128" in run.stdout
    assert run.changed == planned.changed
    identity = web.identity("web-1")
    assert identity["cpus"] == "2"
    assert int(identity["memory_kib"]) - small_kib > 30 * 1024
    assert web.fetch("web-1").startswith("salut from web-1")
    web.deploy(declared).require_unchanged()


def test_count_down_and_up(web: Site) -> None:
    before = (web.dump(), web.domains(), web.files())
    planned = web.deploy({**WEB, "count": 1}, check=True).require_success()
    assert (web.dump(), web.domains(), web.files()) == before
    assert web.deploy({**WEB, "count": 1}).require_success().changed == planned.changed
    assert sorted(web.find("machine")) == ["web-1"]
    assert web.orphans() == []
    web.deploy({**WEB, "count": 2}).require_success()
    assert web.fetch("web-2").startswith("moin from web-2")


def test_new_servers_are_used_by_the_play_that_follows(web: Site, guest_key: Path) -> None:
    declared = {**WEB, "count": 4}
    connection = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(guest_key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
    }
    plays = [
        {"import_playbook": "encompass.images.deploy"},
        {
            "hosts": "function_web_server",
            "gather_facts": False,
            "vars": connection,
            "tasks": [{"name": "Ask", "ansible.builtin.raw": "hostname", "changed_when": False}],
        },
    ]
    run = web.controller.run(plays, encompass_deployments=[declared]).require_success()
    answers = {result["stdout"].strip() for result in run.results(task="Ask")}
    assert answers == {f"web-{number}" for number in range(1, 5)}


def test_the_inventory_has_groups_of_every_kind(web: Site) -> None:
    graph = web.controller.command("ansible-inventory", "--graph").stdout
    provider = web.find("machine")["web-1"]["provider"].replace("-", "_")
    for group in (
        "function_web_server",
        "deployment_web",
        "master_web_server_v1",
        f"provider_{provider}",
        "state_active",
    ):
        assert f"@{group}:" in graph
    assert "|--web-1" in graph


def test_the_report_shows_what_answers(web: Site) -> None:
    run = web.controller.run("encompass.images.report").require_success()
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("web-1 ")]
    for word in ("web-server", "web-server-v1", web.address_of("web-1"), "active", "HTTP 200"):
        assert word in line


def test_secrets_are_nowhere(web: Site) -> None:
    declared = {"all": {"vars": {"encompass_deployments": [{**WEB, "count": 4}]}}}
    web.controller.write("inventory/deployments.json", declared)
    with watched_processes() as seen:
        run = web.controller.run("encompass.images.deploy", "-vvvv", "--diff").require_success()
    web.controller.write("inventory/deployments.json", {})
    assert any("ansible-playbook" in line for line in seen)
    assert [line for line in seen if SECRET in line] == []
    assert [line for line in (run.stdout + run.stderr).splitlines() if SECRET in line] == []
    assert SECRET not in "\n".join(web.dump())
    host, clone = web.host_of("web-4"), web.find("machine")["web-4"]["clone"]
    places = ("/srv/local/pool", "/var/log", "/etc/libvirt", "/var/lib/libvirt", "/tmp", "/run")
    found = host.exec("grep", "-rlI", "--binary-files=text", SECRET, *places, check=False).stdout.split()
    assert {path for path in found if not path.startswith("/srv/local/pool/clones/")} == set()
    assert f"/srv/local/pool/clones/{clone}/root.qcow2" in found
    assert [path for path in found if not path.endswith("/root.qcow2")] == []


@contextlib.contextmanager
def watched_processes() -> t.Iterator[set[str]]:
    """Collect the command lines and environments of all processes of this machine and its labs, many times a second."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for place in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add((place / name).read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_retire_takes_everything_and_twice_is_once(web: Site) -> None:
    before = (web.dump(), web.domains(), web.files())
    planned = web.retire("web", check=True).require_success()
    assert (web.dump(), web.domains(), web.files()) == before
    assert web.retire("web").require_success().changed == planned.changed
    assert (web.find("machine"), web.find("clone"), web.find("deployment")) == ({}, {}, {})
    assert web.domains() == {}
    assert web.orphans() == []
    web.retire("web").require_unchanged()


def test_an_unused_clone_is_used_before_a_new_one_is_made(site: Site) -> None:
    provider = next(iter(site.providers))
    clones = [{"name": "spare", "master": "web-server-v1"}]
    task = {"name": "Make a spare clone", "encompass.images.clone": {"clones": clones}}
    site.controller.run([{"hosts": provider, "gather_facts": False, "tasks": [task]}]).require_success()
    assert site.find("clone")["spare"]["stage"] == "unassigned"
    run = site.deploy(make_web("solo", count=1, placement={"providers": [provider]})).require_success()
    assert "unused clone spare is there" in run.stdout
    assert site.find("machine")["solo-1"]["clone"] == "spare"
    assert site.fetch("solo-1").startswith("hello from solo-1")
    site.retire("solo").require_success()
    assert site.orphans() == []

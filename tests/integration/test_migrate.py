# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that go to another provider: running or stopped, with and without shared volumes, and when things break."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.site import DATA_ITEM, MASTER, POOL, SHARED, Site, make_web
from tests.lab.commands import wait_until
from tests.lab.controller import Controller, PlaybookRun, RunningPlaybook
from tests.lab.host_root import SHARED_BRIDGE
from tests.lab.hosts import LabHosts
from tests.lab.watcher import Watcher

OWN = ("hostname", "machine_id", "host_key", "uuid", "mac")
DATA = [
    {"name": "db", "size_mib": 16, "filesystem": "ext4", "label": "data", "pool": "default"},
    {"name": "log", "size_mib": 8, "format": "raw", "pool": "shared"},
]
PATIENCE_S = 2.0
"""How long a client waits for an answer: longer than libvirt needs to switch sides."""


class SpanningSite(Site):
    """Two providers with a network in common, each with a pool of its own and one that both reach."""

    def _variables(self) -> dict[str, t.Any]:
        variables = super()._variables()
        network = {
            "name": "encompass",
            "mode": "open",
            "subnet": self.lab.shared_guest_subnet,
            "gateway": "{{ lab_shared_gateway }}",
            "bridge": SHARED_BRIDGE,
            "spans": True,
        }
        variables["all"]["vars"].update(
            encompass_pools=[{"name": "default", "path": POOL}, {"name": "shared", "path": SHARED, "shared": True}],
            encompass_networks=[network],
            # The hosts of a lab see one directory of one kernel: there is nothing that could be out of date.
            encompass_migrate_trust_storage=True,
        )
        return variables

    def migrate(self, *names: str, **request: t.Any) -> PlaybookRun:
        """Run migrate on some machines."""
        hosts = request.pop("hosts", "encompass_providers")
        return self.controller.run(
            "encompass.images.migrate",
            encompass_migrate=[{"machines": list(names), **request}],
            encompass_hosts=hosts,
            timeout_s=300,
        )

    def other_than(self, provider: str) -> str:
        """Return the other provider."""
        return next(name for name in self.providers if name != provider)

    def provider_of(self, machine: str) -> str:
        """Return where a machine is, as the catalog says."""
        return str(self.find("machine")[machine]["provider"])

    def left(self) -> list[str]:
        """Return everything on the providers that is a guest's, wherever it lies."""
        found = []
        for name, host in self.providers.items():
            for pool in (POOL, SHARED):
                listing = host.exec("sh", "-c", f"ls -d {pool}/clones/* {pool}/.staging/* 2>/dev/null", check=False)
                found += [f"{name}: {path}" for path in listing.stdout.split()]
            found += [f"{name}: {pool}" for pool in host.exec("virsh", "-q", "pool-list", "--name").stdout.split()]
        return [line for line in found if line.split(": ")[1] not in ("default", "shared")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[SpanningSite]:
    with LabHosts(2, share_guests=True) as lab:
        site = SpanningSite(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
        site.prepare(mini_image, items=[*t.cast("list[dict[str, t.Any]]", MASTER["items"]), DATA_ITEM])
        site.controller.run("encompass.images.discover").require_success()  # now each knows of the other
        site.add_master(pool="shared", items=[*t.cast("list[dict[str, t.Any]]", MASTER["items"]), DATA_ITEM])
        yield site


@pytest.fixture(autouse=True)
def _clean(site: SpanningSite) -> t.Iterator[None]:
    yield
    site.retire(*site.find("deployment"), data=True).require_success()
    assert site.find("machine") == site.find("clone") == site.find("volume") == {}
    assert site.data() == set()
    assert site.domains() == {}
    assert site.left() == []
    assert not any("<host mac=" in text for text in site.reservations().values())


def words(site: SpanningSite, word: str = "") -> list[str]:
    """Return what the server finds in its data volume, after a word is added."""
    return site.fetch("web-1", f"/cgi-bin/data?{word}" if word else "/cgi-bin/data").split()


def deploy_one(site: SpanningSite, **changes: t.Any) -> str:
    web = make_web(count=1, **changes)
    site.deploy(web).require_success()
    return site.provider_of("web-1")


def keeps_all(site: SpanningSite, before: dict[str, t.Any], to: str) -> None:
    """Check that a machine is at a provider with all that is its own, and nowhere else."""
    after = site.find("machine")["web-1"]
    assert {key: after[key] for key in ("uuid", "nics", "server", "clone")} == {
        key: before[key] for key in ("uuid", "nics", "server", "clone")
    }
    assert (after["provider"], after["also_on"]) == (to, [])
    assert list(site.domains()) == [f"{to}/web-1"]
    assert site.fetch("web-1").startswith("hello from web-1")
    held = {name for name, text in site.reservations().items() if "<host mac=" in text}
    assert held == {to}
    groups = site.controller.command("ansible-inventory", "--graph", f"provider_{to}").stdout
    assert "web-1" in groups


@pytest.mark.parametrize("pool", ["default", "shared"])
def test_a_server_moves_running_and_back_again_stopped(site: SpanningSite, pool: str) -> None:
    source = deploy_one(site, pool=pool, data=DATA)
    target = site.other_than(source)
    before, identity = site.find("machine")["web-1"], site.identity("web-1")
    assert words(site, "first") == ["1", "first"]
    with Watcher({"web-1": site.address_of("web-1")}, timeout_s=PATIENCE_S) as watcher:
        site.migrate("web-1").require_success()
    print(f"live, {pool}: {watcher.describe()}")
    assert watcher.seen["web-1"].failures == 0
    keeps_all(site, before, target)
    assert site.identity("web-1") == identity  # the boot id among it
    assert words(site, "second") == ["1", "first", "second"]
    assert site.data() == {f"{target}:{POOL}/data/web-1/db.qcow2", f"{SHARED}/data/web-1/log.raw"}
    site.fetch("web-1", "/cgi-bin/write")

    site.migrate("web-1", to=source, live=False).require_success()
    keeps_all(site, before, source)
    assert {key: site.identity("web-1")[key] for key in OWN} == {key: identity[key] for key in OWN}
    assert words(site) == ["1", "first", "second"]
    assert site.data() == {f"{source}:{POOL}/data/web-1/db.qcow2", f"{SHARED}/data/web-1/log.raw"}
    again = site.migrate("web-1", to=source).require_unchanged()
    assert f"it is on {source} already" in again.stdout
    site.controller.run(
        "encompass.images.migrate", "--check", encompass_migrate=[{"machines": ["web-1"], "to": source}]
    ).require_unchanged()
    site.deploy(make_web(count=1, pool=pool, data=DATA)).require_unchanged()
    site.migrate("web-1", live=False).require_success()  # so that its data volumes are deleted elsewhere


def is_migrating(site: SpanningSite, provider: str) -> bool:
    """Tell whether libvirt is at work on the machine."""
    job = site.providers[provider].exec("virsh", "domjobinfo", "web-1", check=False).stdout
    return "Job type:" in job and "None" not in job.split("Job type:")[1].splitlines()[0]


def start_slow_migration(site: SpanningSite, source: str) -> RunningPlaybook:
    """Start a migration that takes some seconds, and return once it is on its way."""
    run = site.controller.start(
        "encompass.images.migrate",
        encompass_migrate=[{"machines": ["web-1"], "live": True}],
        encompass_migrate_bandwidth_mib_s=3,
    )
    wait_until(lambda: is_migrating(site, source), timeout_s=120, what="a migration on its way", every_s=0.1)
    return run


def test_the_target_dies_on_the_way(site: SpanningSite) -> None:
    source = deploy_one(site)
    target = site.other_than(source)
    before, identity = site.find("machine")["web-1"], site.identity("web-1")
    with Watcher({"web-1": site.address_of("web-1")}, timeout_s=PATIENCE_S) as watcher:
        run = start_slow_migration(site, source)
        site.providers[target].crash()
        assert run.wait(timeout_s=300).returncode != 0
    assert watcher.seen["web-1"].failures == 0
    assert site.identity("web-1") == identity
    assert site.provider_of("web-1") == source
    site.providers[target].start()
    site.deploy(make_web(count=1)).require_success()
    keeps_all(site, before, source)
    assert site.identity("web-1") == identity


def test_the_controller_dies_on_the_way(site: SpanningSite) -> None:
    source = deploy_one(site, pool="shared")
    target = site.other_than(source)
    before, identity = site.find("machine")["web-1"], site.identity("web-1")
    run = start_slow_migration(site, source)
    run.kill()
    run.wait()
    assert site.provider_of("web-1") == source
    wait_until(lambda: not is_migrating(site, source), timeout_s=120, what="the end of the migration", every_s=0.5)
    assert list(site.domains()) == [f"{target}/web-1"]
    site.deploy(make_web(count=1, pool="shared")).require_success()
    assert site.provider_of("web-1") == target
    site.deploy(make_web(count=1, pool="shared")).require_success()
    keeps_all(site, before, target)
    assert site.identity("web-1") == identity


# What virtlockd does while a guest has a volume: libvirt's src/util/virlockspace.c locks its first byte.
HOLD = (
    "import fcntl, sys, time; volume = open(sys.argv[1], 'r+b'); fcntl.lockf(volume, fcntl.LOCK_EX, 1); time.sleep(20)"
)


def test_the_hosts_themselves_keep_a_second_guest_off_a_volume(site: SpanningSite) -> None:
    source = deploy_one(site, pool="shared")
    host, other = site.providers[source], site.providers[site.other_than(source)]
    text = host.exec("virsh", "dumpxml", "--inactive", "web-1").stdout
    (volume,) = site.find("clone")[site.find("machine")["web-1"]["clone"]]["volumes"]

    def start_by_hand() -> str:
        begun = other.exec("virsh", "create", "/dev/stdin", stdin=text, check=False)
        assert begun.returncode != 0
        return begun.stderr

    locks = 'grep -q "POSIX .* WRITE $(pgrep -x virtlockd) .*:$(stat -c %i $0) 0 0" /proc/locks'
    host.exec("sh", "-c", locks, volume["path"])
    assert 'Failed to get "write" lock' in start_by_hand()  # QEMU, which comes first, keeps a lock of its own
    assert site.fetch("web-1").startswith("hello from web-1")
    host.exec("virsh", "-q", "destroy", "web-1")
    host.exec("sh", "-c", 'python3 -c "$0" "$1" >/dev/null 2>&1 & sleep 1', HOLD, volume["path"])
    assert "Lockspace resource" in start_by_hand()
    host.exec("pkill", "-f", "fcntl.LOCK_EX")
    site.deploy(make_web(count=1, pool="shared")).require_success()
    assert list(site.domains()) == [f"{source}/web-1"]
    assert site.fetch("web-1").startswith("hello from web-1")


def test_a_server_whose_provider_died_comes_up_elsewhere_on_the_operators_word(site: SpanningSite) -> None:
    source = deploy_one(site, pool="shared")
    target = site.other_than(source)
    before = site.find("machine")["web-1"]
    site.providers[source].partition()
    alive = site.migrate("web-1", fenced=[source], hosts=target)
    # The operator was wrong: the guest runs on, cut off, and its volume is locked.
    assert "in use" in alive.failures[-1]["result"]["msg"]
    site.providers[source].heal()
    site.deploy(make_web(count=1, pool="shared")).require_success()
    assert site.provider_of("web-1") == source

    site.providers[source].crash()
    refused = site.migrate("web-1", hosts=target)
    assert "was not reached in this run" in refused.failures[-1]["result"]["msg"]
    site.migrate("web-1", fenced=[source], hosts=target).require_success()
    assert site.fetch("web-1").startswith("hello from web-1")
    site.providers[source].start()
    assert site.domains().keys() == {f"{name}/web-1" for name in site.providers}
    assert site.providers[source].exec("virsh", "domstate", "web-1").stdout.strip() == "shut off"
    site.deploy(make_web(count=1, pool="shared")).require_success()
    keeps_all(site, before, target)


def test_check_mode_shows_the_plan_and_touches_nothing(site: SpanningSite) -> None:
    source = deploy_one(site)
    before = (site.dump(), site.domains(), site.files(), site.reservations())
    for live in (True, False):
        request = [{"deployment": "web", "live": live}]
        run = site.controller.run("encompass.images.migrate", "--check", encompass_migrate=request)
        run.require_success()
        assert f"moves from {source} to {site.other_than(source)}" in run.stdout
        assert ("it goes on running" if live else "it is stopped on the way") in run.stdout
    assert (site.dump(), site.domains(), site.files(), site.reservations()) == before

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that nobody manages is read over ssh while it writes to its only file system, and becomes a master."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.contract.guests import OFFSET
from tests.contract.sshd import running_freezer
from tests.integration.site import POOL, Site, make_web
from tests.integration.test_capture import Client, start_donor
from tests.integration.test_lab import ANY_HOST_KEY
from tests.lab.commands import run, wait_until
from tests.lab.controller import Controller, PlaybookRun, RunningPlaybook
from tests.lab.hosts import LabHosts

WRITE = "while sleep 0.1; do date +%s >>/root/diary; dd if=/dev/urandom of=/root/page bs=4k count=16 conv=fsync; done"


class Machine:
    """The donor, as its operator sees it."""

    def __init__(self, address: str, guest_key: Path) -> None:
        self.address = address
        self._login = ["ssh", "-i", str(guest_key), *ANY_HOST_KEY, f"root@{address}"]

    def run(self, command: str) -> str:
        return run(*self._login, command).stdout

    def identify(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id")

    def read_diary(self) -> list[int]:
        """Return when it wrote, in seconds."""
        return [int(moment) for moment in self.run("cat /root/diary").split()]

    def require_writing(self) -> None:
        """Wait until it writes on."""
        count = len(self.read_diary())
        wait_until(lambda: len(self.read_diary()) > count, timeout_s=30, what="the next line of the diary")


def introduce(site: Site, machine: Machine, guest_key: Path) -> dict[str, str]:
    """Give the provider the key and the host key of the machine; return them as a donor has them."""
    host = site.lab.hosts[0]
    shutil.copy(guest_key, host.local / "guest_key")
    (host.local / "guest_key").chmod(0o600)
    told = host.exec("ssh-keyscan", "-T", "20", "-t", "ed25519", machine.address).stdout
    (host.local / "known_hosts").write_text(told, encoding="ascii")
    return {"identity_file": "/srv/local/guest_key", "known_hosts": "/srv/local/known_hosts"}


def start_donation(site: Site, donor: dict[str, str]) -> RunningPlaybook:
    whole = {"provider": site.lab.hosts[0].name, "function": "donated", "min_memory_mib": 96, **donor}
    return site.controller.start("encompass.images.capture", encompass_capture_donors=[whole])


def donate(site: Site, donor: dict[str, str]) -> PlaybookRun:
    return start_donation(site, donor).wait()


def see_it_break_off(site: Site, machine: Machine, donor: dict[str, str]) -> None:
    """Lose the connection while the machine is read: one sentence, and nothing is lost."""
    staging = site.lab.hosts[0].local / Path(POOL).name / ".staging"
    running = start_donation(site, donor)
    kept = "donor~donated-v1~*/root.raw"
    wait_until(lambda: any(path.stat().st_blocks for path in staging.glob(kept)), timeout_s=240, what="a part of it")
    site.lab.hosts[0].exec("ss", "-K", "-t", "dst", machine.address, "dport", "=", "22")
    failed = running.wait()
    assert failed.failures[-1]["result"]["msg"] == (
        f"donor {donor['ssh']}: the connection to it was lost. What was copied is kept: run again to go on. "
        "It thaws its file systems by itself."
    )
    master = site.find("master")["donated-v1"]
    assert (master["state"], "was lost" in master["last_error"]["msg"]) == ("importing", True)
    assert len(list(staging.glob(kept))) == 1


def require_whole(site: Site, digest: str, folder: Path) -> None:
    """Fail unless the file system of the master has no errors."""
    volume = site.lab.hosts[0].local / Path(POOL).name / f"masters/{digest}.qcow2"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", volume, folder / "master.raw")
    run("e2fsck", "-f", "-n", f"{folder / 'master.raw'}?offset={OFFSET}")


def test_a_machine_runs_on_while_it_becomes_a_master(tmp_path: Path, mini_image: Path, guest_key: Path) -> None:
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(mini_image)
        machine = Machine(start_donor(site, mini_image, tmp_path), guest_key)
        boot_id = machine.identify()
        machine.run(f"({WRITE}) >/dev/null 2>&1 &")
        donor = {"ssh": f"root@{machine.address}", **introduce(site, machine, guest_key)}
        see_it_break_off(site, machine, donor)
        client = Client(machine.address)
        client.start()
        donated = donate(site, donor).require_success()
        expected = (
            f"copy /dev/vda (96.0 MiB) of {donor['ssh']} over ssh, going on with what an earlier run copied; in the"
        )
        assert expected in str(donated.events)
        client.is_over.set()
        client.join()
        assert client.silence_s < 10
        master = site.find("master")["donated-v1"]
        told = master["captured"]
        assert (master["state"], master["captured_from"]) == ("available", f"host root@{machine.address}")
        assert (told["consistency"], told["replayed"]) == ("frozen", [])
        assert told["passes"] > 2 and 0 < told["frozen_s"] < 60
        require_whole(site, master["volumes"][0]["digest"], tmp_path)
        donate(site, donor).require_unchanged()

        written = machine.run("wc -l </root/diary")
        wait_until(
            lambda: machine.run("wc -l </root/diary") != written, timeout_s=10, what="the next page of the diary"
        )
        assert machine.identify() == boot_id
        assert "sleep 60" not in machine.run("ps")
        see_it_thaw(site, machine, guest_key)

        lab.hosts[0].exec("virsh", "-q", "destroy", "guest")
        lab.hosts[0].exec("virsh", "-q", "undefine", "guest")
        site.deploy(make_web("shop", function="donated", count=1)).require_success()
        assert "web server of the master" in site.fetch("shop-1")
        assert site.identity("shop-1")["hostname"] == "shop-1"
        assert Machine(site.address_of("shop-1"), guest_key).read_diary()


def see_it_thaw(site: Site, machine: Machine, guest_key: Path) -> None:
    """Have its root frozen, and cut the line for longer than it may be."""
    known_hosts = str(site.lab.hosts[0].local / "known_hosts")
    login = {"address": f"root@{machine.address}", "identity_file": str(guest_key), "known_hosts": known_hosts}
    before = len(machine.read_diary())
    with running_freezer("/", 12, **login):
        site.lab.hosts[0].partition()
        time.sleep(14)
    site.lab.hosts[0].heal()
    machine.require_writing()
    moments = machine.read_diary()[before:]
    # Freezing itself takes a part of the time.
    assert max(later - earlier for earlier, later in zip(moments, moments[1:])) >= 4

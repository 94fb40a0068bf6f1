# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Customization and inspection by the real libguestfs, on small disks that e2fsprogs made and reads again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    InvalidRequest,
    NoSpace,
    NotFound,
    ToolFailed,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._module import customizing
from ansible_collections.encompass.images.plugins.module_utils._module.customizing import CustomizeVerb, parse_clone
from ansible_collections.encompass.images.plugins.module_utils._module.inspecting import inspect_image
from ansible_collections.encompass.images.plugins.module_utils._module.runner import Job, Outcome, run_job

from tests.contract.guests import LAYOUT, Clone, customize, fingerprint, list_tree, make_master, run
from tests.contract.module_process import is_unchanged, start_module
from tests.contract.pools import MIB, mounted_tmpfs
from tests.lab.commands import wait_until

pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

ITEMS = [
    {"name": "greeting", "type": "file", "path": "/etc/motd", "content": "hello\n", "mode": "0600", "owner": 3},
    {
        "name": "port",
        "type": "regexp",
        "path": "/etc/link.conf",
        "pattern": "^port=(.*)$",
        "replacement": r"port=\g<1>0",
    },
    {"name": "port2", "type": "regexp", "path": "/etc/app.conf", "pattern": "0$", "replacement": "00"},
    {"name": "setup", "type": "firstboot", "content": "echo hello\n"},
    {"name": "escape", "type": "file", "path": "/etc/escape", "content": "caught\n"},
]
SEED = {"meta_data": "instance-id: 1\n", "user_data": "#cloud-config\npassword: hush\n", "network_config": None}
OPTIONS = {"state": "present", "virt_type": "qemu", "timeout_s": 180}


class KillingVerb(CustomizeVerb):
    """Kills the appliance while it is at work on the clone named culprit."""

    def _customize(self, appliance, name, steps):
        if name == "culprit":
            os.kill(appliance.handle.get_pid(), signal.SIGKILL)
        return super()._customize(appliance, name, steps)


@dataclasses.dataclass
class Batch:
    """A batch and what became of it."""

    folder: Path
    clones: dict[str, Clone]
    outcomes: dict[str, Outcome]
    trees: dict[str, Path]
    appliances: int


def customize_here(entries: list[dict], *, verb: type = CustomizeVerb) -> dict[str, Outcome]:
    requests = {entry["name"]: parse_clone(complete(entry), present=True) for entry in entries}
    job = Job(verb(workers=1, timeout_s=180.0, virt_type="qemu"), requests)
    return {outcome.name: outcome for outcome in run_job(job, check_mode=False)}


def complete(entry: dict) -> dict:
    return {"seed": None, "inputs": {}, "secrets_given": [], **entry}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_master(tmp_path_factory.mktemp("master"))


@pytest.fixture(scope="module")
def batch(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Customize good and bad clones in one batch, so that appliances are started three times and no more."""
    folder = tmp_path_factory.mktemp("pool")
    names = ("good-1", "corrupt", "nowhere", "nothing", "full", "locked", "culprit", "good-2")
    clones = {name: Clone.make(folder, name, master) for name in names}
    run("qemu-io", "-f", "qcow2", "-c", "write -P 255 1M 4M", clones["corrupt"].volume)
    extra = {
        "nowhere": {"name": "bad", "type": "file", "path": "/nowhere/f", "content": ""},
        "nothing": {"name": "bad", "type": "regexp", "path": "/etc/app.conf", "pattern": "^door", "replacement": ""},
        "full": {"name": "bad", "type": "file", "path": "/etc/big", "content": "x" * (20 << 20)},
    }
    entries = [clones[name].entry([*ITEMS, *([extra[name]] if name in extra else [])], seed=SEED) for name in names]
    holder = subprocess.Popen(["qemu-io", "-f", "qcow2", clones["locked"].volume], stdin=subprocess.PIPE)
    launches = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customizing, "_RELEASE_S", 0.5)
        original = customizing.run_batches

        def count_launches(batches, serve, **options):
            def serve_counted(batch_names, run_one):
                with (folder / "launches").open("a") as stream:
                    stream.write("x")
                serve(batch_names, run_one)

            return original(batches, serve_counted, **options)

        patch.setattr(customizing, "run_batches", count_launches)
        try:
            outcomes = customize_here(entries, verb=KillingVerb)
        finally:
            holder.communicate(b"quit\n", timeout=30)
    launches = len((folder / "launches").read_text())
    trees = {name: clones[name].extract(folder) for name in ("good-1", "good-2", "nowhere", "nothing")}
    return Batch(folder, clones, outcomes, trees, launches)


def test_a_pool_that_gets_full_while_a_guest_writes_is_told_soon(master: Path, tmp_path: Path) -> None:
    items = [{"name": "big", "type": "file", "path": "/etc/big", "content": os.urandom(2 << 20).hex()}]
    with mounted_tmpfs(tmp_path / "pool", 64 << 20) as pool:
        clone = Clone.make(pool, "web-1", master)
        running = start_module("customize", {"clones": [clone.entry(items)], "virt_type": "qemu"})
        wait_until(clone.journal.exists, timeout_s=120, what="the first change", every_s=0.01)
        filler = pool / "filler"
        with filler.open("wb") as stream:  # at once, with room for journals, which are not what this is about
            os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(pool).free - MIB)
        since = time.monotonic()
        result = json.loads(running.communicate(timeout=300)[0])
        assert f"the pool at {pool} got full while it was worked on" in result["msg"]
        assert time.monotonic() - since < 60
        filler.unlink()
        assert not customize({"clones": [clone.entry(items)], "virt_type": "qemu"}).get("failed")
        assert (clone.extract(tmp_path) / "etc/big").read_text() == items[0]["content"]


class TestOneBatch:
    @pytest.mark.parametrize(
        ("name", "error", "words"),
        [
            ("corrupt", ToolFailed, "mount"),
            ("nowhere", NotFound, "/nowhere/f"),
            ("nothing", InvalidRequest, "matches nothing"),
            ("full", NoSpace, "is full"),
            ("locked", Conflict, "in use"),
            ("culprit", ToolFailed, "libguestfs failed"),
        ],
    )
    def test_a_bad_clone_fails_alone_and_says_why(self, batch: Batch, name: str, error: type, words: str) -> None:
        found = batch.outcomes[name].error
        assert isinstance(found, error)
        assert words in str(found)
        assert str(found).startswith(f"clone {name}")

    @pytest.mark.parametrize("name", ["good-1", "good-2"])
    def test_the_others_are_customized(self, batch: Batch, name: str) -> None:
        tree = batch.trees[name]
        assert batch.outcomes[name].error is None
        assert (tree / "etc/hostname").read_text() == f"{name}\n"
        assert (tree / "etc/hosts").read_text() == f"127.0.0.1 localhost\n127.0.1.1\t{name}\n"
        assert (tree / "etc/app.conf").read_text() == "port=100\n"
        assert (tree / "etc/app.conf").stat().st_mode & 0o777 == 0o640
        assert (tree / "etc/motd").stat().st_mode & 0o777 == 0o600
        assert (tree / "etc/encompass/firstboot/0000-setup.sh").read_text() == "#!/bin/sh\necho hello\n"
        assert (tree / "etc/rc.local").read_text() == "#!/bin/sh\n/etc/encompass/firstboot/run\nexit 0\n"
        assert not (tree / "var/lib/dhcp/dhclient.leases").exists()
        assert "user.origin" in (tree / "ea_list").read_text()

    def test_links_lead_nowhere_but_into_the_guest(self, batch: Batch) -> None:
        assert (batch.trees["good-1"] / "etc/escape").read_text() == "caught\n"
        assert not Path("/tmp/escaped").exists()

    def test_the_record_is_what_is_on_the_disk_and_nobody_shares(self, batch: Batch, master: Path) -> None:
        identities = [batch.outcomes[name].record["identity"] for name in ("good-1", "good-2")]
        for name, found in zip(("good-1", "good-2"), identities):
            tree = batch.trees[name]
            machine_id = (tree / "etc/machine-id").read_text().strip()
            assert found["hostname"] == name
            assert found["machine_id"] == machine_id == (tree / "var/lib/dbus/machine-id").read_text().strip()
            keys = {kind: fingerprint(tree / f"etc/ssh/ssh_host_{kind}_key.pub") for kind in ("rsa", "ed25519")}
            assert found["host_keys"] == keys
            assert keys == {kind: fingerprint(tree / f"etc/ssh/ssh_host_{kind}_key") for kind in keys}
            assert (tree / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
            assert (tree / "var/lib/systemd/random-seed").stat().st_size == 512
        one, other = identities
        assert one["machine_id"] != other["machine_id"]
        assert one["random_seed_sha256"] != other["random_seed_sha256"]
        assert not set(one["host_keys"].values()) & set(other["host_keys"].values())

    def test_a_clone_that_was_refused_is_untouched(self, batch: Batch, master: Path, tmp_path: Path) -> None:
        untouched = list_tree(Clone.make(tmp_path, "untouched", master).extract(tmp_path))
        for name in ("nowhere", "nothing"):
            assert list_tree(batch.trees[name]) == untouched
            assert not batch.clones[name].journal.exists()

    def test_the_appliance_is_shared(self, batch: Batch) -> None:
        assert batch.appliances == 3  # one with the locked clone, which did not start; one until the culprit; one after

    def test_the_diff_shows_what_was_there_and_no_secret(self, batch: Batch) -> None:
        before, after = batch.outcomes["good-1"].diff
        assert before["port"]["/etc/app.conf"]["content"] == ["port=1"]
        assert after["port"]["/etc/app.conf"]["content"] == ["port=10"]
        assert after["port2"]["/etc/app.conf"]["content"] == ["port=100"]
        assert "PRIVATE" not in f"{before}{after}"

    def test_the_seed_is_a_nocloud_disk_and_the_same_for_the_same_files(self, batch: Batch) -> None:
        disks = [batch.clones[name].directory / "seed.iso" for name in ("good-1", "good-2")]
        assert disks[0].read_bytes() == disks[1].read_bytes()
        assert disks[0].read_bytes()[0x8028:0x8048].decode().strip() == "CIDATA"
        assert disks[0].stat().st_mode & 0o777 == 0o600
        assert batch.outcomes["good-1"].record["seed"] == str(disks[0])

    def test_nothing_private_is_left_in_memory(self, batch: Batch) -> None:
        assert not list(Path("/dev/shm").glob(f"encompass-private-*-{os.getpid()}-*"))

    def test_what_failed_or_changed_is_done_in_another_run(self, batch: Batch, tmp_path: Path) -> None:
        changed = [ITEMS[0], {**ITEMS[1], "replacement": "door=1"}, *ITEMS[3:]]
        good, full = batch.clones["good-1"], batch.clones["full"]
        key = batch.outcomes["good-1"].record["identity"]["host_keys"]
        outcomes = customize_here([good.entry(changed), full.entry(ITEMS)])
        assert [outcome.error for outcome in outcomes.values()] == [None, None]
        assert (good.extract(tmp_path) / "etc/app.conf").read_text() == "door=1\n"
        assert (full.extract(tmp_path) / "etc/app.conf").read_text() == "port=100\n"
        assert not (full.extract(tmp_path) / "etc/big").exists()
        assert outcomes["good-1"].record["identity"]["host_keys"] == key
        assert not (good.directory / "seed.iso").exists()


def test_a_killed_run_is_finished_and_all_is_taken_back_byte_by_byte(master: Path, tmp_path: Path) -> None:
    clone = Clone.make(tmp_path, "web-1", master)
    untouched = list_tree(Clone.make(tmp_path, "untouched", master).extract(tmp_path))
    present = {**OPTIONS, "clones": [clone.entry(ITEMS, seed=SEED)]}
    planned = customize(present, check_mode=True)
    assert planned["changed"]
    assert [path.name for path in clone.directory.iterdir()] == ["root.qcow2"]

    process = start_module("customize", present)
    deadline = time.monotonic() + 120
    while not clone.journal.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert clone.journal.read_text().count("begun") == 1 + len(ITEMS)

    finished = customize(present)
    assert not finished["failed"], finished.get("msg")
    assert any("interrupted" in step for step in finished["objects"][0]["steps"])
    tree = clone.extract(tmp_path)
    assert (tree / "etc/app.conf").read_text() == "port=100\n"
    record = finished["objects"][0]["record"]
    assert record["identity"]["host_keys"]["rsa"] == fingerprint(tree / "etc/ssh/ssh_host_rsa_key.pub")
    assert record.keys() == planned["objects"][0]["record"].keys()
    assert "hush" not in str(finished)
    assert is_unchanged(customize(present))

    absent = customize({**present, "state": "absent"})
    assert not absent["failed"], absent.get("msg")
    assert list_tree(clone.extract(tmp_path)) == untouched
    assert [path.name for path in clone.directory.iterdir()] == ["root.qcow2"]


def test_an_image_is_inspected(master: Path) -> None:
    inspected = inspect_image(str(master), "qcow2", 180, virt_type="qemu")
    assert inspected["firmware"] == "bios"
    assert inspected["layout"] == LAYOUT
    expected = {
        "type": "linux",
        "distro": "debian",
        "product": "Debian GNU/Linux 12",
        "major": 12,
        "package_format": "deb",
        "kernels": [],
        "boot_loader": None,
        "init": None,
    }
    assert {key: inspected["software"][key] for key in expected} == expected
    assert "hostname" not in inspected["software"]
    assert inspected["packages"] == {}
    assert inspected["sealed"] == {
        "machine_id": False,
        "host_keys": False,
        "random_seed": False,
        "network_leftovers": False,
    }


def test_a_disk_without_a_system_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.raw"
    with empty.open("wb") as stream:
        stream.truncate(16 << 20)
    with pytest.raises(Unsupported, match="no operating system"):
        inspect_image(str(empty), "raw", 180, virt_type="qemu")


def test_a_time_limit_ends_the_appliance(master: Path) -> None:
    with pytest.raises(ToolFailed, match="did not end within 1 s"):
        inspect_image(str(master), "qcow2", 1, virt_type="qemu")
    assert shutil.which("qemu-system-x86_64")
    deadline = time.monotonic() + 10
    while str(master) in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)

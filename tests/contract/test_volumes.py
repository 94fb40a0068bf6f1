# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones, made by real module processes with the real qemu-img."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import MasterChanged, Unsupported
from ansible_collections.encompass.images.plugins.module_utils._drivers import directories, image_files, volumes
from ansible_collections.encompass.images.plugins.module_utils._drivers import qemu_img as qemu_img_driver
from ansible_collections.encompass.images.plugins.module_utils._module.clones import open_clones
from ansible_collections.encompass.images.plugins.module_utils._module.runner import run_job

from tests.contract.module_process import finish_module, is_unchanged, run_module, start_module
from tests.contract.pools import MIB, PoolDir, make_raw, mounted_tmpfs, mounted_xfs, qemu_img, spoil

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Return a raw image of 64 MiB that holds 4 MiB of data."""
    return make_raw(tmp_path_factory.mktemp("raw") / "source.raw", data_bytes=4 * MIB, virtual_bytes=64 * MIB)


@pytest.fixture
def pool(tmp_path):
    """Return an empty pool."""
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


@pytest.fixture
def master(pool, raw):
    """Return a master that is published in the pool."""
    return pool.publish(raw)


def make(*entries, check_mode=False, state="present"):
    """Run module clone."""
    return run_module("clone", {"state": state, "clones": list(entries)}, check_mode=check_mode)


def tell_image(path):
    """Return what qemu-img says of a volume."""
    return json.loads(qemu_img("info", "--output=json", "-f", "qcow2", path))


@pytest.mark.parametrize("method", ["overlay", "copy"])
def test_four_runs_change_twice_in_word_and_once_in_deed(pool, master, method):
    entry = pool.clone_entry("web-v1-1", master.base, method=method)
    before = pool.snapshot()
    planned = make(entry, check_mode=True)
    assert pool.snapshot() == before
    made = make(entry)
    after = pool.snapshot()
    runs = [planned, made, make(entry), make(entry, check_mode=True)]
    assert [(run["changed"], run["failed"]) for run in runs] == [(True, False)] * 2 + [(False, False)] * 2
    assert pool.snapshot() == after
    assert planned["objects"][0]["steps"] == made["objects"][0]["steps"]
    records = [{**run["objects"][0]["record"], "allocated_bytes": 0} for run in runs]
    assert records[0] == records[1]
    assert records[2] == records[3] == {**records[1], "rejected": records[2]["rejected"]}


def test_an_overlay_names_its_base_and_its_format(pool, master):
    record = make(pool.clone_entry("web-v1-1", master.base))["objects"][0]["record"]
    told = tell_image(pool.volume("web-v1-1"))
    assert (record["method"], record["rejected"]) == ("overlay", {"copy": "overlay is cheaper"})
    assert (told["backing-filename"], told["backing-filename-format"]) == (str(master.path), "qcow2")
    assert pool.volume("web-v1-1").stat().st_mode & 0o777 == 0o600
    assert pool.volume("web-v1-1").parent.stat().st_mode & 0o777 == 0o711
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", pool.volume("web-v1-1"), master.path)


def test_the_overlays_of_one_master_are_what_qemu_img_makes(pool, master, tmp_path):
    make(*(pool.clone_entry(f"web-v1-{number}", master.base) for number in range(1, 4)))
    reference = tmp_path / "reference.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "compat=1.1", "-b", master.path, "-F", "qcow2", reference)
    volumes = [pool.volume(f"web-v1-{number}").read_bytes() for number in range(1, 4)]
    assert volumes == [reference.read_bytes()] * 3
    qemu_img("check", "-f", "qcow2", pool.volume("web-v1-3"))


def test_a_copy_is_equal_sparse_and_needs_no_base(pool, master):
    record = make(pool.clone_entry("web-v1-1", master.base, method="copy"))["objects"][0]["record"]
    volume = pool.volume("web-v1-1")
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", volume, master.path)
    assert "backing-filename" not in tell_image(volume)
    assert record["volumes"][0]["backing"] is None
    assert volume.stat().st_blocks * 512 < 5 * MIB


@pytest.mark.parametrize("method", ["overlay", "copy"])
def test_a_clone_can_be_larger_than_its_master(pool, master, method):
    made = make(pool.clone_entry("web-v1-1", master.base, method=method, virtual_bytes=96 * MIB))
    assert not made["failed"]
    assert tell_image(pool.volume("web-v1-1"))["virtual-size"] == 96 * MIB


@pytest.fixture
def xfs(tmp_path):
    """Return a mounted XFS, or skip the test saying why."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(mounted_xfs(tmp_path / "xfs.img", tmp_path / "xfs"))
        except FileNotFoundError as exc:
            pytest.skip(f"{exc.filename} is not installed")
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"a loop file system cannot be mounted here: {exc.stderr.decode().strip()}")
        yield path


def test_a_copy_shares_the_blocks_where_the_pool_can(xfs, tmp_path):
    pool = PoolDir(xfs)
    master = pool.publish(make_raw(tmp_path / "big.raw", data_bytes=64 * MIB, virtual_bytes=128 * MIB))
    free_bytes = free_of(xfs)
    item = make(pool.clone_entry("web-v1-1", master.base, method="copy", reflink=True))["objects"][0]
    assert not item["failed"], item
    assert "reflink" in item["record"]["reason"]
    assert free_bytes - free_of(xfs) < 2 * MIB
    assert pool.volume("web-v1-1").read_bytes() == master.path.read_bytes()


def test_what_discover_says_of_sharing_blocks_is_so(xfs, tmp_path):
    with mounted_tmpfs(tmp_path / "memory", MIB) as memory:
        for place, expected in ((xfs, True), (memory, False)):
            assert directories.can_reflink(str(place), directories.find_file_system(str(place))) is expected
            (place / "source").write_bytes(b"blocks" * 1000)
            refusal = contextlib.nullcontext() if expected else pytest.raises(Unsupported)
            with refusal:
                image_files.share_blocks(str(place / "source"), str(place / "copy"), "clone x")


def test_a_pool_that_is_said_to_share_blocks_and_cannot_is_an_error(tmp_path, raw):
    with mounted_tmpfs(tmp_path / "memory", 64 * MIB) as path:
        pool = PoolDir(path)
        master = pool.publish(raw)
        result = make(pool.clone_entry("web-v1-1", master.base, method="copy", reflink=True))
        assert "cannot share blocks" in result["msg"]
        assert pool.staged() == []


def test_a_master_that_changed_is_refused_and_a_touched_one_is_not(pool, master):
    entry = pool.clone_entry("web-v1-1", master.base)
    os.utime(master.path)
    assert not make(entry)["failed"]
    spoil(master.path)
    other = {**entry, "name": "web-v1-2"}
    for again in (other, entry):
        result = make(again)
        assert "changed since it was registered" in result["msg"]
        assert not result["changed"]
    assert not pool.volume("web-v1-2").exists()


def run_in_process(entry):
    """Run the verb in this process, so that a driver can be disturbed; return its one outcome."""
    base = {**entry["volumes"][0]["base"]}
    volume = {"name": "root", "format": "qcow2", "virtual_bytes": None, "allocated_bytes": None, "base": base}
    complete = {"method": "auto", "directory": None, "reflink": False, **entry, "volumes": [volume]}
    with open_clones({"state": "present", "clones": [complete], "workers": 1, "timeout_s": 60}) as job:
        [outcome] = run_job(job, check_mode=False)
    return outcome


@pytest.mark.parametrize("method", ["overlay", "copy"])
def test_a_master_that_changes_while_it_is_cloned_is_noticed(method, pool, master, monkeypatch):
    tool = {"overlay": "create_overlay", "copy": "compare"}[method]
    work_in_peace = getattr(qemu_img_driver, tool)

    def work_while_written(*arguments, **options):
        work_in_peace(*arguments, **options)
        os.utime(master.path)

    monkeypatch.setattr(qemu_img_driver, tool, work_while_written)
    outcome = run_in_process(pool.clone_entry("web-v1-1", master.base, method=method))
    assert isinstance(outcome.error, MasterChanged)
    assert pool.staged() == pool.clones() == []


def test_a_copy_that_is_not_equal_is_not_published(pool, master, monkeypatch):
    convert_well = qemu_img_driver.convert

    def convert_badly(source, source_format, target, **options):
        convert_well(source, source_format, target, **options)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 4096", target], check=True, capture_output=True)

    monkeypatch.setattr(qemu_img_driver, "convert", convert_badly)
    outcome = run_in_process(pool.clone_entry("web-v1-1", master.base, method="copy"))
    assert "could not be proved equal" in outcome.error.problem
    assert pool.staged() == pool.clones() == []


def test_a_missing_master_is_named(pool, master):
    base = master.base
    master.path.unlink()
    assert "the file of its master is not there" in make(pool.clone_entry("web-v1-1", base))["msg"]


def test_what_is_in_the_clones_place_is_never_overwritten(pool, master, raw):
    pool.volume("web-v1-1").parent.mkdir()
    qemu_img("create", "-f", "qcow2", pool.volume("web-v1-1"), "64M")
    qemu_img("create", "-f", "qcow2", "-b", raw, "-F", "raw", pool.path / "clones" / "other.qcow2")
    pool.volume("web-v1-2").parent.mkdir()
    (pool.path / "clones" / "other.qcow2").rename(pool.volume("web-v1-2"))
    pool.volume("web-v1-3").parent.mkdir()
    before = pool.snapshot()
    result = make(
        pool.clone_entry("web-v1-1", master.base, method="overlay"),
        pool.clone_entry("web-v1-2", master.base),
        pool.clone_entry("web-v1-3", master.base),
        pool.clone_entry("web-v1-4", master.base, virtual_bytes=MIB),
    )
    problems = [item["problem"] for item in result["objects"]]
    assert "is a copy instead of an overlay" in problems[0]
    assert f"an overlay on {raw} (raw) instead of" in problems[1]
    assert "it has no volume root" in problems[2]
    assert f"shall have {MIB} bytes, but its master has {64 * MIB}" in problems[3]
    assert pool.snapshot() == before


def test_a_failed_clone_does_not_lose_the_others(pool, master):
    bad = {**master.base, "path": str(master.path) + ".gone"}
    result = make(pool.clone_entry("web-v1-1", bad), pool.clone_entry("web-v1-2", master.base))
    assert [item["failed"] for item in result["objects"]] == [True, False]
    assert pool.volume("web-v1-2").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"directory": "/etc"}, "its directory is"),
        ({"volumes": []}, "no volumes are given for it"),
        ({"name": "../web"}, "cannot be a file's name"),
        ({"pool_path": "pool"}, "the pool's path 'pool' is not absolute"),
        ({"pool_path": "/nowhere/pool"}, "the directory /nowhere/pool of its pool is not there"),
    ],
)
def test_bad_input_gets_one_sentence_and_changes_nothing(changes, sentence, pool, master):
    before = pool.snapshot()
    result = make({**pool.clone_entry("web-v1-1", master.base, method="copy"), **changes})
    assert result["failed"]
    assert sentence in result["msg"]
    assert pool.snapshot() == before


def test_a_name_that_is_given_twice_is_refused(pool, master):
    assert "it is given twice" in make(*[pool.clone_entry("web-v1-1", master.base)] * 2)["msg"]
    assert pool.clones() == []


def test_a_master_that_is_only_planned_can_be_planned_with_and_no_more(pool, master):
    entry = pool.clone_entry("web-v1-1", {"path": None, "digest": None, "fingerprint": None}, virtual_bytes=64 * MIB)
    planned = make(entry, check_mode=True)
    assert (planned["failed"], planned["objects"][0]["record"]["method"]) == (False, "overlay")
    assert "its master is not imported yet" in make(entry)["msg"]
    assert pool.staged() == pool.clones() == []


def test_a_hundred_clones_in_one_call(pool, master):
    names = [f"web-v1-{number}" for number in range(1, 101)]
    result = make(*(pool.clone_entry(name, master.base) for name in names))
    assert not result["failed"]
    assert len(result["objects"]) == len(pool.clones()) == 100
    gone = make(*({"name": name, "pool_path": str(pool.path)} for name in names), state="absent")
    assert not gone["failed"]
    assert pool.clones() == pool.staged() == []


def test_two_processes_that_make_the_same_clones_agree(pool, master):
    options = {"clones": [pool.clone_entry(f"web-v1-{number}", master.base) for number in range(1, 21)]}
    results = [finish_module(process) for process in [start_module("clone", options) for _run in range(3)]]
    assert [result["failed"] for result in results] == [False] * 3
    assert sum(item["changed"] for result in results for item in result["objects"]) == 20
    assert pool.staged() == []


def test_deleting_is_refused_while_a_tool_has_the_volume_open(pool, master):
    entry = pool.clone_entry("web-v1-1", master.base)
    make(entry)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", pool.volume("web-v1-1")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        user.stdin.write("read 0 512\n")
        user.stdin.flush()
        user.stdout.readline()
        result = make(entry, state="absent")
        user.stdin.close()
    assert "is open in a running qemu" in result["msg"]
    assert pool.volume("web-v1-1").exists()
    assert make(entry, state="absent")["changed"]
    assert is_unchanged(make(entry, state="absent"))


def test_a_full_pool_is_known_before_anything_is_written(tmp_path, raw):
    with mounted_tmpfs(tmp_path / "small", 8 * MIB) as path:
        pool = PoolDir(path)
        master = pool.publish(raw)
        needed_bytes, free_bytes = master.path.stat().st_blocks * 512, free_of(path)
        assert needed_bytes > free_bytes
        result = make(pool.clone_entry("web-v1-1", master.base, method="copy"))
        assert f"has {free_bytes} bytes free" in result["msg"]
        assert f"{needed_bytes} bytes" in result["msg"]


def test_a_batch_makes_as_many_clones_as_there_is_room_for(tmp_path):
    raw = make_raw(tmp_path / "small.raw", data_bytes=2 * MIB, virtual_bytes=16 * MIB)
    with mounted_tmpfs(tmp_path / "small", 8 * MIB) as path:
        pool = PoolDir(path)
        master = pool.publish(raw)
        entries = [pool.clone_entry(f"web-v1-{number}", master.base, method="copy") for number in range(1, 6)]
        planned, made = make(*entries, check_mode=True), make(*entries)
        failed = [item["failed"] for item in made["objects"]]
        assert failed == [item["failed"] for item in planned["objects"]] == [False, False, True, True, True]
        assert pool.staged() == []


def test_a_pool_that_gets_full_while_it_is_written_to_is_left_as_it_was(tmp_path, raw):
    """A compressed base takes more room as a copy than it takes itself, so only qemu-img meets the full disk."""
    zeros = tmp_path / "dull.raw"
    zeros.write_bytes(b"dull " * (3 * MIB))
    library = PoolDir(tmp_path)
    base = library.publish(zeros, "-c").base
    with mounted_tmpfs(tmp_path / "small", 8 * MIB) as path:
        pool = PoolDir(path)
        result = make(pool.clone_entry("web-v1-1", base, method="copy"))
        assert "got full" in result["msg"], result["msg"]
        assert f"{free_of(path)} bytes" in result["msg"]
        assert pool.staged() == pool.clones() == []


def test_a_killed_copy_is_cleaned_up_and_repeated(pool, tmp_path):
    master = pool.publish(make_raw(tmp_path / "big.raw", data_bytes=192 * MIB, virtual_bytes=512 * MIB))
    entry = pool.clone_entry("web-v1-1", master.base, method="copy")
    kill_in_the_middle(pool, start_module("clone", {"clones": [entry]}), "root.qcow2")
    assert not pool.volume("web-v1-1").exists()
    left = pool.staged()
    assert len(left) == 1
    alive = pool.path / ".staging" / f"{left[0].rsplit('-', 2)[0]}-1-{start_time_of(1)}"
    alive.mkdir()
    result = make(entry)
    assert not result["failed"], result
    assert result["objects"][0]["steps"][0].startswith("remove what a killed run left")
    assert pool.staged() == [alive.name]
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", pool.volume("web-v1-1"), master.path)


def test_a_killed_removal_is_finished_by_the_next(pool, master):
    entry = pool.clone_entry("web-v1-1", master.base)
    make(entry)
    dead = f"clone~web-v1-1~{owner_tag_of(pool)}"
    pool.volume("web-v1-1").parent.rename(pool.path / ".staging" / dead)
    result = make(entry, state="absent")
    assert result["changed"]
    assert pool.staged() == []


def kill_in_the_middle(pool, process, name):
    """Kill a module once its qemu-img has written something, and wait until that one is gone too."""
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > MIB for path in pool.path.glob(f".staging/*/{name}")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    staged = next(pool.path.glob(".staging/*"))
    while subprocess.run(["pgrep", "-f", str(staged)], check=False, capture_output=True).stdout:
        assert time.monotonic() < deadline, "qemu-img outlived its module"
        time.sleep(0.01)


def owner_tag_of(pool):
    """Return how this host marks what a process that is gone has staged."""
    host, session, pid, start = volumes.stage_path(str(pool.path), "clone", "x").name.split("~")[2].split("-")
    return f"{host}-{session}-{pid}-{int(start) - 1}"


def start_time_of(pid):
    """Return when a process started, in the kernel's ticks."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]


def free_of(path):
    """Return what is free on the file system."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize

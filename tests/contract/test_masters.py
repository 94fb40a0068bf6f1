# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masters, published by real module processes with the real qemu-img."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict
from ansible_collections.encompass.images.plugins.module_utils._core.image_header import IMPORTABLE_FORMATS
from ansible_collections.encompass.images.plugins.module_utils._drivers import image_files, staging
from ansible_collections.encompass.images.plugins.module_utils._drivers import qemu_img as qemu_img_driver
from ansible_collections.encompass.images.plugins.module_utils._module import importing
from ansible_collections.encompass.images.plugins.module_utils._module.masters import open_masters
from ansible_collections.encompass.images.plugins.module_utils._module.runner import run_job

from tests.contract.module_process import finish_module, is_unchanged, run_module, start_module
from tests.contract.pools import MIB, PoolDir, make_raw, mounted_tmpfs, qemu_img, spoil
from tests.lab.images import ensure_image

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


def publish(*entries, check_mode=False, state="present"):
    """Run module master."""
    return run_module("master", {"state": state, "masters": list(entries)}, check_mode=check_mode)


def published(pool):
    """Return the published files."""
    return sorted((pool.path / "masters").glob("*.qcow2"))


def convert(raw, target, image_format, *options):
    """Make an image of another format."""
    qemu_img("convert", "-f", "raw", "-O", image_format, *options, raw, target)
    return target


def test_four_runs_change_twice_in_word_and_once_in_deed(pool, raw):
    entry = pool.master_entry(raw, "raw")
    before = pool.snapshot()
    planned = publish(entry, check_mode=True)
    assert pool.snapshot() == before
    made = publish(entry)
    after = pool.snapshot()
    runs = [planned, made, publish(entry), publish(entry, check_mode=True)]
    assert [(run["changed"], run["failed"]) for run in runs] == [(True, False)] * 2 + [(False, False)] * 2
    assert pool.snapshot() == after
    records = [run["objects"][0]["record"] for run in runs]
    assert records[1] == records[2] == records[3]
    assert set(records[0]) == set(records[1])
    registered = {**entry, "digest": records[1]["digest"], "fingerprint": records[1]["fingerprint"], "source": None}
    assert is_unchanged(publish(registered))


def test_what_is_published_is_named_by_its_digest_and_read_only(pool, raw):
    record = publish(pool.master_entry(raw, "raw"))["objects"][0]["record"]
    [path] = published(pool)
    assert str(path) == record["path"]
    assert path.stem == record["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["source"]["sha256"] == hashlib.sha256(raw.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o444
    assert record["virtual_bytes"] == 64 * MIB
    assert record["allocated_bytes"] == path.stat().st_blocks * 512 < 5 * MIB
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, path)
    assert pool.staged() == []


@pytest.mark.parametrize("image_format", [name for name in IMPORTABLE_FORMATS if name != "ova"])
def test_every_format_gives_the_same_bytes(image_format, pool, raw, tmp_path):
    reference = publish(pool.master_entry(raw, "raw"))["objects"][0]["record"]["digest"]
    options = {"vpc": ["-o", "force_size=on"], "vmdk": ["-o", "subformat=streamOptimized"]}.get(image_format, [])
    source = convert(raw, tmp_path / "source.img", image_format, *options)
    result = publish(pool.master_entry(source, image_format, version=2))
    assert not result["failed"], result
    assert result["objects"][0]["record"]["digest"] == reference
    assert len(published(pool)) == 1


def make_corrupt(raw, target):
    """Make a qcow2 whose header says that it is corrupt."""
    convert(raw, target, "qcow2")
    with target.open("r+b") as stream:
        stream.seek(72)
        stream.write(bytes([0, 0, 0, 0, 0, 0, 0, 2]))


def make_encrypted(_raw, target):
    secret = ("--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
    for _attempt in range(20):  # QEMU measures the machine first, and gives up where that is busy
        with contextlib.suppress(subprocess.CalledProcessError):
            qemu_img("create", "-f", "qcow2", *secret, target, "1M")
            return
    raise AssertionError("qemu-img makes no encrypted image")


HOSTILE = {
    "backing file": (
        "qcow2",
        lambda raw, target: qemu_img("create", "-f", "qcow2", "-b", raw, "-F", "raw", target),
        "it needs the backing file",
    ),
    "data file": (
        "qcow2",
        lambda raw, target: qemu_img("create", "-f", "qcow2", "-o", f"data_file={target}.data", target, "1M"),
        "its data are in another file",
    ),
    "many files": (
        "vmdk",
        lambda raw, target: convert(raw, target, "vmdk", "-o", "subformat=monolithicFlat"),
        "its data are in another file",
    ),
    "encrypted": ("qcow2", make_encrypted, "it is encrypted"),
    "snapshot": (
        "qcow2",
        lambda raw, target: qemu_img("snapshot", "-c", "one", convert(raw, target, "qcow2")),
        "it holds 1 internal snapshots",
    ),
    "corrupt": ("qcow2", make_corrupt, "it is marked corrupt"),
    "polyglot": (
        "raw",
        lambda raw, target: convert(raw, target, "qcow2"),
        "it was declared as raw, but its header is that of qcow2",
    ),
    "not an image": ("qcow2", shutil.copy, "it was declared as qcow2, but its header is that of raw"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_image_that_is_not_whole_and_alone_changes_nothing(kind, pool, raw, tmp_path):
    image_format, make_image, sentence = HOSTILE[kind]
    source = tmp_path / "hostile.img"
    make_image(raw, source)
    before = pool.snapshot()
    result = publish(pool.master_entry(source, image_format))
    assert sentence in result["msg"]
    assert not result["changed"]
    assert pool.snapshot() == before


def test_a_published_file_that_changed_is_refused(pool, raw):
    entry = pool.master_entry(raw, "raw")
    record = publish(entry)["objects"][0]["record"]
    [path] = published(pool)
    path.chmod(0o644)
    spoil(path)
    registered = {**entry, "digest": record["digest"], "fingerprint": record["fingerprint"]}
    for again in (entry, registered):
        result = publish(again)
        assert "its file changed since it was registered" in result["msg"]
        assert not result["changed"]


def test_a_version_never_changes_and_a_touched_source_is_the_same(pool, raw, tmp_path):
    source = shutil.copy(raw, tmp_path / "mine.raw")
    entry = pool.master_entry(source, "raw")
    publish(entry)
    os.utime(source)
    assert is_unchanged(publish(entry))
    with source.open("r+b") as stream:
        stream.write(b"another image")
    assert "it was made of other bytes" in publish(entry)["msg"]
    assert publish({**entry, "version": 2})["changed"]
    assert len(published(pool)) == 2


def test_an_unexpected_digest_is_refused(pool, raw):
    result = publish(pool.master_entry(raw, "raw", sha256="0" * 64))
    assert f"{'0' * 64} was expected" in result["msg"]
    assert published(pool) == []


def test_importing_again_must_give_what_is_registered(pool, raw):
    result = publish(pool.master_entry(raw, "raw", digest="1" * 64, fingerprint="1:1:1"))
    assert f"registered is {'1' * 64}" in result["msg"]
    assert published(pool) == pool.staged() == []


def test_a_source_that_changes_before_it_is_staged_is_not_published(pool, raw, tmp_path, monkeypatch):
    source = shutil.copy(raw, tmp_path / "mine.raw")
    copy_in_peace = staging.copy_file

    def write_and_copy(*arguments, **options):
        source.write_bytes(b"overwritten")
        copy_in_peace(*arguments, **options)

    monkeypatch.setattr(staging, "copy_file", write_and_copy)
    outcome = run_in_process(pool.master_entry(source, "raw"))
    assert isinstance(outcome.error, Conflict)
    assert "changed while it was being read" in outcome.error.problem
    assert published(pool) == pool.staged() == []


def test_what_is_published_is_what_was_checked_whatever_becomes_of_the_source(pool, raw, tmp_path, monkeypatch):
    source = shutil.copy(raw, tmp_path / "mine.raw")
    convert_in_peace = qemu_img_driver.convert

    def convert_without_source(staged, *arguments, **options):
        source.unlink()
        modes = [path.stat().st_mode & 0o777 for path in (Path(staged), Path(staged).parent)]
        assert modes == [0o600, 0o700]
        convert_in_peace(staged, *arguments, **options)

    monkeypatch.setattr(qemu_img_driver, "convert", convert_without_source)
    assert run_in_process(pool.master_entry(source, "raw")).error is None
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, *published(pool))


def run_in_process(entry, state="present"):
    """Run the verb in this process, so that a driver can be disturbed; return its one outcome."""
    optional = ("name", "source", "format", "sha256", "firmware", "digest", "fingerprint")
    optional += ("signature", "ca_path", "disk")
    defaults = {"volume": "root", "arch": "x86_64", "disk_bus": "virtio", "min_cpus": 1, "min_memory_mib": 256}
    defaults["volumes"] = []
    defaults.update(max_gib=1, max_virtual_gib=1, allow_private=False)
    complete = {**dict.fromkeys(optional), **defaults, **entry}
    options = {"state": state, "masters": [complete], "workers": 1, "timeout_s": 60, "when_unused": False}
    with open_masters(options) as job:
        [outcome] = run_job(job, check_mode=False)
    return outcome


def test_an_image_is_identified_and_read_once(pool, raw, tmp_path):
    source = shutil.copy(raw, tmp_path / "mine.raw")
    right = hashlib.sha256(raw.read_bytes()).hexdigest()
    entry = pool.master_entry(source, "raw")

    def identify(entry):
        result = run_module("master", {"state": "hashed", "masters": [{**entry, "version": None}]})
        assert is_unchanged(result)
        return result["objects"][0]["record"]["sha256"]

    assert identify(entry) == right
    publish(entry)
    status = source.stat()
    with source.open("r+b") as stream:
        stream.write(b"other bytes")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identify(entry) == right  # it looks as it did when it was imported
    os.utime(source)
    assert identify(entry) == hashlib.sha256(source.read_bytes()).hexdigest() != right
    source.unlink()
    assert identify(entry) is None


def test_a_full_pool_is_told_in_bytes_and_left_as_it_was(raw, tmp_path):
    compressed = tmp_path / "small.qcow2"
    dull = tmp_path / "dull.raw"
    dull.write_bytes(b"dull " * (3 * MIB))
    convert(dull, compressed, "qcow2", "-c")
    with mounted_tmpfs(tmp_path / "small", 8 * MIB) as path:
        pool = PoolDir(path)
        big = make_raw(tmp_path / "big.raw", data_bytes=16 * MIB, virtual_bytes=32 * MIB)
        for source, image_format in ((big, "raw"), (compressed, "qcow2")):
            result = publish(pool.master_entry(source, image_format))
            assert re.search(r"has \d+ bytes free \(.*\), and \d+ bytes \(.*\) are needed", result["msg"])
            assert published(pool) == pool.staged() == []


@pytest.mark.parametrize("size_bytes", [8 * MIB, 24 * MIB], ids=["staging", "converting"])
def test_a_disk_that_gets_full_while_it_is_written_to_is_left_as_it_was(size_bytes, tmp_path, monkeypatch):
    big = make_raw(tmp_path / "big.raw", data_bytes=16 * MIB, virtual_bytes=32 * MIB)
    with mounted_tmpfs(tmp_path / "small", size_bytes) as path:
        pool = PoolDir(path)
        seen = image_files.see_file
        monkeypatch.setattr(image_files, "see_file", lambda *args: shrink(seen(*args)))
        monkeypatch.setattr(qemu_img_driver, "measure", lambda *_args, **_options: 4096)
        monkeypatch.setattr(importing, "_OUTPUT_SLACK_BYTES", 64 * MIB)
        outcome = run_in_process(pool.master_entry(big, "raw"))
        assert "got full" in outcome.error.problem
        assert f"{free_of(path)} bytes" in outcome.error.problem
        assert published(pool) == pool.staged() == []


def shrink(seen):
    """Return a file as one that takes next to nothing, as a file system with compression may tell."""
    return dataclasses.replace(seen, allocated_bytes=4096) if seen else None


def test_a_killed_import_is_cleaned_up_and_repeated(pool, tmp_path):
    entry = pool.master_entry(make_raw(tmp_path / "big.raw", data_bytes=192 * MIB, virtual_bytes=512 * MIB), "raw")
    process = start_module("master", {"masters": [entry]})
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > MIB for path in pool.path.glob(".staging/*/root.qcow2")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(pool.staged()) == 1
    assert published(pool) == []
    result = publish(entry)
    assert not result["failed"], result
    assert result["objects"][0]["steps"][0].startswith("remove what a killed run left")
    assert pool.staged() == []
    [path] = published(pool)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@pytest.mark.parametrize("name_is_given", [False, True])
def test_a_run_killed_around_the_naming_of_the_file_is_repeated(name_is_given, pool, raw):
    """Replay both ends of the one moment that matters: the origin is written down, the file may have its name."""
    entry = pool.master_entry(raw, "raw")
    record = publish(entry)["objects"][0]["record"]
    [path] = published(pool)
    if not name_is_given:
        path.chmod(0o644)
        path.unlink()
    again = publish(entry)
    assert again["changed"] is not name_is_given
    assert again["objects"][0]["record"]["digest"] == record["digest"]
    assert published(pool) == [path]


def test_two_imports_of_one_master_at_a_time_agree(pool, raw):
    options = {"masters": [pool.master_entry(raw, "raw")]}
    results = [finish_module(process) for process in [start_module("master", options) for _run in range(3)]]
    assert [result["failed"] for result in results] == [False] * 3
    assert sum(result["changed"] for result in results) == 1
    assert len({json.dumps(result["objects"][0]["record"], sort_keys=True) for result in results}) == 1
    assert pool.staged() == []


@pytest.mark.skipif(importlib.util.find_spec("guestfs") is None, reason="python3-guestfs is not installed")
def test_what_is_inside_is_found_once_and_written_down(pool, tmp_path):
    source = shutil.copy(ensure_image("mini"), tmp_path / "mini.qcow2")
    entry = pool.master_entry(source, "qcow2", inspect=True)
    made, again = publish(entry), publish(entry)
    assert not made["failed"], made
    assert is_unchanged(again)
    record = again["objects"][0]["record"]
    assert record == made["objects"][0]["record"]
    assert record["hardware"]["firmware"] == "bios"
    software, packages = record["software"], record["packages"]
    assert (software["distro"], software["package_format"], software["arch"]) == ("debian", "deb", "x86_64")
    assert (software["boot_loader"], software["init"]) == ("extlinux", "busybox")
    [kernel] = software["kernels"]
    assert set(packages) == {"busybox-static", "dropbear-bin", f"linux-image-{kernel}"}
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "busybox-static"]
    assert packages["busybox-static"] == subprocess.run(query, check=True, capture_output=True, text=True).stdout
    assert [mount["mountpoint"] for mount in record["layout"]["mounts"]] == ["/"]


@pytest.mark.skipif(importlib.util.find_spec("guestfs") is None, reason="python3-guestfs is not installed")
def test_an_image_without_a_system_is_published_only_when_it_need_not_have_one(pool, raw):
    entry = pool.master_entry(raw, "raw", inspect=True)
    assert "no operating system" in publish(entry)["msg"]
    assert publish(entry, check_mode=True)["objects"][0]["steps"] == ["inspect its operating system and file systems"]
    assert is_unchanged(publish({**entry, "inspect": False}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": None}, "the format of its source is not given"),
        ({"source": "relative.raw"}, "is not absolute"),
        ({"source": "/nowhere/x.raw"}, "its source /nowhere/x.raw is not there"),
        ({"source": "/dev/null"}, "is not a regular file"),
        ({"function": "../web"}, "cannot be a file's name"),
        ({"name": "api-v1"}, "it cannot have the name api-v1"),
        ({"version": None}, "its version is None, not 1 or more"),
        ({"version": 0}, "its version is 0, not 1 or more"),
        ({"pool_path": "/nowhere/pool"}, "the directory /nowhere/pool of its pool is not there"),
    ],
)
def test_bad_input_gets_one_sentence(changes, sentence, pool, raw):
    entry = {**pool.master_entry(raw, "raw"), **changes}
    result = publish({key: value for key, value in entry.items() if value is not None})
    assert result["failed"]
    assert sentence in result["msg"]


def free_of(path):
    """Return what is free on the file system."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize

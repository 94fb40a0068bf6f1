# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master of two volumes, from its images to what is captured of its clone; LVM on one, /srv on the other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._drivers import volumes as volumes_driver

from tests.contract.guests import customize
from tests.contract.layouts import System, list_system, make_systems, opened
from tests.contract.module_process import is_unchanged, run_module, start_module
from tests.contract.pools import MIB, PoolDir, make_raw
from tests.contract.test_masters import publish, published, run_in_process

MOUNTS = (("/dev/vg/root", "/"), ("/dev/sda1", "/boot/efi"), ("/dev/sdb1", "/srv"))
ITEMS = [
    {"name": "config", "type": "regexp", "path": "/etc/app.conf", "pattern": "1", "replacement": "2"},
    {"name": "page", "type": "file", "path": "/srv/page", "content": "of the clone\n"},
]


@pytest.fixture
def pool(tmp_path: Path) -> PoolDir:
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


@pytest.fixture
def images(tmp_path: Path) -> list[dict[str, str]]:
    """Return two small images as a master's volumes."""
    sources = [make_raw(tmp_path / f"{name}.raw", data_bytes=MIB, virtual_bytes=8 * MIB) for name in ("root", "srv")]
    return [{"name": source.stem, "source": str(source), "format": "raw"} for source in sources]


def entry_of(pool: PoolDir, images: list[dict[str, str]], **options: t.Any) -> dict[str, t.Any]:
    return {
        "function": "web",
        "version": 1,
        "volumes": images,
        "pool_path": str(pool.path),
        "inspect": False,
        **options,
    }


def digests(pool: PoolDir) -> set[str]:
    return {path.stem for path in published(pool)}


def test_all_files_are_published_and_deleted_together(pool: PoolDir, images: list[dict[str, str]]) -> None:
    entry = entry_of(pool, images)
    planned, made, again = publish(entry, check_mode=True), publish(entry), publish(entry)
    assert [(run["changed"], run["failed"]) for run in (planned, made, again)] == [
        *[(True, False)] * 2,
        (False, False),
    ]
    record = made["objects"][0]["record"]
    assert [volume["name"] for volume in record["volumes"]] == ["root", "srv"]
    assert {volume["digest"] for volume in record["volumes"]} == digests(pool)
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in published(pool))
    assert publish(entry, state="absent")["changed"]
    assert published(pool) == list((pool.path / "masters/.sources").glob("*.json")) == pool.staged() == []


def test_a_file_that_is_lost_is_made_again_and_the_other_stays(pool: PoolDir, images: list[dict[str, str]]) -> None:
    record = publish(entry_of(pool, images))["objects"][0]["record"]
    first, second = (Path(volume["path"]) for volume in record["volumes"])
    before = first.stat().st_ino
    second.unlink()
    registered = [
        {**image, **{key: volume[key] for key in ("digest", "fingerprint")}}
        for image, volume in zip(images, record["volumes"])
    ]
    assert publish(entry_of(pool, registered))["changed"]
    assert (second.exists(), first.stat().st_ino) == (True, before)
    assert is_unchanged(publish(entry_of(pool, images)))
    make_raw(Path(images[1]["source"]), data_bytes=MIB, virtual_bytes=8 * MIB)
    assert "it was made of other bytes" in publish(entry_of(pool, images))["msg"]
    assert "it was made of 2 volumes, and 1 are given" in publish(entry_of(pool, images[:1]))["msg"]


@pytest.mark.parametrize("changes", [False, True], ids=["the same images", "another image by then"])
def test_what_is_killed_between_two_names_leaves_nothing(
    changes: bool, pool: PoolDir, images: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_in_peace = volumes_driver.publish_file

    def publish_one(staged: Path, target: str, subject: str) -> bool:
        if published(pool):
            raise ToolFailed(subject, "killed")
        return publish_in_peace(staged, target, subject)

    complete = [
        {**dict.fromkeys(("sha256", "digest", "fingerprint", "disk", "signature")), **image} for image in images
    ]
    with monkeypatch.context() as patch:
        patch.setattr(volumes_driver, "publish_file", publish_one)
        assert run_in_process(entry_of(pool, complete)).error.problem == "killed"
    (stray,) = published(pool)
    if changes:
        make_raw(Path(images[0]["source"]), data_bytes=MIB, virtual_bytes=8 * MIB)
    result = publish(entry_of(pool, images))
    assert f"remove what a killed run left: {stray}" in result["objects"][0]["steps"]
    assert {volume["digest"] for volume in result["objects"][0]["record"]["volumes"]} == digests(pool)
    assert is_unchanged(publish(entry_of(pool, images)))


def test_an_overlay_on_any_file_keeps_the_master(pool: PoolDir, images: list[dict[str, str]]) -> None:
    entry = entry_of(pool, images)
    record = publish(entry)["objects"][0]["record"]
    clone = pool.clone_entry("web-v1-1", base_of(record["volumes"][1]))
    assert not run_module("clone", {"clones": [clone]})["failed"]
    assert "its file is the base of web-v1-1" in publish(entry, state="absent")["msg"]
    assert len(published(pool)) == 2


def test_what_versions_have_in_common_stays_with_the_last(pool: PoolDir, images: list[dict[str, str]]) -> None:
    other = make_raw(Path(images[1]["source"]).with_name("other.raw"), data_bytes=MIB, virtual_bytes=8 * MIB)
    first = entry_of(pool, images)
    second = entry_of(pool, [images[0], {**images[1], "source": str(other)}], version=2)
    publish(first)
    record = publish(second)["objects"][0]["record"]
    assert len(published(pool)) == 3
    # An overlay on what both have does not keep what only one has.
    clone = pool.clone_entry("web-v2-1", base_of(record["volumes"][0]))
    assert not run_module("clone", {"clones": [clone]})["failed"]
    assert publish(first, state="absent")["changed"]
    assert digests(pool) == {volume["digest"] for volume in record["volumes"]}
    assert "its file is the base of web-v2-1" in publish(second, state="absent")["msg"]


def base_of(volume: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: volume[key] for key in ("path", "format", "digest", "fingerprint")}


@dataclasses.dataclass(frozen=True)
class Life:
    """What was seen of a master of two volumes, of its clone, and of the master that this became."""

    pool: PoolDir
    system: System
    clone: dict[str, t.Any]
    master: dict[str, t.Any]
    captured: dict[str, t.Any]
    untouched: bool
    files: dict[str, tuple]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")
    pool = PoolDir(tmp_path_factory.mktemp("pool"))
    system, _btrfs = make_systems(tmp_path_factory.mktemp("systems"))
    images = [{"name": disk.stem, "source": str(disk), "format": "qcow2"} for disk in system.disks]
    master = run_whole("master", {"masters": [entry_of(pool, images, inspect=True)]})
    wanted = [{"name": volume["name"], "base": base_of(volume)} for volume in master["volumes"]]
    made = {"name": "web-v1-1", "master": "web-v1", "pool_path": str(pool.path)}
    clone = run_whole("clone", {"clones": [{**made, "volumes": wanted}]})
    disks = tuple(Path(volume["path"]) for volume in clone["volumes"])
    entry = dataclasses.replace(system, name="web-v1-1", disks=disks).entry(master["layout"], ITEMS)
    assert not customize({"clones": [entry], "virt_type": "qemu"})["failed"]
    add_by_hand(disks)
    before = digest_files(disks)
    kept = {key: entry[key] for key in ("name", "directory", "volumes", "layout")}
    asked = {**kept, "hardware": master["hardware"], "master": "web-v2", "pool_path": str(pool.path)}
    captured = run_whole("capture", {"clones": [asked], "virt_type": "qemu"})
    assert is_unchanged(run_module("capture", {"clones": [asked], "virt_type": "qemu"}))
    files = [Path(volume["path"]) for volume in captured["volumes"]]
    with opened(*files, read_only=True) as handle:
        listed = list_system(handle, dataclasses.replace(system, mounts=MOUNTS), 0)
    return Life(pool, system, clone, master, captured, digest_files(disks) == before, listed)


def run_whole(module: str, options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run a module on one object, however long appliances take without KVM; return its record."""
    output, errors = start_module(module, options).communicate(timeout=900)
    assert output.strip().startswith("{"), errors
    result = json.loads(output)
    assert not result["failed"], result["msg"]
    return result["objects"][0]["record"]


def add_by_hand(disks: t.Sequence[Path]) -> None:
    with opened(*disks, read_only=False) as handle:
        for device, place in MOUNTS:
            handle.mount(device, place)
        handle.write("/etc/update", "by hand\n")
        handle.write("/srv/update", "by hand\n")
        handle.umount_all()


def digest_files(paths: t.Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_both_disks_are_inspected_together(life: Life) -> None:
    mounts = {mount["mountpoint"]: mount["device"] for mount in life.master["layout"]["mounts"]}
    assert mounts == {"/": "vg/root", "/boot/efi": "sda1", "/srv": "sdb1"}


def test_a_clone_has_an_overlay_on_each(life: Life) -> None:
    bases = [volume["backing"]["digest"] for volume in life.clone["volumes"]]
    assert bases == [volume["digest"] for volume in life.master["volumes"]]


def test_both_are_captured_and_the_clone_is_not_touched(life: Life) -> None:
    names = [volume["name"] for volume in life.captured["volumes"]]
    assert (names, life.untouched) == (["root", "srv"], True)
    assert {volume["digest"] for record in (life.master, life.captured) for volume in record["volumes"]} == digests(
        life.pool
    )
    assert {"etc/update", "srv/update", "srv/data"} <= life.files.keys()
    assert life.captured["layout"] == life.master["layout"]


def test_customization_is_taken_back_on_both(life: Life) -> None:
    assert "srv/page" not in life.files
    assert life.files["etc/app.conf"][3] == hashlib.sha256(b"port=1\n").hexdigest()


def test_nothing_is_left_over(life: Life) -> None:
    assert life.pool.staged() == []
    assert set(life.captured["sealed"].values()) == {True}

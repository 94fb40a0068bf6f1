# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes, made by real module processes with the real qemu-img and libguestfs."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Unsupported
from ansible_collections.encompass.images.plugins.module_utils._drivers import guestfs
from ansible_collections.encompass.images.plugins.plugin_utils._actions.batch import Batch
from ansible_collections.encompass.images.plugins.plugin_utils._actions.data_disks import list_data_disks
from ansible_collections.encompass.images.plugins.plugin_utils._actions.data_volumes import VOLUME_VERBS, DataBatch
from ansible_collections.encompass.images.plugins.plugin_utils._actions.verb import Request
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import Catalog
from ansible_collections.encompass.images.plugins.plugin_utils._planning.data_volumes import new_volume_record
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import DataVolume

from tests.contract.conftest import Store
from tests.contract.module_process import is_unchanged, run_module
from tests.contract.pools import MIB, PoolDir, qemu_img
from tests.contract.project import Project

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

Item = dict[str, t.Any]


@pytest.fixture
def pool(tmp_path: Path) -> PoolDir:
    """Return an empty pool."""
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


def entry(pool: PoolDir, name: str = "web-1.db", **options: t.Any) -> Item:
    return {"name": name, "pool_path": str(pool.path), "size_mib": 64, **options}


def make(*entries: Item, state: str = "present", check_mode: bool = False) -> Item:
    return run_module("volume", {"state": state, "volumes": list(entries)}, check_mode=check_mode)


def tell_image(path: Path, image_format: str = "qcow2") -> Item:
    return t.cast(Item, json.loads(qemu_img("info", "--output=json", "-f", image_format, path)))


def read_tags(path: Path) -> dict[str, str]:
    """Return what a file system calls itself."""
    probe = ["blkid", "--probe", "--output", "export", path]
    lines = subprocess.run(probe, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_volumes_are_made_once_and_keep_what_is_in_them(pool: PoolDir) -> None:
    entries = [entry(pool), entry(pool, "web-2.db", format="raw", size_mib=3)]
    before = pool.snapshot()
    planned = make(*entries, check_mode=True)
    assert (planned["changed"], pool.snapshot()) == (True, before)
    made = make(*entries)
    assert [item["steps"] for item in made["objects"]] == [item["steps"] for item in planned["objects"]]
    qcow2, raw = pool.path / "data/web-1/db.qcow2", pool.path / "data/web-2/db.raw"
    assert tell_image(qcow2)["virtual-size"] == 64 * MIB
    assert (raw.stat().st_size, raw.stat().st_nlink) == (3 * MIB, 1)
    assert raw.stat().st_blocks <= 8
    assert {path.stat().st_mode & 0o777 for path in (qcow2, raw)} == {0o600}
    assert pool.staged() == []
    # What a guest writes to a raw disk may look like any image, and is not looked at.
    raw.write_bytes(qcow2.read_bytes()[:4096] + bytes(3 * MIB - 4096))
    qemu_img("bench", "-f", "qcow2", "-w", "-c", 1, "--pattern=7", qcow2)
    before = pool.snapshot()
    assert is_unchanged(make(*entries))
    assert pool.snapshot() == before


def test_a_volume_grows_and_never_shrinks(pool: PoolDir) -> None:
    for image_format in ("qcow2", "raw"):
        volume = entry(pool, format=image_format)
        path = pool.path / f"data/web-1/db.{image_format}"
        make(volume)
        qemu_img("bench", "-f", image_format, "-w", "-c", 1, "--pattern=7", path)
        grown = make({**volume, "size_mib": 65})
        assert grown["objects"][0]["steps"] == [f"grow {path} from 64.0 MiB to 65.0 MiB"]
        assert grown["diff"][0]["after"] == {str(path): 65 * MIB}
        assert tell_image(path, image_format)["virtual-size"] == 65 * MIB
        refused = make(volume)
        assert "can grow, never shrink" in refused["msg"]
        assert tell_image(path, image_format)["virtual-size"] == 65 * MIB
        copy = pool.path / "read.raw"
        qemu_img("convert", "-f", image_format, "-O", "raw", path, copy)
        assert copy.read_bytes()[:512] == b"\x07" * 512


def test_a_volume_in_use_neither_grows_nor_goes(pool: PoolDir) -> None:
    make(entry(pool))
    path = pool.path / "data/web-1/db.qcow2"
    blockdev = f"driver=qcow2,node-name=v,file.driver=file,file.filename={path}"
    daemon = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", blockdev, "--chardev", "stdio,id=c", "--monitor", "chardev=c"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert daemon.stdout is not None
        daemon.stdout.readline()  # it greets once it has the volume open
        assert is_unchanged(make(entry(pool)))
        larger = entry(pool, size_mib=65)
        assert "it is in use" in make(larger)["msg"]
        assert "it is open" in make(entry(pool), state="absent")["msg"]
        assert make({**larger, "idle": True}, check_mode=True)["changed"]
    finally:
        daemon.kill()
        daemon.communicate()
    assert make(entry(pool), state="absent")["changed"]
    assert not path.parent.exists()
    assert is_unchanged(make(entry(pool), state="absent"))


def test_what_a_killed_run_left_is_removed_and_what_is_there_is_not_replaced(pool: PoolDir) -> None:
    make(entry(pool, "web-9.x"))
    left = pool.path / ".staging" / "volume~web-1.db~00000000-00000000-1-1"
    own = next(iter(guess_owner(pool)))
    left = left.with_name(f"volume~web-1.db~{own}")
    left.write_bytes(b"half")
    assert "remove what a killed run left" in make(entry(pool))["objects"][0]["steps"][0]
    assert pool.staged() == []
    backed = pool.path / "data/web-1/evil.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", backed, "64M")
    refused = make(entry(pool, "web-1.evil"))
    assert "depends on /etc/hostname" in refused["msg"]


def guess_owner(pool: PoolDir) -> t.Iterator[str]:
    """Yield the owner that a process of this host which has ended stages under."""
    from ansible_collections.encompass.images.plugins.module_utils._drivers.volumes import stage_path

    host, session, _pid, _start = stage_path(str(pool.path), "volume", "x").name.split("~")[2].split("-")
    ended = subprocess.Popen(["true"])
    ended.wait()
    yield f"{host}-{session}-{ended.pid}-1"


def test_file_systems_are_made_once_in_one_appliance(pool: PoolDir) -> None:
    labelled = {"filesystem": "ext4", "label": "data"}
    small = entry(pool, "web-3.db", filesystem="ext4", format="raw", size_mib=2)
    made = make(entry(pool, **labelled), entry(pool, "web-2.db", format="raw", **labelled), small)
    assert not made["failed"], made
    assert "with an empty ext4 labelled data" in made["objects"][0]["steps"][0]
    flat = pool.path / "flat.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", pool.path / "data/web-1/db.qcow2", flat)
    labels = {flat: "data", pool.path / "data/web-2/db.raw": "data", pool.path / "data/web-3/db.raw": ""}
    told = {}
    for path in labels:
        subprocess.run(["e2fsck", "-fn", path], check=True, capture_output=True)
        told[path] = read_tags(path)
    assert {path: tags.get("LABEL", "") for path, tags in told.items()} == labels
    assert len({tags["UUID"] for tags in told.values()}) == len(labels)  # unlike a master's, it is each one's own
    flat.unlink()
    before = pool.snapshot()
    assert is_unchanged(make(entry(pool, filesystem="ext4", label="other")))
    assert pool.snapshot() == before


def test_a_file_system_that_cannot_be_made_leaves_nothing(pool: PoolDir) -> None:
    """Ask for xfs, which Debian's libguestfs has only with an additional package."""
    wanted = entry(pool, filesystem="xfs", label="db", size_mib=320)
    made = make(wanted, entry(pool, "web-2.db"))
    assert (pool.path / "data/web-2/db.qcow2").exists()
    assert pool.staged() == []
    if made["failed"]:
        assert "cannot make xfs" in made["msg"]
        assert "libguestfs-xfs" in made["msg"]
        assert not (pool.path / "data/web-1").exists()


class _WithoutXfs:
    def feature_available(self, _names: list[str]) -> bool:
        return False


def test_an_appliance_without_xfs_says_what_is_missing() -> None:
    appliance = guestfs.Appliance(_WithoutXfs(), {"v": ["label"]})
    with pytest.raises(Unsupported, match="libguestfs-xfs"):
        appliance.make_file_system("v", "xfs", "", subject="volume v")


POOL = {"pool": "default", "path": "/pool", "shared": False, "reflink": False, "providers": ["hv1"]}
MACHINE = {"server": "web-1", "deployment": "web", "clone": "c", "provider": "hv1", "data": ["db"]}


@pytest.fixture
def planned(catalog: Catalog) -> Catalog:
    """Return a catalog with one planned volume."""
    record = new_volume_record("web-1", DataVolume("db", MIB, "default"), deployment="web", provider="hv1", pool=POOL)
    with catalog.transaction() as tx:
        tx.put("pool", "hv1:default", POOL)
        tx.put("volume", "web-1.db", record)
        tx.put("clone", "c", {"stage": "attached"})
        tx.put("machine", "web-1", MACHINE)
    return catalog


def run(catalog: Catalog, state: str, *, outer: t.Sequence[str] = (), **result: t.Any) -> Batch:
    """Run a verb on the volume, with a module that answers ``result``."""
    batch = DataBatch(VOLUME_VERBS[("volume", state)], "hv1", outer)
    with catalog.transaction() as tx:
        batch.add(tx, {"name": "web-1.db"}, Request({}, catalog.uuid))
        if not batch.items:
            return batch
        operation = tx.begin(batch.verb.event, batch.targets, owner=current_owner())
    answer = {"name": "web-1.db", "failed": False, "record": {"virtual_bytes": MIB}, **result}
    bodies, errors = batch.absorb([answer])
    catalog.commit(operation.id, bodies, errors=errors)
    return batch


def test_the_catalog_follows_a_volume_through_its_life(planned: Catalog) -> None:
    failed = run(planned, "present", outer=["o"], failed=True, msg="full", problem="the pool got full")
    assert failed.items[0]["idle"]
    assert failed.items[0]["path"] == "/pool/data/web-1/db.qcow2"
    with pytest.raises(Exception, match=r"its data volume db is not made \(the pool got full\)"):
        list_data_disks(planned, MACHINE)
    skipped = run(planned, "present", outer=["o"])
    assert skipped.report({"objects": []})["skipped_objects"] == ["web-1.db"]
    run(planned, "present")
    record = planned.require("volume", "web-1.db").body
    assert (record["stage"], record["last_error"]) == ("available", None)
    assert "filesystem" not in failed.items[0], "a module takes no null among its choices"
    (disk,) = list_data_disks(planned, MACHINE)
    wanted = {"path": "/pool/data/web-1/db.qcow2", "format": "qcow2", "bus": "virtio", "serial": "web-1-db"}
    assert disk == {**wanted, "backing": []}
    refused = run(planned, "absent").report({"objects": []})
    assert "machine web-1 has it" in refused["msg"]
    with planned.transaction() as tx:
        tx.delete("machine", "web-1")
    run(planned, "absent")
    assert planned.get("volume", "web-1.db") is None


def test_a_volume_of_another_provider_is_refused(planned: Catalog) -> None:
    batch = DataBatch(VOLUME_VERBS[("volume", "present")], "hv2", [])
    with planned.transaction() as tx:
        batch.add(tx, {"name": "web-1.db"}, Request({}, planned.uuid))
    assert "it is on hv1, not on hv2" in batch.report({"objects": []})["msg"]


BIRTH = """
- encompass.images.volume: {volumes: [{name: web-1.db, size_mib: 2, format: raw}]}
  register: made
"""
LIFE = """
- encompass.images.volume: {volumes: [{name: web-1.db, size_mib: 2, format: raw}]}
  register: again
- encompass.images.volume: {volumes: [{name: web-1.db, size_mib: 3, format: raw}]}
  register: grown
- encompass.images.volume: {volumes: [{name: web-1.db, size_mib: 1, format: raw}]}
  register: shrunk
  failed_when: not shrunk.failed
- encompass.images.volume_info: {server: web-1}
  register: found
- ansible.builtin.assert:
    that:
      - made.changed and not again.changed and grown.changed
      - "'can grow, never shrink' in shrunk.msg"
      - found.volumes | map(attribute='name') | list == ['web-1.db']
      - found.volumes[0].virtual_bytes == 3145728 and found.volumes[0].stage == 'available'
      - found.volumes[0].provider == 'h1' and not found.volumes[0].attached
"""
DEATH = """
- encompass.images.volume: {state: absent, volumes: [{name: web-1.db}]}
- encompass.images.volume_info:
    query: length(@)
  register: found
- ansible.builtin.assert:
    that: found.volumes == 0
"""


def test_a_play_makes_and_deletes_a_volume_of_its_own(project: Project, pool: PoolDir) -> None:
    catalog = Store(project.url).open()
    with catalog.transaction() as tx:
        tx.put("pool", "h1:default", {**POOL, "path": str(pool.path), "providers": ["h1"]})
    before = (catalog.history("volume", "web-1.db"), pool.snapshot())
    assert "changed=1" in project.play(BIRTH, "--check")
    assert (catalog.history("volume", "web-1.db"), pool.snapshot()) == before
    project.play(BIRTH + LIFE)
    assert (pool.path / "data/web-1/db.raw").stat().st_size == 3 * MIB
    project.play(DEATH)
    assert not (pool.path / "data/web-1").exists()
    assert catalog.find("volume") == []
    catalog.close()

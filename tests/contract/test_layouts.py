# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM, Btrfs, UEFI and several volumes; items of every type, in stages, and taken back to the last byte."""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Unsupported
from ansible_collections.encompass.images.plugins.module_utils._drivers.guestfs import Image
from ansible_collections.encompass.images.plugins.module_utils._drivers.system_inspection import inspect_system
from ansible_collections.encompass.images.plugins.module_utils._module.inspecting import inspect_image

from tests.contract.guests import customize
from tests.contract.layouts import System, list_system, make_systems, opened

pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

OWN = "etc/systemd/system/multi-user.target.wants"
GRUB = {"lvm": "boot/efi/EFI/debian/grub.cfg", "btrfs": "boot/grub/grub.cfg"}
ITEMS = [
    {"name": "data", "type": "file", "path": "/srv/new", "content": "on the second volume\n"},
    {"name": "no samples", "type": "delete", "path": "/opt/samples", "recursive": True},
    {"name": "samples", "type": "link", "path": "/opt/samples", "target": "tools"},
    {"name": "through", "type": "file", "path": "/opt/samples/added", "content": "x\n"},
    {"name": "tools", "type": "mode", "path": "/opt/tools", "mode": "0640", "group": 9, "recursive": True},
    {"name": "config", "type": "regexp", "path": "/etc/app.conf", "pattern": "1", "replacement": "2"},
    {"name": "web", "type": "service", "service": "web", "state": "enabled"},
    {"name": "loader", "type": "kernel", "arguments": {"add": ["tsx=off"], "remove": ["quiet"]}},
    {"name": "setup", "type": "firstboot", "content": "echo hello\n"},
]

BTRFS = {
    "mounts": [
        {"device": "btrfsvol:sda2/@", "mountpoint": "/", "filesystem": "btrfs"},
        {"device": "sda1", "mountpoint": "/boot", "filesystem": "ext2"},
        {"device": "btrfsvol:sda2/@home", "mountpoint": "/home", "filesystem": "btrfs"},
    ],
    "batchable": False,
}


class Stages(t.NamedTuple):
    """What was seen of the systems: before, with everything applied, with a part of it, and with nothing."""

    layouts: dict[str, dict]
    results: dict[str, dict]
    before: dict[str, dict]
    full: dict[str, dict]
    part: dict[str, dict]
    after: dict[str, dict]


def look(*systems: System) -> dict[str, dict]:
    """List all systems in one appliance."""
    disks = [disk for system in systems for disk in system.disks]
    with opened(*disks, read_only=True) as handle:
        return {system.name: list_system(handle, system, disks.index(system.disks[0])) for system in systems}


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> tuple[System, System]:
    """Make both systems."""
    return make_systems(tmp_path_factory.mktemp("masters"))


@pytest.fixture(scope="module")
def stages(masters: tuple[System, System], tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Take both systems through all stages; 10 appliances."""
    folder = tmp_path_factory.mktemp("systems")
    inspected = {}
    for master in masters:
        others = [Image(str(disk), "qcow2") for disk in master.disks[1:]]
        inspected[master.name] = inspect_image(str(master.disks[0]), "qcow2", 300, others=others, virt_type="qemu")
    lvm, btrfs = clones = [master.clone(folder) for master in masters]
    before = look(*clones)

    def go(*systems: System, **options: t.Any) -> dict:
        entries = [system.entry(inspected[system.name]["layout"], ITEMS) for system in systems]
        result = customize({"clones": entries, "virt_type": "qemu", "timeout_s": 300, **options})
        assert not result["failed"], result.get("msg")
        return result

    results = {"until": go(lvm, until="samples"), "rest": go(lvm, btrfs)}
    full = look(*clones)
    results["back"] = go(lvm, rollback_to="data")
    part = look(lvm)
    results["nothing"] = go(lvm, btrfs, rollback_to="")
    return Stages(inspected, results, before, full, part, look(*clones))


def test_layouts_are_found(stages: Stages) -> None:
    lvm, btrfs = stages.layouts["lvm"], stages.layouts["btrfs"]
    assert (lvm["firmware"], btrfs["firmware"]) == ("uefi", "bios")
    assert lvm["layout"] == {
        "mounts": [
            {"device": "vg/root", "mountpoint": "/", "filesystem": "ext4"},
            {"device": "sdb1", "mountpoint": "/srv", "filesystem": "ext4"},
            {"device": "sda1", "mountpoint": "/boot/efi", "filesystem": "vfat"},
        ],
        "batchable": False,
    }
    assert btrfs["layout"] == BTRFS


class Renamed:
    """libguestfs, telling other names of subvolumes, as when the kernel finds disks in another order."""

    def __init__(self, handle: t.Any, pattern: str, name: str) -> None:
        self._handle, self._pattern, self._name = handle, pattern, name

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._handle, name)

    def inspect_os(self) -> list[str]:
        return [re.sub(self._pattern, self._name, device) for device in self._handle.inspect_os()]

    def inspect_get_mountpoints(self, root: str) -> dict[str, str]:
        told = self._handle.inspect_get_mountpoints(root)
        return {place: re.sub(self._pattern, self._name, device) for place, device in told.items()}


def test_a_subvolume_is_looked_for_whatever_name_the_kernel_has_for_its_disk(masters: tuple[System, System]) -> None:
    lvm, btrfs = masters
    with opened(btrfs.disks[0], lvm.disks[1], read_only=True) as handle:
        with pytest.raises(Unsupported, match=r"^image x: its subvolume @gone is on no disk, and libguestfs "):
            inspect_system(Renamed(handle, "2/@", "2/@gone"), "image x")
        assert inspect_system(Renamed(handle, "sd[ab]2/", "sdb2/"), "image x")["layout"] == BTRFS


@pytest.mark.parametrize("name", ["lvm", "btrfs"])
def test_items_of_every_type_are_applied(stages: Stages, name: str) -> None:
    before, full = stages.before[name], stages.full[name]
    assert "srv/new" in full
    assert full["opt/samples"][4] == "tools"
    assert not any(path.startswith("opt/samples/") for path in full)
    assert {"opt/tools/added", f"{OWN}/web.service", f"{OWN}/encompass-firstboot.service"} <= full.keys()
    assert full["opt/tools"][:3] == ("0o40750", 0, 9)
    assert full["opt/tools/run"][:4] == ("0o100640", 0, 9, before["opt/tools/run"][3])
    assert full["opt/tools/run"][6] == before["opt/tools/run"][6]
    assert full[GRUB[name]][3] != before[GRUB[name]][3]
    assert full["etc/default/grub"][3] != before["etc/default/grub"][3]
    assert full["etc/app.conf"][5] == before["etc/app.conf"][5]


def test_stages(stages: Stages) -> None:
    def steps(stage: str) -> list[str]:
        return [step for step in stages.results[stage]["objects"][0]["steps"] if "item" in step]

    records = {stage: result["objects"][0]["record"]["customization"] for stage, result in stages.results.items()}
    assert {stage: record["pointer"] for stage, record in records.items()} == {
        "until": 3,
        "rest": len(ITEMS),
        "back": 1,
        "nothing": 0,
    }
    assert len(steps("until")) == 3
    assert len(steps("rest")) == len(ITEMS) - 3
    assert steps("back") == [f"take back item {item['name']}" for item in reversed(ITEMS[1:])]


def test_a_rollback_leaves_what_the_stage_had_and_nothing_else(stages: Stages) -> None:
    before, part = stages.before["lvm"], stages.part["lvm"]
    changed = {path for path in {*before, *part} if before.get(path) != part.get(path)}
    assert changed == {"srv/new", "etc/hostname", "etc/hosts", "etc/machine-id"}


@pytest.mark.parametrize("name", ["lvm", "btrfs"])
def test_everything_taken_back_leaves_the_system_as_it_was(stages: Stages, name: str) -> None:
    assert stages.after[name] == stages.before[name]


def test_the_diff_shows_each_item(stages: Stages) -> None:
    (diff, *_others) = stages.results["rest"]["diff"]
    assert diff["before"]["config"]["/etc/app.conf"]["content"] == ["port=1"]
    assert diff["after"]["config"]["/etc/app.conf"]["content"] == ["port=2"]
    assert diff["after"]["web"] == {f"/{OWN}/web.service": {"link": "/lib/systemd/system/web.service"}}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a migration, from whatever an earlier one left on the two sides."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.domain import Domain
from ansible_collections.encompass.images.plugins.module_utils._core.domain_xml import (
    list_disk_targets,
    relocate_domain_xml,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.module_utils._core.migration import (
    BothSeen,
    HalfSeen,
    MigrateDomain,
    Move,
    Parcel,
    VacancySeen,
    plan_live_migration,
    plan_vacancy,
    presume_vacancy,
    read_move,
    read_vacancy,
    report_move,
)
from ansible_collections.encompass.images.plugins.module_utils._core.network import Network, Reservation
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import RemoveLeftovers
from ansible_collections.encompass.images.plugins.module_utils._core.provider import DomainSeen, NetworkSeen, Power
from ansible_collections.encompass.images.plugins.module_utils._core.transfer import (
    ArrivalSeen,
    FileEntry,
    Manifest,
    PublishArrival,
    SendFiles,
    ShipmentSeen,
    plan_arrival,
    plan_sending,
    presume_arrival,
)

BACKING = {"path": "/pool/masters/a.qcow2", "format": "qcow2"}
VOLUME = {
    "name": "root",
    "path": "/pool/clones/c1/root.qcow2",
    "format": "qcow2",
    "virtual_bytes": 1,
    "backing": BACKING,
}
CLONE = {"name": "c1", "pool_path": "/pool", "target_pool_path": "/pool", "served": True, "volumes": [VOLUME]}
DISK = {"name": "db", "path": "/pool/data/web-1/db.raw", "format": "raw", "virtual_bytes": 1, "backing": None}
DATA = {"name": "web-1", "pool_path": "/pool", "target_pool_path": "/other", "volumes": [DISK]}
MACHINE: dict[str, t.Any] = {"name": "web-1", "uuid": "u1", "to": "hv2", "live": True, "clones": [CLONE]}

RUNS, PAUSED, OFF = (HalfSeen("u1", power) for power in (Power.RUNNING, Power.PAUSED, Power.OFF))
MOVES = "migrate running domain web-1 to hv2, with what its overlays hold"

SIDES: dict[str, tuple[HalfSeen | None, HalfSeen | None, list[str] | str]] = {
    "at the beginning": (RUNS, None, [MOVES]),
    "after one that was taken back": (
        RUNS,
        OFF,
        ["undefine domain web-1 on hv2, left from an earlier migration", MOVES],
    ),
    "when it is there": (None, RUNS, []),
    "when it is there and paused": (None, PAUSED, []),
    "when the old one was not undefined": (OFF, RUNS, ["remove domain web-1, which goes on at the other provider"]),
    "when the old one was not ended": (PAUSED, RUNS, ["remove domain web-1, which goes on at the other provider"]),
    "nowhere": (None, None, "neither here nor at hv2"),
    "both running": (RUNS, RUNS, "its domain is running here and running at hv2"),
    "both paused": (PAUSED, PAUSED, "paused here and paused at hv2"),
    "on its way": (dataclasses.replace(RUNS, busy="libvirt migrates it"), PAUSED, "libvirt migrates it"),
    "coming in": (RUNS, dataclasses.replace(PAUSED, uuid="u1", busy="it is being migrated"), "being migrated"),
    "not running": (OFF, None, "it is off and cannot migrate live"),
    "paused": (PAUSED, None, "it is paused and cannot migrate live"),
    "somebody else's there": (RUNS, dataclasses.replace(OFF, uuid="u2"), "has the UUID u2"),
}


@pytest.mark.parametrize(("here", "there", "wanted"), SIDES.values(), ids=list(SIDES))
def test_what_both_sides_show_says_what_is_left_to_do(
    here: HalfSeen | None, there: HalfSeen | None, wanted: list[str] | str
) -> None:
    item = read_move(MACHINE)
    if isinstance(wanted, str):
        with pytest.raises(EncompassError, match=wanted) as refused:
            plan_live_migration(item, BothSeen(here, there))
        assert refused.value.remedy
        return
    assert [step.describe() for step in plan_live_migration(item, BothSeen(here, there))] == wanted


@pytest.mark.parametrize(
    ("changes", "copies", "disks", "moves"),
    [
        ({}, "changes", ["root"], ()),
        ({"shared": True}, "none", [], ()),
        ({"volumes": [{**VOLUME, "backing": None}]}, "all", ["root"], ()),
        ({"target_pool_path": "/other/"}, "changes", ["root"], (("/pool", "/other"),)),
        ({"target_pool_path": "/other", "data": [DATA]}, "changes", ["root", "db"], (("/pool", "/other"),)),
        ({"shared": True, "data": [{**DATA, "target_pool_path": "/pool"}]}, "all", ["db"], ()),
    ],
)
def test_only_what_is_not_there_is_copied(
    changes: dict[str, t.Any], copies: str, disks: list[str], moves: t.Any
) -> None:
    data = changes.get("data", [])
    [step] = plan_live_migration(
        read_move({**MACHINE, "clones": [{**CLONE, **changes}], "data": data}), BothSeen(RUNS, None)
    )
    assert isinstance(step, MigrateDomain)
    assert (step.copies, step.moves) == (copies, moves)
    assert [path.rpartition("/")[2].partition(".")[0] for path in step.disks] == disks


def test_libvirt_is_told_the_disks_by_their_names_in_the_guest() -> None:
    disk = "<disk><source file='{}'/><target dev='{}'/></disk>"
    disks = disk.format("/pool/a", "vda") + disk.format("/pool/b", "vdb") + disk.format("/pool/c", "vdc")
    text = f"<domain><name>x</name><devices>{disks}</devices></domain>"
    assert list_disk_targets(text, ["/pool/c", "/pool/a"]) == ["vda", "vdc"]


def test_the_record_tells_where_all_of_it_is() -> None:
    record = report_move(read_move(MACHINE))
    place = {"pool_path": "/pool", "target_pool_path": "/pool"}
    assert record == {"to": "hv2", "clones": [{"name": "c1", **place}], "data": []}
    with_data = report_move(read_move({**MACHINE, "data": [DATA]}))
    assert with_data["data"] == [{"name": "web-1", "pool_path": "/pool", "target_pool_path": "/other"}]


def test_a_definition_finds_its_files_elsewhere() -> None:
    text = (
        "<domain><name>x</name><devices><disk><source file='/pool/clones/c1/root.qcow2'/><backingStore>"
        "<source file='/pool/masters/a.qcow2'/></backingStore></disk><disk><source file='/pool-2/x'/></disk></devices>"
        "</domain>"
    )
    moved = relocate_domain_xml(text, {"/pool": "/p2"})
    assert [f in moved for f in ("/p2/clones/c1/root.qcow2", "/p2/masters/a.qcow2", "/pool-2/x")] == [True] * 3
    assert "/pool/" not in moved


# What is carried

FILES = (FileEntry("root.qcow2", 10, "10:1:1", 0o600), FileEntry("undo/journal.json", 2, "2:1:2", 0o600))


C1 = "clone c1 in /pool"


def sent(*files: FileEntry) -> ShipmentSeen:
    return ShipmentSeen({C1: FILES}, {C1: Manifest(files) if files else None})


def test_a_stopped_machine_takes_all_its_files_along() -> None:
    cold = read_move({**MACHINE, "live": False})
    [step] = plan_sending(cold, sent())
    assert isinstance(step, SendFiles)
    assert [entry.flat_name for entry in step.files] == ["root.qcow2", "undo~journal.json"]
    assert plan_sending(cold, sent(*(dataclasses.replace(entry, digest="d") for entry in FILES))) == []
    changed = dataclasses.replace(FILES[0], fingerprint="11:2:1")
    assert plan_sending(cold, sent(changed, FILES[1]))


def test_libvirt_itself_carries_the_volumes_of_a_running_one() -> None:
    [step] = plan_sending(read_move(MACHINE), sent())
    assert isinstance(step, SendFiles)
    assert [entry.path for entry in step.files] == ["undo/journal.json"]


def test_a_data_volume_that_the_machine_does_not_use_goes_along_as_a_file() -> None:
    unused = FileEntry("old.qcow2", 10, "10:1:3", 0o600)
    item = read_move({**MACHINE, "clones": [{**CLONE, "shared": True}], "data": [DATA]})
    [parcel] = item.carried
    assert (parcel.directory, parcel.target_directory) == ("/pool/data/web-1", "/other/data/web-1")
    files = (FileEntry("db.raw", 10, "10:1:1", 0o600), unused)
    [step] = plan_sending(item, ShipmentSeen({parcel.id: files}, {parcel.id: None}))
    assert isinstance(step, SendFiles)
    assert step.files == (unused,)


def test_nothing_is_carried_into_a_shared_pool() -> None:
    assert plan_sending(read_move({**MACHINE, "clones": [{**CLONE, "shared": True}]}), ShipmentSeen({}, {})) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../../masters/x", "undo/../../x"])
def test_a_manifest_leads_nowhere_else(path: str) -> None:
    record = Manifest((dataclasses.replace(FILES[0], path=path),)).to_record()
    with pytest.raises(EncompassError, match="manifest"):
        Manifest.parse(record, "machine web-1")


def arrived(manifest: Manifest | None, volumes: list[str] | None, *, is_open: bool = False) -> ArrivalSeen:
    return ArrivalSeen({C1: manifest}, {C1: volumes}, {C1: is_open})


def test_what_arrived_takes_the_place_of_what_is_stale() -> None:
    item = read_move({**MACHINE, "live": False})
    [publish] = plan_arrival(item, arrived(Manifest(FILES), None))
    assert isinstance(publish, PublishArrival)
    assert not publish.makes_volumes
    steps = plan_arrival(item, arrived(Manifest(FILES), ["root.qcow2"]))
    assert [step.describe().split(",")[0] for step in steps] == ["delete /pool/clones/c1", "check 2 files"]
    assert plan_arrival(item, arrived(None, ["root.qcow2"])) == []


def test_what_a_killed_run_left_half_unpacked_goes() -> None:
    item = read_move({**MACHINE, "live": False})
    seen = dataclasses.replace(arrived(Manifest(FILES), None), leftovers=("/pool/.staging/clone~c1~x",))
    assert plan_arrival(item, seen)[0] == RemoveLeftovers(("/pool/.staging/clone~c1~x",))


REFUSED_ARRIVALS = {
    "nothing came": ({}, arrived(None, None), "volume root of its clone c1 is not in /pool/clones/c1"),
    "open": ({}, arrived(Manifest(FILES), ["root.qcow2"], is_open=True), "is open"),
    "not shared after all": ({"shared": True}, arrived(None, None), "must be the same directory on both"),
}


@pytest.mark.parametrize(("changes", "seen", "says"), REFUSED_ARRIVALS.values(), ids=list(REFUSED_ARRIVALS))
def test_what_did_not_arrive_is_named(changes: dict[str, t.Any], seen: ArrivalSeen, says: str) -> None:
    with pytest.raises(EncompassError, match=says):
        plan_arrival(read_move({**MACHINE, "clones": [{**CLONE, **changes}]}), seen)


def test_check_mode_sees_what_would_have_been_sent() -> None:
    item = read_move({**MACHINE, "stage": "assigned"})
    assert plan_arrival(item, presume_arrival(item, arrived(None, None)))
    assert presume_arrival(read_move(MACHINE), arrived(None, None)) == arrived(None, None)


WHOLE = json.dumps(Manifest(FILES).to_record()).encode()


@pytest.mark.parametrize(
    ("content", "read"),
    [(WHOLE, Manifest(FILES)), (b"", None), (bytes(len(WHOLE)), None), (WHOLE[:40] + bytes(len(WHOLE) - 40), None)],
    ids=["whole", "none", "not written", "partly written"],
)
def test_a_manifest_is_whole_or_none(content: bytes, read: Manifest | None) -> None:
    assert Manifest.read(content, "machine web-1") == read


# What is left

LEFT: dict[str, t.Any] = {
    "name": "web-1",
    "uuid": "u1",
    "nics": [{"network": "encompass", "mac": "52:54:00:00:00:01", "address": "10.1.0.5"}],
    "clones": [{"name": "c1", "pool_path": "/pool", "target_pool_path": "/pool"}],
}
DOMAIN = Domain("web-1", "u1", "x86_64", "bios", "qemu", 1, 96)
HELD = NetworkSeen(
    Network("encompass", "open", "10.1.0.0/24", reservations=(Reservation("52:54:00:00:00:01", "10.1.0.5", "web-1"),))
)


def vacancy(*, active: bool = False, is_open: bool = False, uuid: str = "u1") -> VacancySeen:
    domain = DomainSeen(dataclasses.replace(DOMAIN, uuid=uuid), active=active)
    return VacancySeen(domain, {"encompass": HELD}, {"/pool/clones/c1": is_open})


def test_everything_that_was_left_goes() -> None:
    item = read_vacancy(LEFT)
    assert item.paths == ["/pool/clones/c1", "/pool/.staging/clone~c1~arrival"]
    assert [step.describe() for step in plan_vacancy(item, vacancy())] == [
        "undefine domain web-1",
        "release 10.1.0.5 on network encompass from 52:54:00:00:00:01",
        "delete /pool/clones/c1",
    ]
    assert plan_vacancy(item, VacancySeen(None, {}, {})) == []
    others = plan_vacancy(item, vacancy(uuid="u2", active=True))
    assert not any("undefine" in step.describe() for step in others)


def test_data_that_went_along_is_removed_too() -> None:
    item = read_vacancy({**LEFT, "data": [{"name": "web-1", "pool_path": "/pool", "target_pool_path": "/pool"}]})
    assert item.paths[2:] == ["/pool/data/web-1", "/pool/.staging/data~web-1~arrival"]


def test_nothing_that_runs_or_is_open_is_touched() -> None:
    item = read_vacancy(LEFT)
    with pytest.raises(EncompassError, match="its domain is not off here"):
        plan_vacancy(item, vacancy(active=True))
    with pytest.raises(EncompassError, match="is open"):
        plan_vacancy(item, vacancy(is_open=True))


def test_check_mode_sees_a_machine_that_would_have_left() -> None:
    item = read_vacancy({**LEFT, "stage": "active"})
    seen = vacancy(active=True, is_open=True)
    assert "delete /pool/clones/c1" in [step.describe() for step in plan_vacancy(item, presume_vacancy(item, seen))]
    assert presume_vacancy(read_vacancy(LEFT), seen) == seen


def test_a_file_of_another_pool_stays() -> None:
    parcel = Parcel("c1", "/pool", "/other")
    assert [parcel.relocate(path) for path in ("/pool/masters/a", "/pool-2/x", "/pool")] == [
        "/other/masters/a",
        "/pool-2/x",
        "/pool",
    ]
    assert Move("web-1", "", "hv2", False, (parcel,)).carried == [parcel]

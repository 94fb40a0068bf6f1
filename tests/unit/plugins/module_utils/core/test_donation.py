# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain that is not ours, as plans and as XML."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.capturing import (
    CaptureSeen,
    FlattenVolume,
    PublishCopy,
    SealCopy,
    report_capture,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization import CloneRequest
from ansible_collections.encompass.images.plugins.module_utils._core.donation import (
    AbortBackup,
    BackUpDisks,
    DonationSeen,
    DonorDisk,
    DonorRequest,
    DonorSeen,
    ProveOff,
    ThawDomain,
    has_agent,
    parse_backup,
    parse_donor_disks,
    plan_donation,
    render_backup,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    NoSpace,
    NotFound,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import (
    MasterRequest,
    Origin,
    PublishedSeen,
    VolumeOrigin,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
)

DISK = DonorDisk("vda", "/images/shop.qcow2", "qcow2")
OTHER = DonorDisk("vdb", "/dev/sdb", "raw")
REQUEST = DonorRequest(
    "shop-v1", CloneRequest("shop-v1", False, "", (), ()), MasterRequest("shop-v1", Pool("/pool")), domain="old"
)
FILES = (FileSeen("/images/shop.qcow2", "1:2:3", 1, 1), None)
CAPTURE = CaptureSeen(FILES, in_use="", needed_bytes=(60, 40), free_bytes=1000)
RUNNING = DonorSeen(active=True, disks=(DISK, OTHER))
PUBLISHED = (PublishedSeen(FileSeen("/pool/masters/d.qcow2", "1:2:3", 1, 1), 1),)
OURS = ("/pool/.staging/capture~shop-v1~dead/root.qcow2",)
LEFT = ("/pool/.staging/capture~shop-v1~dead",)
REST = (SealCopy(), PublishCopy("shop-v1", ("root", "vdb")))
BACKUP = BackUpDisks("old", (DISK, OTHER), ("root", "vdb"), (), 100)
FLAT = (
    FlattenVolume("root", "/images/shop.qcow2", "qcow2", 60),
    FlattenVolume("vdb", "/dev/sdb", "raw", 40),
    ProveOff("old", FILES[:1]),
)
FROZEN = dataclasses.replace(BACKUP, freeze=True)


@pytest.mark.parametrize(
    ("donor", "capture", "steps"),
    [
        ({}, {}, (BACKUP, *REST)),
        ({"agent": True}, {}, (FROZEN, *REST)),
        ({"active": False}, {}, (*FLAT, *REST)),
        (
            {"agent": True, "job": OURS},
            {"leftovers": LEFT},
            (ThawDomain("old"), AbortBackup("old"), RemoveLeftovers(LEFT), FROZEN, *REST),
        ),
        # Killed between the two: frozen, and no job begun.
        ({"agent": True}, {"leftovers": LEFT, "published": PUBLISHED}, (ThawDomain("old"), RemoveLeftovers(LEFT))),
        ({"active": False}, {"leftovers": LEFT}, (RemoveLeftovers(LEFT), *FLAT, *REST)),
        ({"job": OURS}, {"leftovers": LEFT}, (AbortBackup("old"), RemoveLeftovers(LEFT), BACKUP, *REST)),
        ({}, {"published": PUBLISHED}, ()),
        ({"job": OURS}, {"published": PUBLISHED}, (AbortBackup("old"),)),
    ],
)
def test_the_plan(donor: dict[str, t.Any], capture: dict[str, t.Any], steps: tuple[t.Any, ...]) -> None:
    seen = DonationSeen(dataclasses.replace(CAPTURE, **capture), dataclasses.replace(RUNNING, **donor))
    assert tuple(plan_donation(REQUEST, seen)) == steps
    assert all(step.describe() for step in steps)


@pytest.mark.parametrize(
    ("wish", "agent", "freezes"),
    [("auto", True, True), ("auto", False, False), ("never", True, False), ("required", True, True)],
)
def test_who_is_frozen(wish: str, agent: bool, freezes: bool) -> None:
    seen = DonationSeen(CAPTURE, dataclasses.replace(RUNNING, agent=agent))
    (step, *_rest) = plan_donation(dataclasses.replace(REQUEST, freeze=wish), seen)
    assert step == dataclasses.replace(BACKUP, freeze=freezes)


def test_only_what_runs_has_to_be_frozen() -> None:
    required = dataclasses.replace(REQUEST, freeze="required")
    with pytest.raises(Unsupported, match="no guest agent is connected"):
        plan_donation(required, DonationSeen(CAPTURE, RUNNING))
    off = dataclasses.replace(RUNNING, active=False)
    assert tuple(plan_donation(required, DonationSeen(CAPTURE, off))) == (*FLAT, *REST)


def test_disks_are_taken_in_the_order_of_their_names() -> None:
    capture = dataclasses.replace(CAPTURE, volumes=(None,), needed_bytes=(40,))
    one = plan_donation(dataclasses.replace(REQUEST, disks=("vdb",)), DonationSeen(capture, RUNNING))
    assert one[0] == BackUpDisks("old", (OTHER,), ("root",), ("vda",), 40)
    assert one[-1] == PublishCopy("shop-v1", ("root",))
    both = plan_donation(dataclasses.replace(REQUEST, disks=("vdb", "vda")), DonationSeen(CAPTURE, RUNNING))
    assert both[0] == BackUpDisks("old", (OTHER, DISK), ("root", "vda"), (), 100)


def test_the_report_names_the_volumes_that_were_found() -> None:
    made = [
        VolumeOrigin(digest, "1:2:3", "donor old", "qcow2", digest, "", name)
        for name, digest in (("root", "d"), ("vdb", "e"))
    ]
    told = {"captured": {"consistency": "frozen"}}
    seen = dataclasses.replace(CAPTURE, origin=Origin(tuple(made), told), published=PUBLISHED * 2)
    record = report_capture(REQUEST, seen)
    assert [(volume["name"], volume["digest"]) for volume in record["volumes"]] == [("root", "d"), ("vdb", "e")]
    assert record["captured"] == {"consistency": "frozen"}


@pytest.mark.parametrize(
    ("donor", "free_bytes", "error", "words"),
    [
        (None, 1000, NotFound, "donor old: the provider has no such domain"),
        (RUNNING, 99, NoSpace, "99 bytes free"),
        (dataclasses.replace(RUNNING, disks=()), 1000, NotFound, "it writes to no disk"),
        (
            dataclasses.replace(RUNNING, disks=(DISK, dataclasses.replace(OTHER, path=""))),
            *(1000, Unsupported, "its disk vdb is no file or device"),
        ),
        (dataclasses.replace(RUNNING, job=("/elsewhere/x",)), 1000, Conflict, "somebody else is backing it up"),
        (dataclasses.replace(RUNNING, job=()), 1000, Conflict, "somebody else is backing it up"),
        (dataclasses.replace(RUNNING, job=(*OURS, "/x")), 1000, Conflict, "somebody else is backing it up"),
    ],
)
def test_what_is_refused(donor: DonorSeen | None, free_bytes: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plan_donation(REQUEST, DonationSeen(dataclasses.replace(CAPTURE, free_bytes=free_bytes), donor))


def test_a_disk_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFound, match=r"it writes to no disk vdc. Its disks are vda, vdb"):
        plan_donation(dataclasses.replace(REQUEST, disks=("vda", "vdc")), DonationSeen(CAPTURE, RUNNING))


def test_a_donor_that_is_gone_is_not_missed_once_its_master_is_there() -> None:
    assert plan_donation(REQUEST, DonationSeen(dataclasses.replace(CAPTURE, published=PUBLISHED), None)) == []


DOMAIN = """
<domain><devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/shop.qcow2'/>
    <target dev='vda'/></disk>
  <disk type='block' device='disk'><source dev='/dev/sdb'/><target dev='vdb'/></disk>
  <disk type='file' device='cdrom'><source file='/seed.iso'/><target dev='sda'/><readonly/></disk>
  <disk type='file' device='disk'><source file='/shared'/><target dev='vdc'/><readonly/></disk>
</devices></domain>
"""


def test_disks_are_what_the_domain_writes_to() -> None:
    assert parse_donor_disks(DOMAIN, "donor old") == (DISK, OTHER)


def test_a_disk_that_is_nowhere_on_the_host_has_no_path() -> None:
    remote = DOMAIN.replace("file='/images/shop.qcow2'", "protocol='rbd' name='a'")
    assert [disk.path for disk in parse_donor_disks(remote, "donor old")] == ["", "/dev/sdb"]


CHANNEL = "<channel type='unix'><target type='virtio' name='{}' state='{}'/></channel>"


@pytest.mark.parametrize(
    ("name", "state", "connected"),
    [
        ("org.qemu.guest_agent.0", "connected", True),
        ("org.qemu.guest_agent.0", "disconnected", False),
        ("com.redhat.spice.0", "connected", False),
    ],
)
def test_an_agent_counts_when_it_is_connected(name: str, state: str, connected: bool) -> None:
    text = DOMAIN.replace("</devices>", f"{CHANNEL.format(name, state)}</devices>")
    assert has_agent(text, "donor old") == connected


def test_the_order_names_each_disk_and_its_format() -> None:
    order = render_backup({"vda": "/pool/a<b", "vdc": "/pool/c"}, ("vdb",), subject="donor old")
    assert order == (
        '<domainbackup mode="push">\n  <disks>\n    <disk name="vda" backup="yes" type="file">\n'
        '      <driver type="qcow2" />\n      <target file="/pool/a&lt;b" />\n    </disk>\n'
        '    <disk name="vdc" backup="yes" type="file">\n'
        '      <driver type="qcow2" />\n      <target file="/pool/c" />\n    </disk>\n'
        '    <disk name="vdb" backup="no" />\n  </disks>\n</domainbackup>\n'
    )
    assert parse_backup(order, "donor old") == ("/pool/a<b", "/pool/c")


def test_a_job_that_is_fetched_from_is_known_by_its_scratch_file() -> None:
    job = "<domainbackup mode='pull'><disks><disk name='vda'><scratch file='/s'/></disk></disks></domainbackup>"
    assert parse_backup(job, "donor old") == ("/s",)

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
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization import CloneRequest
from ansible_collections.encompass.images.plugins.module_utils._core.donation import (
    AbortBackup,
    BackUpDisk,
    DonationSeen,
    DonorDisk,
    DonorRequest,
    DonorSeen,
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
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import MasterRequest, PublishedSeen
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
CAPTURE = CaptureSeen(None, in_use=False, needed_bytes=100, free_bytes=1000)
RUNNING = DonorSeen(active=True, disks=(DISK,))
PUBLISHED = PublishedSeen(FileSeen("/pool/masters/d.qcow2", "1:2:3", 1, 1), 1)
OURS = ("/pool/.staging/capture~shop-v1~dead/root.qcow2",)
LEFT = ("/pool/.staging/capture~shop-v1~dead",)
REST = (SealCopy(), PublishCopy("shop-v1"))
BACKUP = BackUpDisk("old", DISK, (), 100)


@pytest.mark.parametrize(
    ("donor", "capture", "steps"),
    [
        ({}, {}, (BACKUP, *REST)),
        ({"active": False}, {}, (FlattenVolume("/images/shop.qcow2", "qcow2", 100), *REST)),
        ({"job": OURS}, {"leftovers": LEFT}, (AbortBackup("old"), RemoveLeftovers(LEFT), BACKUP, *REST)),
        ({}, {"published": PUBLISHED}, ()),
        ({"job": OURS}, {"published": PUBLISHED}, (AbortBackup("old"),)),
    ],
)
def test_the_plan(donor: dict[str, t.Any], capture: dict[str, t.Any], steps: tuple[t.Any, ...]) -> None:
    seen = DonationSeen(dataclasses.replace(CAPTURE, **capture), dataclasses.replace(RUNNING, **donor))
    assert tuple(plan_donation(REQUEST, seen)) == steps


@pytest.mark.parametrize(
    ("donor", "free_bytes", "error", "words"),
    [
        (None, 1000, NotFound, "donor old: the provider has no such domain"),
        (RUNNING, 99, NoSpace, "99 bytes free"),
        (dataclasses.replace(RUNNING, disks=(DISK, OTHER)), 1000, Unsupported, "it has 2 disks"),
        (dataclasses.replace(RUNNING, disks=()), 1000, Unsupported, "it has 0 disks"),
        (dataclasses.replace(RUNNING, job=("/elsewhere/x",)), 1000, Conflict, "somebody else is backing it up"),
        (dataclasses.replace(RUNNING, job=()), 1000, Conflict, "somebody else is backing it up"),
        (dataclasses.replace(RUNNING, job=(*OURS, "/x")), 1000, Conflict, "somebody else is backing it up"),
    ],
)
def test_what_is_refused(donor: DonorSeen | None, free_bytes: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plan_donation(REQUEST, DonationSeen(dataclasses.replace(CAPTURE, free_bytes=free_bytes), donor))


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


def test_a_disk_that_is_nowhere_on_the_host_is_refused() -> None:
    remote = DOMAIN.replace("file='/images/shop.qcow2'", "protocol='rbd' name='a'")
    with pytest.raises(Unsupported, match="its disk vda is no file or device"):
        parse_donor_disks(remote, "donor old")


def test_the_order_names_one_disk_and_its_format() -> None:
    order = render_backup("vda", ("vdb",), "/pool/a<b", subject="donor old")
    assert order == (
        '<domainbackup mode="push">\n  <disks>\n    <disk name="vda" backup="yes" type="file">\n'
        '      <driver type="qcow2" />\n      <target file="/pool/a&lt;b" />\n    </disk>\n'
        '    <disk name="vdb" backup="no" />\n  </disks>\n</domainbackup>\n'
    )
    assert parse_backup(order, "donor old") == ("/pool/a<b",)


def test_a_job_that_is_fetched_from_is_known_by_its_scratch_file() -> None:
    job = "<domainbackup mode='pull'><disks><disk name='vda'><scratch file='/s'/></disk></disks></domainbackup>"
    assert parse_backup(job, "donor old") == ("/s",)

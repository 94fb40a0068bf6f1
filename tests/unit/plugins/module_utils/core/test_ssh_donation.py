# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is reached over ssh, as plans."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.capturing import CaptureSeen, plan_publication
from ansible_collections.encompass.images.plugins.module_utils._core.customization import CloneRequest
from ansible_collections.encompass.images.plugins.module_utils._core.disk_passes import Freezing
from ansible_collections.encompass.images.plugins.module_utils._core.donor_host import Block
from ansible_collections.encompass.images.plugins.module_utils._core.errors import NoSpace
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import MasterRequest, PublishedSeen
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    KeptSeen,
    Pool,
    RemoveLeftovers,
)
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_donation import (
    KEPT_S,
    CopyDisks,
    SshDonationSeen,
    SshDonorRequest,
    SshDonorSeen,
    plan_ssh_donation,
)
from ansible_collections.encompass.images.plugins.module_utils._core.ssh_login import SshLogin

REQUEST = SshDonorRequest(
    "shop-v1",
    CloneRequest("shop-v1", False, "", (), ()),
    MasterRequest("shop-v1", Pool("/pool")),
    login=SshLogin("root@shop"),
)
DONOR = SshDonorSeen(
    (Block("cciss!c0d0", "104:0", 4 << 30), Block("sdb", "8:16", 1 << 30)), Freezing("auto", 60, ("/",)), used_bytes=100
)
CAPTURE = CaptureSeen((), in_use="", needed_bytes=(), free_bytes=200)
PUBLISHED = (PublishedSeen(FileSeen("/pool/masters/d.qcow2", "1:2:3", 1, 1), 1),)
OURS = KeptSeen("/pool/.staging/donor~shop-v1~h", 60, KEPT_S + 1)
OLD = KeptSeen("/pool/.staging/donor~desk-v1~h", 60, KEPT_S + 1)
LEFT = ("/pool/.staging/capture~shop-v1~dead",)
REST = plan_publication(REQUEST, ("root", "sdb"))


def copy(needed_bytes: int, *, goes_on: bool) -> CopyDisks:
    return CopyDisks("root@shop", DONOR, ("root", "sdb"), needed_bytes, goes_on)


@pytest.mark.parametrize(
    ("donor", "capture", "kept", "steps"),
    [
        (DONOR, {}, {}, (copy(200, goes_on=False), *REST)),
        (DONOR, {}, {"shop-v1": OURS}, (copy(140, goes_on=True), *REST)),
        (DONOR, {"leftovers": LEFT}, {"desk-v1": dataclasses.replace(OLD, age_s=1)}, (RemoveLeftovers(LEFT), "copy")),
        (DONOR, {"leftovers": LEFT}, {"desk-v1": OLD}, (RemoveLeftovers((*LEFT, OLD.path)), "copy")),
        (None, {"published": PUBLISHED}, {}, ()),
        (None, {"published": PUBLISHED}, {"shop-v1": OURS}, (RemoveLeftovers((OURS.path,)),)),
    ],
)
def test_the_plan(
    donor: SshDonorSeen | None, capture: dict[str, t.Any], kept: dict[str, KeptSeen], steps: tuple[t.Any, ...]
) -> None:
    seen = SshDonationSeen(dataclasses.replace(CAPTURE, **capture), donor, kept)
    expected = (*steps[:-1], copy(200, goes_on=False), *REST) if "copy" in steps else steps
    assert tuple(plan_ssh_donation(REQUEST, seen)) == expected


def test_what_the_file_systems_hold_has_to_fit_in_twice() -> None:
    tight = dataclasses.replace(CAPTURE, free_bytes=199)
    with pytest.raises(NoSpace, match="donor root@shop: the pool at /pool has 199 bytes free"):
        plan_ssh_donation(REQUEST, SshDonationSeen(tight, DONOR))
    plan_ssh_donation(REQUEST, SshDonationSeen(tight, DONOR, {"shop-v1": OURS}))


def test_the_step_tells_disks_and_what_is_frozen() -> None:
    assert copy(200, goes_on=True).describe() == (
        "copy /dev/cciss/c0d0 (4.0 GiB), /dev/sdb (1.0 GiB) of root@shop over ssh, going on with what an earlier run "
        "copied; in the end / frozen for 60 s at most"
    )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of clones, as tables: (asked, seen) -> steps, method, record or refusal."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.clone_methods import (
    METHOD_NAMES,
    METHODS,
    choose_method,
    estimate_bytes,
)
from ansible_collections.encompass.images.plugins.module_utils._core.clone_types import (
    Base,
    BaseSeen,
    CloneRequest,
    CloneSeen,
    CopyVolume,
    CreateOverlay,
    PublishClone,
    RemoveClone,
    VolumeRequest,
    VolumeSeen,
)
from ansible_collections.encompass.images.plugins.module_utils._core.cloning import (
    plan_clone,
    plan_removal,
    report_clone,
    share_room,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    Conflict,
    EncompassError,
    InvalidRequest,
    MasterChanged,
    NoSpace,
    NotFound,
    TransitionRefused,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
)

MIB, GIB = 1 << 20, 1 << 30
POOL = Pool("/pool")
MASTER_FILE = POOL.master_file("d1")
BASE = Base(MASTER_FILE, "qcow2", "d1", "f1")
ROOT = VolumeRequest("root", BASE, virtual_bytes=3 * GIB, allocated_bytes=500 * MIB)
ASKED = CloneRequest("web-v1-1", "web-v1", POOL, (ROOT,))
BASE_SEEN = BaseSeen(FileSeen(MASTER_FILE, "f2", 501 * MIB, 500 * MIB), "d1", "qcow2", 3 * GIB)
NOTHING = CloneSeen(exists=False, volumes={}, bases={"root": BASE_SEEN}, free_bytes=10 * GIB)
OVERLAY = VolumeSeen("qcow2", 3 * GIB, 12288, backing_path=MASTER_FILE, backing_format="qcow2")
COPY = VolumeSeen("qcow2", 3 * GIB, 500 * MIB)
PINNED = dataclasses.replace(BASE, fingerprint="f2")


def ask(**changes):
    """Return the request with changes; ``base`` changes its volume's base, ``size`` its size."""
    base = dataclasses.replace(BASE, **changes.pop("base", {}))
    volume = dataclasses.replace(ROOT, base=base, virtual_bytes=changes.pop("size", ROOT.virtual_bytes))
    return dataclasses.replace(ASKED, volumes=(volume,), **changes)


def see(volume=None, **changes):
    """Return what is seen of a clone with this volume; ``base`` changes its base, None takes it away."""
    base = changes.pop("base", {})
    seen_base = None if base is None else dataclasses.replace(BASE_SEEN, **base)
    volumes = {"root": volume} if volume else {}
    return dataclasses.replace(
        NOTHING, exists=volume is not None, volumes=volumes, bases={"root": seen_base}, **changes
    )


PUBLISH = PublishClone("/pool/clones/web-v1-1")
MADE = {
    "auto": (ask(), see(), [CreateOverlay("root", PINNED, 3 * GIB, 256 << 10), PUBLISH]),
    "overlay": (ask(method="overlay"), see(), [CreateOverlay("root", PINNED, 3 * GIB, 256 << 10), PUBLISH]),
    "copy": (
        ask(method="copy"),
        see(),
        [CopyVolume("root", PINNED, 3 * GIB, 500 * MIB, reflink=False, grow=False), PUBLISH],
    ),
    "copy that shares blocks": (
        ask(method="copy", reflink=True),
        see(),
        [CopyVolume("root", PINNED, 3 * GIB, 65536, reflink=True, grow=False), PUBLISH],
    ),
    "larger copy": (
        ask(method="copy", size=4 * GIB),
        see(),
        [CopyVolume("root", PINNED, 4 * GIB, 500 * MIB, reflink=False, grow=True), PUBLISH],
    ),
    "auto, base in another pool": (
        ask(base={"path": "/other/masters/d1.qcow2"}),
        see(),
        [
            CopyVolume(
                "root",
                dataclasses.replace(PINNED, path="/other/masters/d1.qcow2"),
                3 * GIB,
                500 * MIB,
                reflink=False,
                grow=False,
            ),
            PUBLISH,
        ],
    ),
    "size of the base": (ask(size=0), see(), [CreateOverlay("root", PINNED, 3 * GIB, 256 << 10), PUBLISH]),
    "master not imported yet (check mode)": (
        ask(base={"path": "", "digest": "", "fingerprint": ""}),
        see(base=None),
        [CreateOverlay("root", Base("", "qcow2"), 3 * GIB, 256 << 10), PUBLISH],
    ),
    "leftovers": (
        ask(),
        see(leftovers=("/pool/.staging/a", "/pool/.staging/b")),
        [
            RemoveLeftovers(("/pool/.staging/a", "/pool/.staging/b")),
            CreateOverlay("root", PINNED, 3 * GIB, 256 << 10),
            PUBLISH,
        ],
    ),
    "there, leftovers": (
        ask(),
        see(OVERLAY, leftovers=("/pool/.staging/a",)),
        [RemoveLeftovers(("/pool/.staging/a",))],
    ),
    "there, overlay": (ask(), see(OVERLAY), []),
    "there, copy": (ask(), see(COPY), []),
    "there, copy of a master that is gone": (ask(), see(COPY, base=None), []),
    "there, copy of a master that changed": (ask(), see(COPY, base={"digest": "d2"}), []),
    "there, pool full": (ask(), see(OVERLAY, free_bytes=0), []),
}


@pytest.mark.parametrize("case", MADE)
def test_plan(case):
    asked, seen, steps = MADE[case]
    assert plan_clone(asked, seen) == steps
    assert all(step.describe() for step in steps)


REFUSED = {
    "master gone": (ask(), see(base=None), NotFound, "the file of its master is not there"),
    "overlay's master gone": (ask(), see(OVERLAY, base=None), NotFound, "the file of its master is not there"),
    "master changed": (ask(), see(base={"digest": "d2"}), MasterChanged, "holds d2, registered is d1"),
    "overlay's master changed": (ask(), see(OVERLAY, base={"digest": "d2"}), MasterChanged, "holds d2"),
    "master of another format": (
        ask(),
        see(base={"format": "raw"}),
        InvalidRequest,
        "declared as qcow2, but it is raw",
    ),
    "smaller than the master": (ask(size=GIB), see(), InvalidRequest, f"shall have {GIB} bytes"),
    "no room": (ask(method="copy"), see(free_bytes=MIB), NoSpace, f"{MIB} bytes free (1.0 MiB), and {500 * MIB} bytes"),
    "no room for an overlay": (ask(), see(free_bytes=1000), NoSpace, "1000 bytes free (1000 bytes), and 262144 bytes"),
    "overlay in another pool": (
        ask(method="overlay", base={"path": "/other/d1.qcow2"}),
        see(),
        Unsupported,
        "it cannot be made by overlay: the master's volume root is not in the clone's pool",
    ),
    "chain too deep": (ask(method="overlay"), see(base={"depth": 8}), Unsupported, "its chain would be 9 files deep"),
    "another base": (
        ask(),
        see(dataclasses.replace(OVERLAY, backing_path="/x")),
        Conflict,
        f"its volume root is an overlay on /x (qcow2) instead of {MASTER_FILE} (qcow2)",
    ),
    "base of no format": (ask(), see(dataclasses.replace(OVERLAY, backing_format="")), Conflict, "(no format)"),
    "another size": (ask(), see(dataclasses.replace(OVERLAY, virtual_bytes=1)), Conflict, "has 1 bytes instead of"),
    "another format": (ask(), see(dataclasses.replace(COPY, format="raw")), Conflict, "root is raw instead of qcow2"),
    "copy instead of overlay": (ask(method="overlay"), see(COPY), Conflict, "a copy instead of an overlay"),
    "overlay instead of copy": (ask(method="copy"), see(OVERLAY), Conflict, "an overlay instead of a copy"),
    "no volume": (ask(), dataclasses.replace(see(), exists=True), Conflict, "it has no volume root"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal(case):
    asked, seen, error, sentence = REFUSED[case]
    with pytest.raises(error) as refusal:
        plan_clone(asked, seen)
    assert sentence in refusal.value.problem
    assert refusal.value.subject == "clone web-v1-1"


CHOSEN = {
    "overlay is preferred": (ask(), see(), "overlay", {"copy": "overlay is cheaper"}),
    "overlay was asked for": (ask(method="overlay"), see(), "overlay", {"copy": "overlay was asked for"}),
    "copy was asked for": (ask(method="copy"), see(), "copy", {"overlay": "copy was asked for"}),
    "chain too deep": (
        ask(),
        see(base={"depth": 8}),
        "copy",
        {"overlay": "its chain would be 9 files deep, 8 are the limit"},
    ),
    "chain as deep as allowed": (ask(), see(base={"depth": 7}), "overlay", {"copy": "overlay is cheaper"}),
    "raw master": (
        ask(base={"format": "raw"}),
        see(),
        "copy",
        {"overlay": "the master's volume root is raw, not qcow2"},
    ),
    "a pool with a longer name": (
        ask(base={"path": "/pool2/masters/d1.qcow2"}),
        see(),
        "copy",
        {"overlay": "the master's volume root is not in the clone's pool"},
    ),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_choice(case):
    asked, seen, method, rejected = CHOSEN[case]
    choice = choose_method(asked, seen)
    assert (choice.method, choice.rejected) == (method, rejected)
    assert choice.reason


def test_every_method_can_be_asked_for():
    assert METHOD_NAMES == ("auto", "overlay", "copy")
    for method in METHODS:
        assert choose_method(ask(method=method.name), see()).method == method.name


@pytest.mark.parametrize(
    ("virtual_bytes", "expected"), [(1, 4 * 65536), (512 * GIB, 4 * 65536), (8 << 40, 3 * 65536 + 131072)]
)
def test_an_overlays_tables_grow_with_its_size(virtual_bytes, expected):
    assert estimate_bytes(ask(size=virtual_bytes), see(base=None)) == expected


@pytest.mark.parametrize("case", [case for case in MADE if not MADE[case][1].exists])
def test_the_predicted_record_is_the_one_observed_afterwards(case):
    asked, seen, steps = MADE[case]
    made = {
        step.volume: VolumeSeen(
            "qcow2",
            step.virtual_bytes,
            step.estimated_bytes,
            backing_path=step.base.path if isinstance(step, CreateOverlay) else "",
            backing_format="qcow2" if isinstance(step, CreateOverlay) else "",
        )
        for step in steps
        if isinstance(step, (CreateOverlay, CopyVolume))
    }
    after = dataclasses.replace(seen, exists=True, volumes=made, leftovers=(), free_bytes=0)
    if asked.volumes[0].base.path:
        assert report_clone(asked, after) == report_clone(asked, seen)
    assert plan_clone(asked, after) == []


def test_a_clone_that_is_there_keeps_its_method():
    record = report_clone(ask(), see(COPY))
    assert (record["method"], record["volumes"][0]["backing"]) == ("copy", None)
    assert record["rejected"] == {"overlay": "the clone is there already"}
    assert record["allocated_bytes"] == 500 * MIB


def test_the_record_names_the_base_with_its_digest():
    assert report_clone(ask(), see())["volumes"] == [
        {
            "name": "root",
            "path": "/pool/clones/web-v1-1/root.qcow2",
            "format": "qcow2",
            "virtual_bytes": 3 * GIB,
            "backing": {"path": MASTER_FILE, "format": "qcow2", "digest": "d1"},
        }
    ]


def test_removal():
    assert plan_removal(ask(), see()) == []
    assert plan_removal(ask(), see(leftovers=("/pool/.staging/a",))) == [RemoveLeftovers(("/pool/.staging/a",))]
    assert plan_removal(ask(), see(COPY, base=None)) == [RemoveClone("/pool/clones/web-v1-1", 500 * MIB)]
    with pytest.raises(TransitionRefused, match="its volume root is open"):
        plan_removal(ask(), see(dataclasses.replace(OVERLAY, in_use=True)))


def test_the_clones_of_a_batch_share_the_room():
    copies = {name: ask(name=name, method="copy") for name in "abc"}
    shared = share_room(copies, {name: see(free_bytes=1200 * MIB) for name in "abc"})
    assert [shared[name].free_bytes // MIB for name in "abc"] == [1200, 700, 200]
    with pytest.raises(NoSpace):
        plan_clone(copies["c"], shared["c"])


def test_what_does_not_fit_fails_or_is_there_already_takes_no_room():
    requests = {
        "large": ask(name="large", method="copy"),
        "there": ask(name="there", method="copy"),
        "broken": ask(name="broken", method="copy"),
        "impossible": ask(name="impossible", method="overlay", base={"format": "raw"}),
        "small": ask(name="small"),
        "elsewhere": ask(name="elsewhere", pool=Pool("/other")),
    }
    seen = {name: see(free_bytes=MIB) for name in requests}
    shared = share_room(requests, {**seen, "there": see(COPY, free_bytes=MIB), "broken": None})
    assert shared["broken"] is None
    assert shared["small"].free_bytes == shared["elsewhere"].free_bytes == MIB


def test_errors_are_of_the_family():
    assert all(issubclass(error, EncompassError) for _asked, _seen, error, _sentence in REFUSED.values())

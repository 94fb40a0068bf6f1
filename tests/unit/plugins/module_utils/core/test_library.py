# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of masters, as tables: (asked, seen) -> steps, record or refusal."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    InvalidRequest,
    MasterChanged,
    NoSpace,
    NotFound,
    TransitionRefused,
)
from ansible_collections.encompass.images.plugins.module_utils._core.image_header import ImageHeader
from ansible_collections.encompass.images.plugins.module_utils._core.library import (
    forget_broken_import,
    plan_master,
    plan_master_removal,
    report_master,
)
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import (
    HardwareWishes,
    ImportVolume,
    InspectVolume,
    MasterRequest,
    MasterSeen,
    Origin,
    PublishedSeen,
    RemoveMaster,
    SourceSeen,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
)

MIB, GIB = 1 << 20, 1 << 30
POOL = Pool("/pool")
ASKED = MasterRequest("web-v1", POOL, "/srv/web.raw", "raw")
REGISTERED = dataclasses.replace(ASKED, digest="d1", fingerprint="f1")
SOURCE_FILE = FileSeen("/srv/web.raw", "s1", 3 * GIB, 500 * MIB)
SOURCE = SourceSeen(SOURCE_FILE, ImageHeader("raw", 3 * GIB), "a1")
PUBLISHED = PublishedSeen(FileSeen(POOL.master_file("d1"), "f1", 501 * MIB, 500 * MIB), 3 * GIB)
TOLD = {
    "firmware": "uefi",
    "software": {"distro": "debian"},
    "packages": {"nginx": "1.22.1-9"},
    "layout": {"mounts": [], "batchable": True},
    "sealed": {"machine_id": True},
}
ORIGIN = Origin("d1", "f1", "/srv/web.raw", "raw", "a1", "s1", TOLD)
UNSEEN = dataclasses.replace(ORIGIN, inspection=None)
NOTHING = MasterSeen(published=None, origin=None, source=SOURCE, free_bytes=10 * GIB)
IMPORT = ImportVolume(SOURCE_FILE, "raw", "a1", expected_digest="")


def see(**changes):
    """Return what is seen of a master that is published and inspected, with changes."""
    whole = dataclasses.replace(NOTHING, published=PUBLISHED, origin=ORIGIN)
    return dataclasses.replace(whole, **changes)


def changed_source(**changes):
    """Return the source, with changes to what it holds."""
    return dataclasses.replace(SOURCE, **changes)


PLANNED = {
    "new": (ASKED, NOTHING, [IMPORT, InspectVolume()]),
    "new, not to be inspected": (dataclasses.replace(ASKED, inspect=False), NOTHING, [IMPORT]),
    "leftovers": (
        ASKED,
        dataclasses.replace(NOTHING, leftovers=("/pool/.staging/a",)),
        [RemoveLeftovers(("/pool/.staging/a",)), IMPORT, InspectVolume()],
    ),
    "published": (ASKED, see(), []),
    "registered": (REGISTERED, see(), []),
    "registered, source gone": (REGISTERED, see(source=None), []),
    "registered, touched and read again": (
        REGISTERED,
        see(published=dataclasses.replace(PUBLISHED, digest="d1")),
        [],
    ),
    "registered, origin lost": (REGISTERED, see(origin=None), [InspectVolume()]),
    "registered, file gone": (
        REGISTERED,
        see(published=None),
        [dataclasses.replace(IMPORT, expected_digest="d1"), InspectVolume()],
    ),
    "killed before the file had its name": (ASKED, see(published=None, origin=UNSEEN), [IMPORT, InspectVolume()]),
    "killed before the inspection": (ASKED, see(origin=UNSEEN), [InspectVolume()]),
    "not to be inspected": (dataclasses.replace(ASKED, inspect=False), see(origin=UNSEEN), []),
    "the expected digest": (dataclasses.replace(ASKED, sha256="a1"), NOTHING, [IMPORT, InspectVolume()]),
    "full pool, nothing to do": (ASKED, see(free_bytes=0), []),
}


@pytest.mark.parametrize("case", PLANNED)
def test_plan(case):
    asked, seen, steps = PLANNED[case]
    assert plan_master(asked, seen) == steps
    assert all(step.describe() for step in steps)


BACKED = changed_source(header=ImageHeader("qcow2", GIB, backing_file="/etc/passwd"))
REFUSED = {
    "no source": (ASKED, dataclasses.replace(NOTHING, source=None), NotFound, "its source /srv/web.raw is not there"),
    "no source given": (
        dataclasses.replace(ASKED, source=""),
        dataclasses.replace(NOTHING, source=None),
        NotFound,
        "its source (none given) is not there",
    ),
    "another format": (
        ASKED,
        dataclasses.replace(NOTHING, source=BACKED),
        InvalidRequest,
        "it was declared as raw, but its header is that of qcow2",
    ),
    "a backing file": (
        dataclasses.replace(ASKED, format="qcow2"),
        dataclasses.replace(NOTHING, source=BACKED),
        InvalidRequest,
        "it needs the backing file /etc/passwd",
    ),
    "another digest than expected": (
        dataclasses.replace(ASKED, sha256="a2"),
        NOTHING,
        InvalidRequest,
        "has the SHA-256 a1, a2 was expected",
    ),
    "another digest than expected, published": (
        dataclasses.replace(ASKED, sha256="a2"),
        see(),
        InvalidRequest,
        "it was made of other bytes",
    ),
    "no room": (
        ASKED,
        dataclasses.replace(NOTHING, free_bytes=MIB),
        NoSpace,
        f"the pool at /pool has {MIB} bytes free (1.0 MiB), and {500 * MIB} bytes (500.0 MiB) are needed",
    ),
    "the file changed": (
        REGISTERED,
        see(published=dataclasses.replace(PUBLISHED, digest="d2")),
        MasterChanged,
        "holds d2",
    ),
    "the source changed": (
        ASKED,
        see(source=changed_source(sha256="a2")),
        InvalidRequest,
        "it was made of other bytes (SHA-256 a1) than /srv/web.raw holds now",
    ),
    "the source changed, file gone": (
        REGISTERED,
        see(source=changed_source(sha256="a2"), published=None),
        InvalidRequest,
        "it was made of other bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal(case):
    asked, seen, error, sentence = REFUSED[case]
    with pytest.raises(error) as refusal:
        plan_master(asked, seen)
    assert sentence in refusal.value.problem


def test_a_killed_import_of_an_image_that_was_replaced_is_forgotten():
    replaced = see(published=None, source=changed_source(sha256="a2"))
    assert forget_broken_import(ASKED, replaced).origin is None
    assert plan_master(ASKED, forget_broken_import(ASKED, replaced))[0] == dataclasses.replace(IMPORT, sha256="a2")
    for asked, seen in [(REGISTERED, replaced), (ASKED, see(published=None)), (ASKED, NOTHING), (ASKED, see())]:
        assert forget_broken_import(asked, seen) == seen


def test_the_record():
    assert report_master(ASKED, see()) == {
        "digest": "d1",
        "path": "/pool/masters/d1.qcow2",
        "fingerprint": "f1",
        "format": "qcow2",
        "virtual_bytes": 3 * GIB,
        "allocated_bytes": 500 * MIB,
        "hardware": {
            "arch": "x86_64",
            "firmware": "uefi",
            "disk_bus": "virtio",
            "min_cpus": 1,
            "min_memory_mib": 256,
        },
        "software": {"distro": "debian"},
        "packages": {"nginx": "1.22.1-9"},
        "layout": {"mounts": [], "batchable": True},
        "sealed": {"machine_id": True},
        "source": {"path": "/srv/web.raw", "sha256": "a1", "format": "raw"},
    }


def test_the_predicted_record_has_the_same_shape_and_no_guesses():
    predicted, record = report_master(ASKED, NOTHING), report_master(ASKED, see())
    assert (set(predicted), set(predicted["hardware"])) == (set(record), set(record["hardware"]))
    assert [key for key in record if predicted[key] is None] == [
        "digest",
        "path",
        "fingerprint",
        "software",
        "packages",
        "layout",
        "sealed",
    ]
    assert predicted["source"] == record["source"]
    assert predicted["virtual_bytes"] == 3 * GIB


def test_what_is_said_of_the_firmware_counts_more_than_what_is_found():
    asked = dataclasses.replace(ASKED, hardware=HardwareWishes(firmware="bios"))
    assert report_master(asked, see())["hardware"]["firmware"] == "bios"


def test_an_inspection_of_another_file_tells_nothing():
    assert report_master(dataclasses.replace(REGISTERED, digest="d9"), see())["software"] is None


REMOVED = {
    "never there": (ASKED, dataclasses.replace(NOTHING, source=None), []),
    "there": (ASKED, see(), [RemoveMaster("d1", keep_file=False)]),
    "registered, origin lost": (REGISTERED, see(origin=None), [RemoveMaster("d1", keep_file=False)]),
    "file gone": (ASKED, see(published=None), [RemoveMaster("d1", keep_file=False)]),
    "another master has the same bytes": (
        ASKED,
        see(sharers=("api-v1",), clones=("api-v1-1",)),
        [RemoveMaster("d1", keep_file=True)],
    ),
    "another master has the same bytes, origin lost": (REGISTERED, see(origin=None, sharers=("api-v1",)), []),
    "leftovers": (
        ASKED,
        dataclasses.replace(NOTHING, leftovers=("/pool/.staging/a",)),
        [RemoveLeftovers(("/pool/.staging/a",))],
    ),
}


@pytest.mark.parametrize("case", REMOVED)
def test_removal(case):
    asked, seen, steps = REMOVED[case]
    assert plan_master_removal(asked, seen) == steps
    assert all(step.describe() for step in steps)


def test_a_master_that_clones_need_is_not_removed():
    with pytest.raises(TransitionRefused, match=r"its file is the base of a, b, c and 2 more\."):
        plan_master_removal(ASKED, see(clones=("a", "b", "c", "d", "e")))
    with pytest.raises(TransitionRefused, match=r"its file is the base of a\."):
        plan_master_removal(ASKED, see(clones=("a",)))

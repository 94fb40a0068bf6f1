# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of masters, as tables: (asked, seen) -> steps, record or refusal."""

from __future__ import annotations

import dataclasses
import re

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
    ImportVolumes,
    InspectVolumes,
    MasterRequest,
    MasterSeen,
    MasterVolume,
    MasterVolumeSeen,
    NoteOrigin,
    Origin,
    PublishedSeen,
    RemoveMaster,
    SourceSeen,
    VolumeImport,
    VolumeOrigin,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
)
from ansible_collections.encompass.images.plugins.module_utils._core.sources import ImportLimits

MIB, GIB = 1 << 20, 1 << 30
POOL = Pool("/pool")
VOLUME = MasterVolume("root", "/srv/web.raw", "raw")
ASKED = MasterRequest("web-v1", POOL, (VOLUME,))
REGISTERED = MasterRequest("web-v1", POOL, (dataclasses.replace(VOLUME, digest="d1", fingerprint="f1"),))
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
MADE = VolumeOrigin("d1", "f1", "/srv/web.raw", "raw", "a1", "s1")
ORIGIN = Origin((MADE,), TOLD)
UNSEEN = dataclasses.replace(ORIGIN, inspection=None)
NOTHING = MasterSeen((MasterVolumeSeen(source=SOURCE),), origin=None, free_bytes=10 * GIB)
ONE = VolumeImport("root", SOURCE_FILE, "raw", "a1", expected_digest="")
IMPORT = ImportVolumes((ONE,))


def see(*, published=PUBLISHED, source=SOURCE, origin=ORIGIN, **changes):
    """Return what is seen of a master that is published and inspected, with changes."""
    volume = MasterVolumeSeen(published, source)
    return dataclasses.replace(NOTHING, volumes=(volume,), origin=origin, **changes)


def ask(**changes):
    """Return what is asked for of the volume, with changes."""
    return dataclasses.replace(ASKED, volumes=(dataclasses.replace(VOLUME, **changes),))


def changed_source(**changes):
    """Return the source, with changes to what it holds."""
    return dataclasses.replace(SOURCE, **changes)


URL = "https://example.com/web.ova?token=hunter2"
WEB_FILE = FileSeen("https://example.com/web.ova", "", 0, 0)
FETCH = ImportVolumes((VolumeImport("root", WEB_FILE, "ova", "a1", expected_digest="", disk=2),))
SMALL = dataclasses.replace(ASKED, limits=ImportLimits(500 * MIB - 1, 3 * GIB))
OF_WEB = SourceSeen(WEB_FILE, None, "a1")

PLANNED = {
    "from the web, unseen": (
        ask(source=URL, format="ova", sha256="a1", disk=2),
        see(published=None, source=OF_WEB, origin=None),
        [FETCH, InspectVolumes()],
    ),
    "from the web, published": (ask(source=URL, format="ova", sha256="a1"), see(source=OF_WEB), []),
    "the disk of a package": (
        ask(format="ova"),
        see(published=None, source=changed_source(header=ImageHeader("vmdk", GIB)), origin=None),
        [ImportVolumes((dataclasses.replace(ONE, format="ova"),)), InspectVolumes()],
    ),
    "new": (ASKED, NOTHING, [IMPORT, InspectVolumes()]),
    "new, not to be inspected": (dataclasses.replace(ASKED, inspect=False), NOTHING, [IMPORT]),
    "leftovers": (
        ASKED,
        dataclasses.replace(NOTHING, leftovers=("/pool/.staging/a",)),
        [RemoveLeftovers(("/pool/.staging/a",)), IMPORT, InspectVolumes()],
    ),
    "published": (ASKED, see(), []),
    "registered": (REGISTERED, see(), []),
    "registered, source gone": (REGISTERED, see(source=None), []),
    "registered, touched and read again": (
        REGISTERED,
        see(published=dataclasses.replace(PUBLISHED, digest="d1")),
        [],
    ),
    "registered, origin lost": (REGISTERED, see(origin=None), [NoteOrigin(), InspectVolumes()]),
    "registered, made of another master's file": (
        dataclasses.replace(REGISTERED, inspect=False),
        see(origin=None),
        [NoteOrigin()],
    ),
    "registered, the file was there before its source was read": (
        dataclasses.replace(REGISTERED, inspect=False),
        see(origin=Origin((dataclasses.replace(MADE, sha256="", fingerprint=""),))),
        [],
    ),
    "registered, file gone": (
        REGISTERED,
        see(published=None),
        [ImportVolumes((dataclasses.replace(ONE, expected_digest="d1"),)), InspectVolumes()],
    ),
    "killed before the file had its name": (ASKED, see(published=None, origin=UNSEEN), [IMPORT, InspectVolumes()]),
    "killed before the inspection": (ASKED, see(origin=UNSEEN), [InspectVolumes()]),
    "not to be inspected": (dataclasses.replace(ASKED, inspect=False), see(origin=UNSEEN), []),
    "the expected digest": (ask(sha256="a1"), NOTHING, [IMPORT, InspectVolumes()]),
    "full pool, nothing to do": (ASKED, see(free_bytes=0), []),
}


@pytest.mark.parametrize("case", PLANNED)
def test_plan(case):
    asked, seen, steps = PLANNED[case]
    assert plan_master(asked, seen) == steps
    assert all(step.describe() for step in steps)


def test_a_plan_shows_no_secret_of_a_url():
    assert "hunter2" not in FETCH.describe()
    asked, seen, _steps = PLANNED["from the web, unseen"]
    assert report_master(asked, seen)["source"] == {
        "path": "https://example.com/web.ova",
        "sha256": "a1",
        "format": "ova",
        "disk": 2,
    }


BACKED = changed_source(header=ImageHeader("qcow2", GIB, backing_file="/etc/passwd"))
REFUSED = {
    "too large for its pool": (
        SMALL,
        NOTHING,
        InvalidRequest,
        "it takes 524288000 bytes (500.0 MiB), at most 500.0 MiB",
    ),
    "too large for guests": (
        dataclasses.replace(SMALL, limits=ImportLimits(GIB, GIB)),
        NOTHING,
        InvalidRequest,
        "its disk has 3221225472 bytes (3.0 GiB), at most 1.0 GiB are allowed",
    ),
    "the web has something else by now": (
        ask(source=URL, format="ova", sha256="a2"),
        see(source=dataclasses.replace(OF_WEB, sha256="a2")),
        InvalidRequest,
        "than https://example.com/web.ova holds now",
    ),
    "another disk of the package": (
        ask(disk=2),
        see(),
        InvalidRequest,
        "it was made of disk 1 of its package, not of disk 2",
    ),
    "no source": (
        ASKED,
        see(published=None, source=None, origin=None),
        NotFound,
        "its source /srv/web.raw is not there",
    ),
    "no source given": (
        ask(source=""),
        see(published=None, source=None, origin=None),
        NotFound,
        "its source (none given) is not there",
    ),
    "another format": (
        ASKED,
        see(published=None, source=BACKED, origin=None),
        InvalidRequest,
        "it was declared as raw, but its header is that of qcow2",
    ),
    "a backing file": (
        ask(format="qcow2"),
        see(published=None, source=BACKED, origin=None),
        InvalidRequest,
        "it needs the backing file /etc/passwd",
    ),
    "another digest than expected": (
        ask(sha256="a2"),
        NOTHING,
        InvalidRequest,
        "has the SHA-256 a1, a2 was expected",
    ),
    "another digest than expected, published": (
        ask(sha256="a2"),
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
    assert plan_master(ASKED, forget_broken_import(ASKED, replaced))[0] == ImportVolumes(
        (dataclasses.replace(ONE, sha256="a2"),)
    )
    for asked, seen in [(REGISTERED, replaced), (ASKED, see(published=None)), (ASKED, NOTHING), (ASKED, see())]:
        assert forget_broken_import(asked, seen) == seen


def test_the_record():
    file = {
        "digest": "d1",
        "path": "/pool/masters/d1.qcow2",
        "fingerprint": "f1",
        "format": "qcow2",
        "virtual_bytes": 3 * GIB,
        "allocated_bytes": 500 * MIB,
        "source": {"path": "/srv/web.raw", "sha256": "a1", "format": "raw"},
    }
    assert report_master(ASKED, see()) == {
        **file,
        "volumes": [{"name": "root", **file}],
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
    assert report_master(ask(digest="d9"), see())["software"] is None


REMOVED = {
    "never there": (ASKED, see(published=None, source=None, origin=None), []),
    "there": (ASKED, see(), [RemoveMaster(("d1",))]),
    "registered, origin lost": (REGISTERED, see(origin=None), [RemoveMaster(("d1",))]),
    "file gone": (ASKED, see(published=None), [RemoveMaster(("d1",))]),
    "another master has the same bytes": (
        ASKED,
        see(shared=("d1",), clones=("api-v1-1",)),
        [RemoveMaster((), kept=("d1",))],
    ),
    "another master has the same bytes, origin lost": (REGISTERED, see(origin=None, shared=("d1",)), []),
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


# Several volumes

SRV = MasterVolume("srv", "/srv/data.raw", "raw")
TWO = MasterRequest("web-v1", POOL, (VOLUME, SRV))
TWO_REGISTERED = MasterRequest(
    "web-v1",
    POOL,
    (
        dataclasses.replace(VOLUME, digest="d1", fingerprint="f1"),
        dataclasses.replace(SRV, digest="d2", fingerprint="f2"),
    ),
)
SRV_SOURCE = SourceSeen(FileSeen("/srv/data.raw", "s2", GIB, 100 * MIB), ImageHeader("raw", GIB), "a2")
SRV_PUBLISHED = PublishedSeen(FileSeen(POOL.master_file("d2"), "f2", 101 * MIB, 100 * MIB), GIB)
TWO_MADE = Origin((MADE, VolumeOrigin("d2", "f2", "/srv/data.raw", "raw", "a2", "s2", "srv")), TOLD)
KILLED = dataclasses.replace(TWO_MADE, complete=False, inspection=None)
SRV_IMPORT = VolumeImport("srv", SRV_SOURCE.file, "raw", "a2", expected_digest="")
BOTH = ImportVolumes((ONE, SRV_IMPORT))


def see_two(*published, origin=TWO_MADE, sources=(SOURCE, SRV_SOURCE), **changes):
    """Return what is seen of a master of two volumes."""
    volumes = tuple(MasterVolumeSeen(file, source) for file, source in zip(published, sources))
    return dataclasses.replace(NOTHING, volumes=volumes, origin=origin, **changes)


TWO_PLANNED = {
    "new": (TWO, see_two(None, None, origin=None), [BOTH, InspectVolumes()]),
    "published": (TWO, see_two(PUBLISHED, SRV_PUBLISHED), []),
    "registered, sources gone": (TWO_REGISTERED, see_two(PUBLISHED, SRV_PUBLISHED, sources=(None, None)), []),
    "registered, one file gone": (
        TWO_REGISTERED,
        see_two(PUBLISHED, None),
        [ImportVolumes((dataclasses.replace(SRV_IMPORT, expected_digest="d2"),)), InspectVolumes()],
    ),
    "one file gone": (
        TWO,
        see_two(None, SRV_PUBLISHED),
        [ImportVolumes((dataclasses.replace(ONE, expected_digest="d1"),)), InspectVolumes()],
    ),
    "killed between the names": (
        TWO,
        see_two(PUBLISHED, None, origin=KILLED),
        [RemoveLeftovers((POOL.master_file("d1"),)), BOTH, InspectVolumes()],
    ),
    "killed between the names, one is another master's too": (
        TWO,
        see_two(PUBLISHED, None, origin=KILLED, shared=("d1",)),
        [BOTH, InspectVolumes()],
    ),
    "killed after the last name": (TWO, see_two(PUBLISHED, SRV_PUBLISHED, origin=KILLED), [InspectVolumes()]),
}


@pytest.mark.parametrize("case", TWO_PLANNED)
def test_the_plan_for_two(case):
    asked, seen, steps = TWO_PLANNED[case]
    assert plan_master(asked, forget_broken_import(asked, seen)) == steps


def test_an_overtaken_import_of_two_is_forgotten():
    changed = dataclasses.replace(SRV_SOURCE, sha256="a3")
    seen = forget_broken_import(TWO, see_two(PUBLISHED, None, origin=KILLED, sources=(SOURCE, changed)))
    assert (seen.origin, seen.leftovers) == (None, (POOL.master_file("d1"),))


def test_a_version_keeps_its_number_of_volumes():
    with pytest.raises(InvalidRequest, match="it was made of 1 volumes, and 2 are given"):
        plan_master(TWO, forget_broken_import(TWO, see_two(PUBLISHED, None, origin=ORIGIN)))
    with pytest.raises(InvalidRequest, match="it was made of 2 volumes, and 1 are given"):
        plan_master(ASKED, see(origin=TWO_MADE))


@pytest.mark.parametrize(
    ("seen", "error", "words"),
    [
        (
            see_two(PUBLISHED, dataclasses.replace(SRV_PUBLISHED, digest="d9")),
            *(MasterChanged, "masters/d2.qcow2 holds d9"),
        ),
        (
            see_two(PUBLISHED, SRV_PUBLISHED, sources=(SOURCE, dataclasses.replace(SRV_SOURCE, sha256="a9"))),
            *(InvalidRequest, r"other bytes \(SHA-256 a2\) than /srv/data.raw holds now"),
        ),
        (see_two(None, None, origin=None, sources=(SOURCE, None)), NotFound, "/srv/data.raw is not there"),
        (see_two(None, None, origin=None, free_bytes=599 * MIB), NoSpace, "600.0 MiB"),
    ],
)
def test_each_volume_is_checked(seen, error, words):
    with pytest.raises(error) as refusal:
        plan_master(TWO, seen)
    assert re.search(words, refusal.value.problem)


def test_the_record_of_two():
    record = report_master(TWO, see_two(PUBLISHED, SRV_PUBLISHED))
    assert [(volume["name"], volume["digest"]) for volume in record["volumes"]] == [("root", "d1"), ("srv", "d2")]
    assert record["volumes"][1]["source"] == {"path": "/srv/data.raw", "sha256": "a2", "format": "raw"}
    assert (record["digest"], record["software"]) == ("d1", {"distro": "debian"})
    assert report_master(TWO, see_two(PUBLISHED, None))["software"] is None


@pytest.mark.parametrize("asked", [ASKED, TWO_REGISTERED], ids=["by its name alone", "registered"])
def test_removal_of_two(asked):
    seen = see_two(PUBLISHED, SRV_PUBLISHED)
    assert plan_master_removal(asked, seen) == [RemoveMaster(("d1", "d2"))]
    shared = dataclasses.replace(seen, shared=("d1",), clones=())
    assert plan_master_removal(asked, shared) == [RemoveMaster(("d2",), kept=("d1",))]
    with pytest.raises(TransitionRefused):
        plan_master_removal(asked, dataclasses.replace(shared, clones=("a",)))


def test_origins_are_stored_and_read():
    assert Origin.from_json(TWO_MADE.to_json()) == TWO_MADE
    assert Origin.from_json(KILLED.to_json()) == KILLED
    # As version 0.1.0 wrote them.
    fields = {"digest": "d1", "published_fingerprint": "f1", "path": "/srv/web.raw", "format": "raw"}
    assert Origin.from_json({**fields, "sha256": "a1", "fingerprint": "s1", "inspection": TOLD}) == ORIGIN

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture as plans: what is done, refused, taken back, cleaned, and found."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.capture_undo import (
    KEPT,
    TAKEN_BACK,
    digest_state,
    plan_undo,
)
from ansible_collections.encompass.images.plugins.module_utils._core.capturing import (
    CaptureRequest,
    CaptureSeen,
    FlattenVolume,
    PublishCopy,
    SealCopy,
    limit_copying_s,
    plan_capture,
    presume_capture,
    report_capture,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization import (
    CloneRequest,
    Entry,
    IdentityEntry,
    Journal,
    Mount,
    Volume,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, NoSpace, NotFound
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, NOTHING, FileState
from ansible_collections.encompass.images.plugins.module_utils._core.identity import Identity
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import (
    MasterRequest,
    MasterVolume,
    Origin,
    PublishedSeen,
    VolumeOrigin,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    FileSeen,
    Pool,
    RemoveLeftovers,
)
from ansible_collections.encompass.images.plugins.module_utils._core.sealing import plan_logs
from ansible_collections.encompass.images.plugins.module_utils._core.secret_search import (
    MOST_BYTES,
    count_password_hashes,
    describe_secrets,
    find_secrets,
    is_worth_reading,
)

PATH = "/pool/clones/c/root.qcow2"
SECOND = "/pool/clones/c/srv.qcow2"
DISKS = (Volume("root", PATH, "qcow2"), Volume("srv", SECOND, "qcow2"))
CLONE = CloneRequest("c", False, "/pool/clones/c", DISKS, (Mount("sda1", "/", "ext4"),), batchable=True)
MASTER = MasterRequest("web-v2", Pool("/pool"), (MasterVolume("root"), MasterVolume("srv")))
REQUEST = CaptureRequest("c", CLONE, MASTER, "attached")
FILES = (FileSeen(PATH, "1:2:3", 10, 10), FileSeen(SECOND, "1:2:4", 10, 10))
SEEN = CaptureSeen(FILES, in_use="", needed_bytes=(100, 50), free_bytes=1000)
DIGESTS = {"root": "d" * 64, "srv": "e" * 64}
ORIGIN = Origin(
    tuple(VolumeOrigin(digest, "1:2:3", "clone c", "qcow2", digest, "", name) for name, digest in DIGESTS.items()),
    {"captured": {"secrets": []}},
)
PUBLISHED = tuple(
    PublishedSeen(FileSeen(f"/pool/masters/{digest}.qcow2", "1:2:3", 10, 10), 100) for digest in DIGESTS.values()
)
ALL = (
    FlattenVolume("root", PATH, "qcow2", 100),
    FlattenVolume("srv", SECOND, "qcow2", 50),
    SealCopy(),
    PublishCopy("web-v2", ("root", "srv")),
)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, ALL),
        ({"leftovers": ("/pool/.staging/x",)}, (RemoveLeftovers(("/pool/.staging/x",)), *ALL)),
        # Written down, but killed before the file had its name.
        ({"origin": ORIGIN}, ALL),
        ({"origin": ORIGIN, "published": PUBLISHED}, ()),
        # Once it is published nothing is asked of the clone any more.
        ({"origin": ORIGIN, "published": PUBLISHED, "volumes": (), "in_use": PATH, "free_bytes": 0}, ()),
        (
            {"origin": ORIGIN, "published": PUBLISHED, "leftovers": ("/pool/.staging/x",)},
            (RemoveLeftovers(("/pool/.staging/x",)),),
        ),
    ],
)
def test_the_plan(changes: dict[str, t.Any], steps: tuple[t.Any, ...]) -> None:
    assert tuple(plan_capture(REQUEST, dataclasses.replace(SEEN, **changes))) == steps


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"volumes": (None, FILES[1])}, NotFound, "root.qcow2 is not there"),
        ({"volumes": (FILES[0], None)}, NotFound, "srv.qcow2 is not there"),
        ({"in_use": SECOND}, Conflict, "srv.qcow2 is in use, by a running guest"),
        ({"free_bytes": 149}, NoSpace, "has 149 bytes free .* 150 bytes"),
    ],
)
def test_what_is_refused(changes: dict[str, t.Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plan_capture(REQUEST, dataclasses.replace(SEEN, **changes))


def test_a_stop_that_was_only_planned_counts_in_check_mode() -> None:
    running = dataclasses.replace(SEEN, in_use=PATH)
    assert not presume_capture(REQUEST, running).in_use
    assert presume_capture(dataclasses.replace(REQUEST, stage=""), running).in_use


def test_the_report_tells_of_the_published_file_only() -> None:
    done = report_capture(REQUEST, dataclasses.replace(SEEN, origin=ORIGIN, published=PUBLISHED))
    assert (done["digest"], done["captured"], done["master"]) == ("d" * 64, {"secrets": []}, "web-v2")
    assert {volume["name"]: volume["digest"] for volume in done["volumes"]} == DIGESTS
    begun = report_capture(REQUEST, dataclasses.replace(SEEN, origin=ORIGIN))
    assert (begun["digest"], begun["captured"]) == (None, None)
    assert [(volume["name"], volume["digest"]) for volume in begun["volumes"]] == [("root", None), ("srv", None)]


def test_copying_may_take_as_long_as_the_size_warrants() -> None:
    assert limit_copying_s(0) >= 60
    assert limit_copying_s(1 << 40) - limit_copying_s(0) == (1 << 40) / (8 << 20)


def make_file(content: bytes, **fields: t.Any) -> FileState:
    return FileState(kind=FILE, content=content, **{"mode": 0o644, "mtime_ns": 5, "xattrs": (), **fields})


OLD, MADE, HAND = make_file(b"old"), make_file(b"made", mtime_ns=9), make_file(b"by hand")
JOURNAL = Journal(
    identity=IdentityEntry(Identity(), "applied", ("/etc/hostname", "/etc/hosts", "/etc/machine-id")),
    entries=(Entry("page", "1", "applied", ("/p",)), Entry("token", "2", "applied", ("/t",), secret=True)),
)


@pytest.mark.parametrize(
    ("path", "states", "wanted", "by_hand"),  # states: the original, what is found, what was written
    [
        ("/p", (OLD, MADE, MADE), OLD, None),
        ("/p", (NOTHING, MADE, MADE), NOTHING, None),
        ("/p", (OLD, HAND, MADE), None, KEPT),
        ("/p", (OLD, NOTHING, MADE), None, KEPT),
        ("/p", (NOTHING, NOTHING, MADE), None, None),
        ("/p", (OLD, OLD, MADE), None, None),
        ("/p", (OLD, make_file(b"made", mode=0o600), MADE), None, KEPT),
        # A journal of old tells not what was written: nothing is thrown away on a guess.
        ("/p", (OLD, MADE, None), None, KEPT),
        ("/t", (OLD, MADE, MADE), OLD, None),
        ("/t", (OLD, HAND, MADE), OLD, TAKEN_BACK),
        ("/etc/hostname", (OLD, HAND, MADE), OLD, None),
        ("/etc/hosts", (OLD, MADE, MADE), OLD, None),
        ("/etc/machine-id", (OLD, MADE, MADE), None, None),
    ],
)
def test_what_is_taken_back(
    path: str, states: tuple[FileState, FileState, FileState | None], wanted: FileState | None, by_hand: str | None
) -> None:
    original, found, written = states
    digests = {path: digest_state(written)} if written else {}
    writes, changes = plan_undo(JOURNAL, {path: original}, {path: found}, digests)
    assert writes == ({} if wanted is None else {path: wanted})
    assert [change.became for change in changes] == ([by_hand] if by_hand else [])


def test_hosts_changed_by_hand_keep_all_but_the_name() -> None:
    name, hosts = make_file(b"master\n"), make_file(b"127.0.0.1 localhost\n")
    edited = make_file(b"127.0.0.1 localhost\n127.0.1.1 web-1\n10.0.0.1 database\n")
    originals = {"/etc/hostname": name, "/etc/hosts": hosts}
    writes, _changes = plan_undo(JOURNAL, originals, {"/etc/hostname": name, "/etc/hosts": edited}, {})
    assert writes["/etc/hosts"].content == b"127.0.0.1 localhost\n127.0.1.1\tmaster\n10.0.0.1 database\n"


def test_logs_are_emptied_and_old_ones_go() -> None:
    sizes = {
        "/var/log/syslog": 5,
        "/var/log/syslog.1": 5,
        "/var/log/a/b.gz": 1,
        "/var/log/x-20260101": 1,
        "/var/log/e": 0,
    }
    assert plan_logs(sizes) == (["/var/log/a/b.gz", "/var/log/syslog.1", "/var/log/x-20260101"], ["/var/log/syslog"])


KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"


@pytest.mark.parametrize(
    ("path", "content", "kinds"),
    [
        ("/root/.ssh/id_ed25519", KEY, ["private key"]),
        ("/etc/ssl/private/a.pem", b"-----BEGIN CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----", ["private key"]),
        ("/etc/ssl/a.pem", b"-----BEGIN CERTIFICATE-----", []),
        ("/home/a/.netrc", b"machine x login y password z", ["password for a host (netrc)"]),
        ("/home/a/.netrc", b"\n", []),
        ("/root/.aws/credentials", b"[default]\naws_secret_access_key = x", ["credentials for AWS"]),
        ("/root/.git-credentials", b"https://a:b@c", ["password for git"]),
        ("/root/deep/.bash_history", b"mysql --password=hush", ["password in a shell's history"]),
        ("/root/deep/.bash_history", b"ls", []),
        ("/etc/app.conf", b"password=hush", []),
        ("/etc/env", b"TOKEN=ghp_" + b"a" * 36, ["token for GitHub"]),
        (
            "/root/.docker/config.json",
            b'{"auths": {"r": {"auth": "YTpiYTpi"}}}',
            ["credentials for a container registry"],
        ),
    ],
)
def test_secrets_are_known_by_kind(path: str, content: bytes, kinds: list[str]) -> None:
    assert find_secrets(path, content) == kinds


def test_secrets_are_named_by_path_and_kind() -> None:
    found = [{"path": f"/{number}", "kind": "key"} for number in range(7)]
    assert describe_secrets(found[:2]) == "/0 (key), /1 (key)"
    assert describe_secrets(found) == "/0 (key), /1 (key), /2 (key), /3 (key), /4 (key) and 2 more"


def test_password_hashes_are_counted() -> None:
    shadow = b"root:$y$j9T$abcdefgh$x:1\ndaemon:*:1\na:!:1\nb:!$6$locked:1\nc::1\nbroken\nd:$6$salt$hashhashhash:1\n"
    assert count_password_hashes(shadow) == 2


def test_large_and_empty_files_are_not_read() -> None:
    assert [is_worth_reading(size) for size in (0, 1, MOST_BYTES, MOST_BYTES + 1)] == [False, True, True, False]

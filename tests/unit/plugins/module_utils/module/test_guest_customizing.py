# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clone's customization: order, resumption after a kill at any point, and taking back; on a guest in memory."""

from __future__ import annotations

import copy
import dataclasses
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.customization import (
    BEGUN,
    CloneRequest,
    Mount,
    Seen,
    Volume,
    plan_customization,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization_items import Item
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    InvalidRequest,
    NotFound,
    ToolFailed,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, LINK, FileState
from ansible_collections.encompass.images.plugins.module_utils._core.kernel_items import KernelSettings
from ansible_collections.encompass.images.plugins.module_utils._drivers.undo import UndoStore
from ansible_collections.encompass.images.plugins.module_utils._module.guest_customizing import GuestCustomizing
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.ssh_key_pairs import make_pair
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.module.memory_guest import Killed, MemoryGuest

ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
MASTER_KEY = make_pair(200)
CONTENTS: dict[str, bytes | None] = {
    "/etc/hostname": b"master\n",
    "/etc/hosts": b"127.0.0.1 localhost\n",
    "/etc/machine-id": b"1" * 32 + b"\n",
    "/etc/app.conf": b"port=1\nport2=1\n",
    "/etc/ssh/sshd_config": b"",
    "/etc/ssh/ssh_host_ed25519_key": MASTER_KEY.private,
    "/etc/ssh/ssh_host_ed25519_key.pub": MASTER_KEY.public,
    "/var/lib/systemd/random-seed": b"old",
    "/var/lib/dhcp/dhclient.leases": b"lease {}\n",
    "/etc/init.d": None,
    "/etc/real/target.conf": b"t\n",
    "/srv/data/one": b"1",
    "/srv/data/deep/two": b"2",
}
LINKS = {"/etc/link.conf": "real/target.conf", "/etc/dangling.conf": "../run/nothing"}
ITEMS = (
    Item("greeting", "file", "1", "/etc/motd", "hello\n", mode=0o600),
    Item("port", "regexp", "2", "/etc/app.conf", pattern="^port=(.*)$", replacement=r"port=\g<1>0"),
    Item("port2", "regexp", "3", "/etc/app.conf", pattern="0$", replacement="00"),
    Item("setup", "firstboot", "4", content="echo hello\n"),
    Item("linked", "file", "5", "/etc/link.conf", "linked\n"),
    Item("dangling", "file", "6", "/etc/dangling.conf", "now there\n"),
    Item("no data", "delete", "7", "/srv/data", recursive=True),
    Item("data", "link", "8", "/srv/data", target="../etc/real"),
    Item("through", "file", "9", "/srv/data/more.conf", "more\n"),
    Item("private", "mode", "10", "/etc/real", mode=0o600, recursive=True),
)


class Clone:
    """A clone: its guest in memory, its undo directory on the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.guest = MemoryGuest.make(CONTENTS, LINKS)
        self.untouched = copy.deepcopy(self.guest.files)
        self.keys = 0
        self.changes: tuple[dict, dict] = ({}, {})
        directory.mkdir()

    @property
    def store(self) -> UndoStore:
        return UndoStore(str(self.directory), "clone c")

    def request(self, items: t.Sequence[Item] = ITEMS, **fields) -> CloneRequest:
        complete = {
            "name": "c",
            "present": True,
            "directory": str(self.directory),
            "volumes": (Volume("root", f"{self.directory}/root.qcow2", "qcow2"),),
            "mounts": (Mount("sda1", "/", "ext4"),),
            "hostname": "web-1",
            "machine_id": ID,
            "items": tuple(items),
            **fields,
        }
        return CloneRequest(**complete)

    def plan(self, request: CloneRequest) -> list:
        return plan_customization(request, Seen(self.store.load().journal))

    def customize(self, items: t.Sequence[Item] = ITEMS, *, dies_at: str = "", **fields) -> list[str]:
        """Run once; the steps in words. It may die before the named part."""
        request = self.request(items, **fields)
        steps = self.plan(request)
        if not steps:
            return []
        work = GuestCustomizing(request, steps, self.store, self.make_key)
        for part in (lambda: work.write(self.guest), lambda: work.verify(self.guest), work.finish):
            part()
            if dies_at == "finish" and part is not work.finish:
                raise Killed
        self.changes = work.describe_changes()
        assert self.plan(request) == []
        return [step.describe() for step in steps]

    def take_back(self) -> None:
        self.customize((), present=False)

    def make_key(self, _kind: str):
        self.keys += 1
        return make_pair(self.keys)

    def content(self, path: str) -> bytes:
        return self.guest.files[path].content


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "c")


def test_items_and_identity_are_written(clone: Clone) -> None:
    clone.customize()
    assert clone.content("/etc/hostname") == b"web-1\n"
    assert clone.content("/etc/machine-id") == f"{ID}\n".encode()
    assert clone.content("/etc/app.conf") == b"port=100\nport2=1\n"
    assert clone.content("/etc/motd") == b"hello\n"
    assert clone.guest.files["/etc/motd"].mode == 0o600
    assert clone.content("/etc/ssh/ssh_host_ed25519_key") == make_pair(1).private
    assert len(clone.content("/var/lib/systemd/random-seed")) == 512
    assert "/var/lib/dhcp/dhclient.leases" not in clone.guest.files
    assert clone.content("/etc/encompass/firstboot/0000-setup.sh") == b"#!/bin/sh\necho hello\n"
    assert clone.content("/etc/rc.local").endswith(b"/etc/encompass/firstboot/run\n")
    assert clone.content("/etc/real/target.conf") == b"linked\n"
    assert clone.guest.files["/etc/link.conf"].kind == LINK
    assert clone.guest.files["/etc/dangling.conf"].content == b"now there\n"
    assert clone.guest.files["/srv/data"] == FileState(kind=LINK, target="../etc/real")
    assert clone.content("/etc/real/more.conf") == b"more\n"
    modes = [clone.guest.files[path].mode for path in ("/etc/real", "/etc/real/target.conf", "/etc/real/more.conf")]
    assert modes == [0o700, 0o600, 0o600]
    assert "/srv/data/one" not in clone.guest.files


def test_the_journal_tells_what_was_done_and_keeps_only_what_the_master_had(clone: Clone) -> None:
    clone.customize()
    journal = clone.store.load().journal
    assert journal.pointer == len(ITEMS)
    assert journal.identity is not None
    assert journal.identity.identity.host_keys == {"ed25519": make_pair(1).fingerprint}
    assert [entry.starter for entry in journal.entries] == [None, None, None, "rc.local", *[None] * 6]
    kept = [path.read_bytes() for path in (clone.directory / "undo").iterdir() if path.name != "journal.json"]
    assert sorted(kept) == sorted(
        CONTENTS[path]
        for path in (
            "/etc/hostname",
            "/etc/hosts",
            "/etc/machine-id",
            "/etc/app.conf",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/var/lib/systemd/random-seed",
            "/var/lib/dhcp/dhclient.leases",
            "/etc/real/target.conf",
            "/srv/data/one",
            "/srv/data/deep/two",
        )
    )
    assert (clone.directory / "undo").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (clone.directory / "undo").iterdir())


def test_taking_back_leaves_nothing(clone: Clone) -> None:
    clone.customize()
    clone.take_back()
    assert clone.guest.files == clone.untouched
    assert not (clone.directory / "undo").exists()
    assert clone.customize((), present=False) == []


def test_a_second_run_does_nothing(clone: Clone) -> None:
    clone.customize()
    clone.guest.writes.clear()
    assert clone.customize() == []
    assert clone.guest.writes == []


def count_writes(directory: Path) -> int:
    clone = Clone(directory)
    clone.customize()
    return len(clone.guest.writes)


@pytest.mark.parametrize("everything_lost", [False, True], ids=["kept", "lost"])
def test_a_run_killed_at_any_write_is_finished_by_the_next(tmp_path: Path, everything_lost: bool) -> None:
    """What a killed guest had not flushed may be lost, though the journal tells of it."""
    whole = Clone(tmp_path / "whole")
    whole.customize()
    for survived in range(count_writes(tmp_path / "counted") + 1):
        clone = Clone(tmp_path / f"c{survived}{everything_lost}")
        clone.guest.writes_left = survived
        with pytest.raises(Killed):
            clone.customize(dies_at="finish")
        clone.guest.writes_left = None
        if everything_lost:
            clone.guest.files = copy.deepcopy(clone.untouched)
        assert clone.store.load().journal.pointer == 0
        assert all("again" in step or "interrupted" in step for step in clone.customize())
        for path, state in whole.guest.files.items():
            if "ssh_host" not in path and "random-seed" not in path:
                assert clone.guest.files[path] == state, path
        assert clone.keys <= 2
        clone.take_back()
        assert clone.guest.files == clone.untouched


def test_a_finished_write_keeps_its_key_and_seed_when_resumed(clone: Clone) -> None:
    with pytest.raises(Killed):
        clone.customize(dies_at="finish")
    seed = clone.content("/var/lib/systemd/random-seed")
    clone.customize()
    assert clone.keys == 1
    assert clone.content("/var/lib/systemd/random-seed") == seed


def test_taking_back_killed_at_any_write_is_finished_by_the_next(tmp_path: Path) -> None:
    whole = Clone(tmp_path / "whole")
    whole.customize()
    before = len(whole.guest.writes)
    whole.take_back()
    for survived in range(len(whole.guest.writes) - before):
        clone = Clone(tmp_path / f"c{survived}")
        clone.customize()
        clone.guest.writes_left = survived
        with pytest.raises(Killed):
            clone.take_back()
        clone.guest.writes_left = None
        if survived % 2:
            clone.take_back()
            assert clone.guest.files == clone.untouched
        else:  # somebody changed their mind: what is half taken back is not taken for applied
            assert clone.customize()
            assert clone.content("/etc/app.conf") == b"port=100\nport2=1\n"


def test_a_changed_item_is_done_anew_from_the_original(clone: Clone) -> None:
    clone.customize()
    changed = (
        ITEMS[0],
        Item("port", "regexp", "2b", "/etc/app.conf", pattern="^port=", replacement="door="),
        *ITEMS[3:],
    )
    clone.guest.writes.clear()
    clone.customize(changed)
    assert clone.content("/etc/app.conf") == b"door=1\nport2=1\n"
    assert "/etc/motd" not in clone.guest.writes
    assert "/etc/ssh/ssh_host_ed25519_key" not in clone.guest.writes
    clone.take_back()
    assert clone.guest.files == clone.untouched


def test_an_item_taken_off_the_list_is_taken_back_alone(clone: Clone) -> None:
    clone.customize()
    clone.customize(ITEMS[:2])
    assert clone.content("/etc/app.conf") == b"port=10\nport2=1\n"
    assert clone.content("/etc/real/target.conf") == b"t\n"
    assert "/etc/encompass" not in clone.guest.files
    assert "/etc/rc.local" not in clone.guest.files
    assert clone.guest.files["/etc/dangling.conf"].kind == LINK


def test_a_changed_name_keeps_the_keys(clone: Clone) -> None:
    clone.customize()
    steps = clone.customize(hostname="web-2")
    assert len(steps) == 1
    assert clone.keys == 1
    assert clone.content("/etc/hosts") == b"127.0.0.1 localhost\n127.0.1.1\tweb-2\n"
    clone.take_back()
    assert clone.guest.files == clone.untouched


def test_items_build_on_the_identity(clone: Clone) -> None:
    item = Item("hosts", "regexp", "1", "/etc/hosts", pattern="web-1", replacement="web-1 www")
    clone.customize((item,))
    assert clone.content("/etc/hosts") == b"127.0.0.1 localhost\n127.0.1.1\tweb-1 www\n"
    clone.customize((item, ITEMS[0]))
    clone.customize(())
    assert clone.content("/etc/hosts") == b"127.0.0.1 localhost\n127.0.1.1\tweb-1\n"


def test_what_the_owner_changed_since_stays_when_other_files_are_customized(clone: Clone) -> None:
    clone.customize(ITEMS[:1])
    clone.guest.files["/etc/motd"] = FileState(kind=FILE, content=b"mine\n", mode=0o644)
    clone.customize(ITEMS[:2])
    assert clone.content("/etc/motd") == b"mine\n"


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (Item("bad", "regexp", "1", "/etc/app.conf", pattern="^nothing", replacement=""), InvalidRequest),
        (Item("bad", "regexp", "1", "/etc/none.conf", pattern="x", replacement=""), InvalidRequest),
        (Item("bad", "file", "1", "/nowhere/f", "x"), NotFound),
        (Item("bad", "file", "1", "/etc/ssh", "x"), Unsupported),
    ],
)
def test_a_clone_whose_items_cannot_all_be_applied_is_not_touched(clone: Clone, item: Item, error: type) -> None:
    with pytest.raises(error, match=r"clone c.*"):
        clone.customize((*ITEMS, item))
    assert clone.guest.files == clone.untouched
    assert not (clone.directory / "undo").exists()


def test_what_is_not_required_is_left_out(clone: Clone) -> None:
    items = (
        Item("r", "regexp", "1", "/etc/app.conf", pattern="^nothing", required=False),
        Item("f", "file", "2", "/nowhere/f", "x", required=False),
        Item("n", "regexp", "3", "/etc/none.conf", pattern="x", required=False),
    )
    clone.customize(items)
    assert clone.content("/etc/app.conf") == CONTENTS["/etc/app.conf"]
    assert clone.store.load().journal.pointer == 3


def test_a_link_to_the_identity_is_refused(clone: Clone) -> None:
    clone.guest.files["/etc/alias"] = FileState(kind=LINK, target="machine-id")
    with pytest.raises(InvalidRequest, match="identity"):
        clone.customize((Item("bad", "file", "1", "/etc/alias", "x"),))


def test_an_identity_that_does_not_stick_is_an_error_and_stays_begun(clone: Clone) -> None:
    wanted = clone.request()
    work = GuestCustomizing(wanted, clone.plan(wanted), clone.store, clone.make_key)
    work.write(clone.guest)
    clone.guest.files["/etc/machine-id"] = FileState(kind=FILE, content=b"x")
    with pytest.raises(ToolFailed, match="machine_id"):
        work.verify(clone.guest)
    assert {entry.state for entry in clone.store.load().journal.entries} == {BEGUN}


def test_the_master_s_own_identity_is_refused(clone: Clone) -> None:
    with pytest.raises(ToolFailed, match="shares machine_id with its master"):
        clone.customize(machine_id="1" * 32)


def test_secrets_are_neither_kept_nor_shown(clone: Clone) -> None:
    secret = Item("secret", "file", "1", "/etc/app.conf", "password=hush\n", secret=True)
    clone.customize((secret, Item("port", "regexp", "2", "/etc/app.conf", pattern="password", replacement="pass")))
    assert clone.content("/etc/app.conf") == b"pass=hush\n"
    shown = str(clone.changes)
    clone.customize((Item("port", "file", "9", "/etc/app.conf", "x\n"),))
    shown += str(clone.changes)
    kept = b"".join(path.read_bytes() for path in (clone.directory / "undo").iterdir())
    assert b"hush" not in kept
    assert "hush" not in shown
    assert "PRIVATE" not in shown
    assert "web-1" in shown


def test_a_diff_shows_files_before_and_after(clone: Clone) -> None:
    clone.customize()
    before, after = clone.changes
    shown = {"mode": "0644", "owner": "1:2"}
    assert before["port"] == {"/etc/app.conf": {**shown, "content": ["port=1", "port2=1"]}}
    assert after["port"] == before["port2"] == {"/etc/app.conf": {**shown, "content": ["port=10", "port2=1"]}}
    assert after["port2"] == {"/etc/app.conf": {**shown, "content": ["port=100", "port2=1"]}}
    assert before["greeting"]["/etc/motd"] is None
    assert {item: files.keys() for item, files in before.items()} == {
        item: files.keys() for item, files in after.items()
    }
    clone.customize(ITEMS[1:])
    assert clone.changes[1] == {"(taken back)": {"/etc/motd": None}}
    clone.customize((Item("port", "regexp", "9", "/etc/app.conf", pattern="1", replacement="2"), *ITEMS[3:]))
    assert clone.changes[0]["port"] == after["port2"]


def test_what_frees_room_is_written_first(clone: Clone) -> None:
    clone.customize((Item("a-big", "file", "1", "/etc/z-big", "x" * 100), Item("b", "file", "2", "/etc/a", "x" * 50)))
    clone.guest.writes.clear()
    clone.customize((Item("c", "file", "3", "/etc/0-new", "x"), Item("b", "file", "4", "/etc/a", "x")))
    assert clone.guest.writes == ["/etc/z-big", "/etc/a", "/etc/0-new"]


MODULES = {
    "/boot/initrd.img-6.1": b"old",
    "/lib/modules/6.1/modules.dep": b"kernel/dummy.ko:\n",
    "/etc/initramfs-tools/modules": b"",
}
INITRD = Item("initrd", "kernel", "1", kernel=KernelSettings(initrd_modules=("dummy",)))


@pytest.fixture
def kernel_clone(clone: Clone) -> Clone:
    clone.guest = MemoryGuest.make({**CONTENTS, **MODULES}, LINKS)
    clone.untouched = copy.deepcopy(clone.guest.files)
    return clone


def test_an_initrd_is_made_by_the_guest_itself_once_its_list_is_written(kernel_clone: Clone) -> None:
    clone = kernel_clone
    clone.guest.output = "usr/lib/modules/6.1/kernel/dummy.ko\n"
    clone.customize((INITRD,))
    made = ["mkinitramfs", "-o", "/boot/initrd.img-6.1", "6.1"]
    assert clone.guest.commands == [made, ["lsinitramfs", "/boot/initrd.img-6.1"]]
    assert clone.content("/etc/initramfs-tools/modules") == b"dummy\n"
    clone.guest.files["/boot/initrd.img-6.1"] = FileState(kind=FILE, content=b"new", mode=0o644)
    clone.customize((INITRD, ITEMS[0]))
    clone.customize((INITRD, ITEMS[0]), hostname="web-2")
    assert clone.content("/boot/initrd.img-6.1") == b"new"
    assert len(clone.guest.commands) == 2
    clone.take_back()
    assert clone.guest.files == clone.untouched
    assert len(clone.guest.commands) == 2


def test_an_initrd_is_made_again_when_what_it_is_made_of_changes(kernel_clone: Clone) -> None:
    clone = kernel_clone
    clone.guest.output = "dummy.ko\n"
    settings = Item("settings", "file", "1", "/etc/initramfs-tools/extra", "a\n")
    clone.customize((settings, INITRD))
    steps = clone.customize((dataclasses.replace(settings, digest="2", content="b\n"), INITRD))
    assert steps[-1] == "apply item initrd (kernel)"
    assert len(clone.guest.commands) == 4
    clone.take_back()
    assert clone.guest.files == clone.untouched


def test_an_initrd_without_the_module_is_an_error_and_the_item_stays_begun(kernel_clone: Clone) -> None:
    with pytest.raises(ToolFailed, match="holds no module dummy"):
        kernel_clone.customize((INITRD,))
    assert [entry.state for entry in kernel_clone.store.load().journal.entries] == [BEGUN]
    kernel_clone.take_back()
    assert kernel_clone.guest.files == kernel_clone.untouched


def test_stages(clone: Clone) -> None:
    clone.customize(until="port")
    assert clone.content("/etc/app.conf") == b"port=10\nport2=1\n"
    assert clone.store.load().journal.pointer == 2
    part = copy.deepcopy(clone.guest.files)
    clone.customize()
    assert clone.store.load().journal.pointer == len(ITEMS)
    clone.customize(rollback_to="port")
    assert clone.guest.files == part
    assert clone.customize(until="port") == []


def test_a_rollback_killed_at_any_write_is_finished_by_the_next(tmp_path: Path) -> None:
    whole = Clone(tmp_path / "whole")
    whole.customize(until="greeting")
    part = copy.deepcopy(whole.guest.files)
    whole.customize()
    before = len(whole.guest.writes)
    whole.customize(rollback_to="greeting")
    for survived in range(len(whole.guest.writes) - before):
        clone = Clone(tmp_path / f"c{survived}")
        clone.customize()
        clone.guest.writes_left = survived
        with pytest.raises(Killed):
            clone.customize(rollback_to="greeting")
        clone.guest.writes_left = None
        clone.customize(rollback_to="greeting")
        own = [path for path in part if "ssh_host" in path or "random-seed" in path]
        assert {p: s for p, s in clone.guest.files.items() if p not in own} == {
            p: s for p, s in part.items() if p not in own
        }

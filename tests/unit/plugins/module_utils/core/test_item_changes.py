# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What items make of a guest: (files, items) -> files; on a guest in memory, through the draft."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.boot_loaders import Arguments
from ansible_collections.encompass.images.plugins.module_utils._core.customization_items import Item
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    InvalidRequest,
    NotFound,
    Unsupported,
)
from ansible_collections.encompass.images.plugins.module_utils._core.guest_draft import Draft
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import (
    ABSENT,
    DIRECTORY,
    FILE,
    LINK,
    NOTHING,
    OTHER,
    FileState,
)
from ansible_collections.encompass.images.plugins.module_utils._core.item_changes import (
    ItemPlan,
    Surroundings,
    plan_item,
)
from ansible_collections.encompass.images.plugins.module_utils._core.kernel_items import KernelSettings
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.module.memory_guest import MemoryGuest

UNIT = (
    b"[Unit]\nWants=x\n[Install]\nWantedBy=multi-user.target \\\n  graphical.target\n; WantedBy=no\nAlias=www.service\n"
)
SOCKET = b"[Install]\nWantedBy=sockets.target\nAlso=web.service\n"
INIT = b"#!/bin/sh\n# Default-Start: 2 3\n# Default-Stop: 0\n"
CONTENTS: dict[str, bytes | None] = {
    "/etc/app.conf": b"a=1\n",
    "/etc/hostname": b"master\n",
    "/etc/encompass.d": None,
    "/etc/init.d/old": INIT,
    "/etc/rc0.d": None,
    "/etc/rc2.d": None,
    "/etc/rc3.d": None,
    "/etc/systemd/system/multi-user.target.wants": None,
    "/etc/systemd/system/own.service": UNIT,
    "/srv/data/one": b"1",
    "/srv/data/deep/two": b"2",
    "/usr/lib/systemd/system/web.service": UNIT,
    "/usr/lib/systemd/system/web.socket": SOCKET,
    "/usr/lib/systemd/system/static.service": b"[Unit]\n",
    "/usr/lib/systemd/system/getty@.service": b"[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
    "/usr/lib/systemd/system/job@.service": b"[Install]\nRequiredBy=job-%i.target\n",
}
LINKS = {"/lib": "usr/lib", "/srv/data/link": "one", "/etc/app.link": "app.conf"}
OWN = "/etc/systemd/system"
SHIPPED = "/usr/lib/systemd/system"


class Guest:
    """A guest in memory with some files, and items applied to its draft."""

    def __init__(self, contents: t.Mapping[str, bytes | None], links: t.Mapping[str, str] | None = None) -> None:
        self.memory = MemoryGuest.make(dict(contents), dict(links or {}))
        self.draft = Draft(self.memory, {}, lambda _path: NOTHING)

    def apply(self, item_type: str, path: str = "", **fields: t.Any) -> ItemPlan:
        """Apply an item to the draft; return what it has changed."""
        around = Surroundings("c", ("/", "/srv"))
        item = Item("i", item_type, "1", path, **fields)
        plan = plan_item(item, self.draft, around)
        for place, change in plan.changes.items():
            self.draft.apply(around.name(item), place, change)
        return plan

    def links(self, plan: ItemPlan) -> dict[str, str]:
        """Return where the links that an item has made lead; empty for what it has removed."""
        looks = {path: self.draft.look(path) for path in plan.changes}
        return {path: target for path, (kind, target) in looks.items() if kind in (LINK, ABSENT)}


@pytest.fixture
def guest() -> Guest:
    return Guest(CONTENTS, LINKS)


class TestDelete:
    def test_a_file_and_a_link_but_not_what_it_leads_to(self, guest: Guest) -> None:
        assert list(guest.apply("delete", "/etc/app.link").changes) == ["/etc/app.link"]
        assert guest.draft.look("/etc/app.conf")[0] == FILE
        guest.apply("delete", "/etc/app.conf")
        assert guest.draft.look("/etc/app.conf") == (ABSENT, "")

    def test_a_tree_goes_deepest_first(self, guest: Guest) -> None:
        plan = guest.apply("delete", "/srv/data", recursive=True)
        assert list(plan.changes) == [
            "/srv/data/one",
            "/srv/data/link",
            "/srv/data/deep/two",
            "/srv/data/deep",
            "/srv/data",
        ]
        assert guest.draft.list_below("/srv") == []

    @pytest.mark.parametrize("path", ["/etc/nothing", "/nowhere/at/all"])
    def test_what_is_not_there_is_as_wanted(self, guest: Guest, path: str) -> None:
        assert guest.apply("delete", path) == ItemPlan()

    @pytest.mark.parametrize(
        ("path", "error", "words"),
        [
            ("/srv", Unsupported, "file system of its own"),
            ("/etc", InvalidRequest, "identity"),
        ],
    )
    def test_what_is_refused(self, guest: Guest, path: str, error: type, words: str) -> None:
        with pytest.raises(error, match=words):
            guest.apply("delete", path, recursive=True)

    def test_a_directory_is_deleted_on_demand_only(self, guest: Guest) -> None:
        with pytest.raises(InvalidRequest, match="recursive"):
            guest.apply("delete", "/srv/data")

    def test_a_tree_that_is_too_large_is_refused(self) -> None:
        guest = Guest({f"/opt/{number}": b"" for number in range(5001)})
        with pytest.raises(Unsupported, match="5001 files"):
            guest.apply("delete", "/opt", recursive=True)

    def test_a_device_cannot_be_put_back(self, guest: Guest) -> None:
        guest.memory.files["/srv/data/device"] = FileState(kind=OTHER)
        with pytest.raises(Unsupported, match="no file"):
            guest.apply("delete", "/srv/data", recursive=True)


class TestLink:
    def test_a_link_takes_the_place_of_a_file_and_of_another_link(self, guest: Guest) -> None:
        for path in ("/etc/app.conf", "/etc/app.link", "/etc/new"):
            assert guest.links(guest.apply("link", path, target="/x")) == {path: "/x"}

    def test_later_items_follow_it(self, guest: Guest) -> None:
        guest.apply("delete", "/srv/data", recursive=True)
        guest.apply("link", "/srv/data", target="../etc")
        assert list(guest.apply("file", "/srv/data/deep.conf", content="x").changes) == ["/etc/deep.conf"]

    def test_a_link_to_itself_leads_nowhere(self, guest: Guest) -> None:
        guest.apply("link", "/etc/loop", target="loop")
        with pytest.raises(NotFound):
            guest.apply("file", "/etc/loop/x", content="x")

    def test_a_directory_is_refused_unless_it_was_deleted(self, guest: Guest) -> None:
        with pytest.raises(Unsupported, match="is a directory"):
            guest.apply("link", "/srv/data", target="/x")


class TestMode:
    def test_only_what_is_given_changes(self, guest: Guest) -> None:
        before = guest.draft.read("/etc/app.conf")
        guest.apply("mode", "/etc/app.link", mode=0o600)
        after = guest.draft.read("/etc/app.conf")
        assert (after.mode, after.uid, after.gid, after.content) == (0o600, 1, 2, b"a=1\n")
        assert after.mtime_ns == before.mtime_ns
        guest.apply("mode", "/etc/app.conf", uid=7)
        assert (guest.draft.read("/etc/app.conf").mode, guest.draft.read("/etc/app.conf").uid) == (0o600, 7)

    def test_a_tree_whose_directories_can_be_entered(self, guest: Guest) -> None:
        guest.apply("mode", "/srv/data", mode=0o640, gid=33, recursive=True)
        modes = {path: guest.draft.read(path).mode for path in ("/srv/data", "/srv/data/deep", "/srv/data/deep/two")}
        assert modes == {"/srv/data": 0o750, "/srv/data/deep": 0o750, "/srv/data/deep/two": 0o640}
        assert guest.draft.read("/srv/data/link") == FileState(kind=LINK, target="one", gid=33)

    def test_a_directory_alone_has_what_is_given(self, guest: Guest) -> None:
        assert list(guest.apply("mode", "/srv/data", mode=0o1777).changes) == ["/srv/data"]
        assert guest.draft.read("/srv/data").mode == 0o1777

    def test_nothing_there_is_an_error_if_required(self, guest: Guest) -> None:
        with pytest.raises(NotFound):
            guest.apply("mode", "/etc/none", mode=0o600)
        assert guest.apply("mode", "/etc/none", mode=0o600, required=False) == ItemPlan()

    def test_the_identity_is_refused(self, guest: Guest) -> None:
        with pytest.raises(InvalidRequest, match="identity"):
            guest.apply("mode", "/etc/hostname", mode=0o600)


class TestService:
    def test_enabled_as_systemctl_would(self, guest: Guest) -> None:
        plan = guest.apply("service", service="web", state="enabled")
        target = f"{SHIPPED}/web.service"
        assert guest.links(plan) == {
            f"{OWN}/multi-user.target.wants/web.service": target,
            f"{OWN}/graphical.target.wants/web.service": target,
            f"{OWN}/www.service": target,
        }
        assert guest.draft.look(f"{OWN}/graphical.target.wants")[0] == DIRECTORY

    def test_disabled_again(self, guest: Guest) -> None:
        made = guest.links(guest.apply("service", service="web", state="enabled"))
        assert guest.links(guest.apply("service", service="web", state="disabled")) == dict.fromkeys(made, "")
        assert guest.apply("service", service="web", state="disabled").changes == {}

    def test_companions_go_together(self, guest: Guest) -> None:
        made = guest.links(guest.apply("service", service="web.socket", state="enabled"))
        assert {path.rpartition("/")[2] for path in made} == {"web.socket", "web.service", "www.service"}
        assert guest.links(guest.apply("service", service="web.socket", state="disabled")).keys() == made.keys()

    def test_masked_and_unmasked(self, guest: Guest) -> None:
        assert guest.links(guest.apply("service", service="web", state="masked")) == {f"{OWN}/web.service": "/dev/null"}
        assert f"{OWN}/web.service" in guest.apply("service", service="web", state="enabled").changes
        assert guest.draft.look(f"{OWN}/web.service") == (ABSENT, "")

    def test_a_unit_that_an_item_has_made(self, guest: Guest) -> None:
        guest.apply("file", f"{OWN}/new.service", content=UNIT.decode())
        made = guest.links(guest.apply("service", service="new", state="enabled"))
        assert made[f"{OWN}/multi-user.target.wants/new.service"] == f"{OWN}/new.service"

    @pytest.mark.parametrize(
        ("service", "path", "unit"),
        [
            ("getty@ttyS0", "getty.target.wants/getty@ttyS0.service", "getty@.service"),
            ("getty@", "getty.target.wants/getty@tty1.service", "getty@.service"),
            ("job@7", "job-7.target.requires/job@7.service", "job@.service"),
        ],
    )
    def test_instances_of_a_template(self, guest: Guest, service: str, path: str, unit: str) -> None:
        assert guest.links(guest.apply("service", service=service, state="enabled")) == {
            f"{OWN}/{path}": f"{SHIPPED}/{unit}"
        }

    @pytest.mark.parametrize(
        ("wanted", "error", "words"),
        [
            ("nothing enabled", NotFound, r"no unit nothing\.service and no /etc/init.d/nothing"),
            ("static enabled", InvalidRequest, r"no \[Install\] section"),
            ("job@ enabled", InvalidRequest, "is a template"),
            ("own masked", Unsupported, "its own file"),
            ("old masked", Unsupported, "cannot be masked"),
        ],
    )
    def test_what_is_refused(self, guest: Guest, wanted: str, error: type, words: str) -> None:
        service, state = wanted.split()
        with pytest.raises(error, match=words):
            guest.apply("service", service=service, state=state)

    def test_one_that_is_not_required(self, guest: Guest) -> None:
        assert guest.apply("service", service="nothing", state="enabled", required=False) == ItemPlan()

    def test_scripts_of_run_levels(self, guest: Guest) -> None:
        target = "../init.d/old"
        on = {"/etc/rc2.d/S20old": target, "/etc/rc3.d/S20old": target, "/etc/rc0.d/K80old": target}
        assert guest.links(guest.apply("service", service="old", state="enabled")) == on
        off = guest.links(guest.apply("service", service="old", state="disabled"))
        assert {path for path, target in off.items() if target} == {
            "/etc/rc0.d/K80old",
            "/etc/rc2.d/K80old",
            "/etc/rc3.d/K80old",
        }
        assert guest.links(guest.apply("service", service="old", state="enabled")).items() >= on.items()

    def test_openrc(self) -> None:
        guest = Guest({"/etc/init.d/web": b"", "/etc/runlevels/default": None, "/etc/runlevels/boot": None})
        link = {"/etc/runlevels/default/web": "/etc/init.d/web"}
        assert guest.links(guest.apply("service", service="web", state="enabled")) == link
        assert guest.links(guest.apply("service", service="web", state="disabled")) == dict.fromkeys(link, "")

    def test_a_script_that_nothing_would_start(self) -> None:
        with pytest.raises(Unsupported, match="no run levels"):
            Guest({"/etc/init.d/web": b""}).apply("service", service="web", state="enabled")


EXTLINUX = b"DEFAULT a\nLABEL a\n  LINUX /boot/vmlinuz-6.1\n  APPEND ro quiet\nLABEL b\n  LINUX /boot/vmlinuz-5.10\n"
GRUB = b"menuentry 'A' --id a {\n\tlinux\t/vmlinuz-6.1 ro quiet\n}\nset default=\"0\"\n"
SETTINGS = b'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
ADD = KernelSettings(arguments=Arguments(("tsx=off",), ("quiet",)))
KERNEL_TREE: dict[str, bytes | None] = {
    "/boot/initrd.img-6.1": b"old",
    "/boot/initrd.img-6.1.bak": b"older",
    "/lib/modules/6.1/modules.dep": b"kernel/drivers/net/dummy.ko.xz:\nkernel/fs/xfs/xfs.ko: kernel/lib/crc.ko\n",
    "/lib/modules/6.1/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
}


class TestKernel:
    def texts(self, guest: Guest, kernel: KernelSettings) -> dict[str, str]:
        plan = guest.apply("kernel", kernel=kernel)
        return {path: guest.draft.read_text(path) or "" for path in plan.changes}

    def test_extlinux(self) -> None:
        path = "/boot/extlinux/extlinux.conf"
        kernel = KernelSettings("5.10", ADD.arguments)
        found = self.texts(Guest({path: EXTLINUX}, {}), kernel)[path]
        assert found.startswith("DEFAULT b\nLABEL a\n  LINUX /boot/vmlinuz-6.1\n  APPEND ro tsx=off\n")
        assert found.endswith("LINUX /boot/vmlinuz-5.10\n  APPEND tsx=off\n")

    def test_grub_and_what_it_is_made_of(self) -> None:
        guest = Guest({"/boot/grub/grub.cfg": GRUB, "/etc/default/grub": SETTINGS}, {})
        assert self.texts(guest, KernelSettings("6.1", ADD.arguments)) == {
            "/boot/grub/grub.cfg": "menuentry 'A' --id a {\n\tlinux\t/vmlinuz-6.1 ro tsx=off\n}\nset default=\"a\"\n",
            "/etc/default/grub": ('GRUB_DEFAULT="a"\nGRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="tsx=off"\n'),
        }
        assert guest.apply("kernel", kernel=ADD).changes == {}

    def test_systemd_boot(self) -> None:
        home = "/boot/efi/loader"
        contents = {
            f"{home}/entries/x.conf": b"version 6.1\nlinux /vmlinuz-6.1\noptions ro quiet\n",
            f"{home}/loader.conf": b"",
        }
        assert self.texts(Guest(contents, {}), KernelSettings("6.1", ADD.arguments)) == {
            f"{home}/entries/x.conf": "version 6.1\nlinux /vmlinuz-6.1\noptions ro tsx=off\n",
            f"{home}/loader.conf": "default x.conf\n",
        }

    def test_grub_that_boots_what_was_saved(self) -> None:
        menu = GRUB.replace(b'"0"', b'"${saved_entry}"')
        guest = Guest({"/boot/grub/grub.cfg": menu, "/etc/default/grub": b"GRUB_DEFAULT=saved\n"}, {})
        (path, text), *others = self.texts(guest, KernelSettings("6.1")).items()
        assert (path, text.rstrip("#"), len(text), others) == (
            "/boot/grub/grubenv",
            "# GRUB Environment Block\nsaved_entry=a\n",
            1024,
            [],
        )

    @pytest.mark.parametrize("home", ["/boot/grub2", "/boot/efi/EFI/redhat"])
    def test_grub_of_red_hat(self, home: str) -> None:
        block = b"# GRUB Environment Block\nsaved_entry=old\nkernelopts=root=/dev/vda1 ro quiet\nboot_success=1\n"
        contents: dict[str, bytes | None] = {
            "/boot/loader/entries/m-5.10.conf": b"linux /vmlinuz-5.10\noptions $kernelopts\n",
            "/boot/loader/entries/m-6.1.conf": b"linux /vmlinuz-6.1\noptions $kernelopts\n",
            f"{home}/grub.cfg": b'set default="${saved_entry}"\ninsmod blscfg\nblscfg\n',
            f"{home}/grubenv": block.ljust(1024, b"#"),
        }
        found = self.texts(Guest(contents, {}), KernelSettings("6.1", ADD.arguments))
        changed = "# GRUB Environment Block\nsaved_entry=m-6.1\nkernelopts=root=/dev/vda1 ro\nboot_success=1\n"
        assert found == {
            "/boot/loader/entries/m-5.10.conf": "linux /vmlinuz-5.10\noptions $kernelopts tsx=off\n",
            "/boot/loader/entries/m-6.1.conf": "linux /vmlinuz-6.1\noptions $kernelopts tsx=off\n",
            f"{home}/grubenv": changed.ljust(1024, "#"),
        }

    def test_entries_that_nobody_reads(self) -> None:
        guest = Guest({"/boot/loader/entries/x.conf": b"linux /vmlinuz-6.1\n"}, {})
        with pytest.raises(Unsupported, match=r"neither systemd-boot .* nor GRUB"):
            guest.apply("kernel", kernel=KernelSettings("6.1"))

    def test_no_boot_loader(self) -> None:
        with pytest.raises(NotFound, match="no boot loader"):
            Guest(CONTENTS).apply("kernel", kernel=ADD)
        assert Guest(CONTENTS).apply("kernel", kernel=ADD, required=False) == ItemPlan()

    def test_no_such_kernel(self) -> None:
        with pytest.raises(NotFound, match=r"boots the kernel 4\.19.*It has vmlinuz-6\.1, vmlinuz-5\.10"):
            Guest({"/boot/extlinux.conf": EXTLINUX}, {}).apply("kernel", kernel=KernelSettings("4.19"))

    def test_modules_of_debian(self) -> None:
        guest = Guest({**KERNEL_TREE, "/etc/initramfs-tools/modules": b"# list\ndummy\n"}, {})
        plan = guest.apply("kernel", kernel=KernelSettings(initrd_modules=("dummy", "xfs", "ext4")))
        assert guest.draft.read_text("/etc/initramfs-tools/modules") == "# list\ndummy\nxfs\next4\n"
        assert guest.draft.read("/boot/initrd.img-6.1").content == b"old"
        (rebuild,) = plan.rebuilds
        assert rebuild.path in plan.changes
        assert rebuild.command == ("mkinitramfs", "-o", "/boot/initrd.img-6.1", "6.1")
        assert rebuild.list_missing("usr/lib/modules/6.1/kernel/drivers/net/dummy.ko\n") == ["xfs"]

    def test_modules_of_red_hat(self) -> None:
        contents = {**KERNEL_TREE, "/etc/dracut.conf.d": None, "/boot/initramfs-6.1.img": b""}
        guest = Guest(contents, {})
        plan = guest.apply("kernel", kernel=KernelSettings(initrd_modules=("xfs",)))
        guest.apply("kernel", kernel=KernelSettings(initrd_modules=("dummy",)))
        text = guest.draft.read_text("/etc/dracut.conf.d/encompass.conf")
        assert text == 'hostonly="no"\nadd_drivers+=" xfs dummy "\n'
        assert plan.rebuilds[0].command[:3] == ("dracut", "--force", "--no-hostonly")

    @pytest.mark.parametrize(
        ("more", "module", "error", "words"),
        [
            ({"/etc/initramfs-tools/modules": b""}, "nosuch", NotFound, "has no module nosuch"),
            ({"/etc/initramfs-tools/conf.d/x": b"MODULES=dep\n"}, "xfs", Unsupported, "MODULES=dep"),
            ({}, "xfs", Unsupported, "neither initramfs-tools nor dracut"),
        ],
    )
    def test_modules_that_cannot_be_had(self, more: dict, module: str, error: type, words: str) -> None:
        with pytest.raises(error, match=words):
            Guest({**KERNEL_TREE, **more}, {}).apply("kernel", kernel=KernelSettings(initrd_modules=(module,)))


def test_what_was_changed_before_reads_as_it_was() -> None:
    guest = MemoryGuest.make({"/srv/new": b"ours", "/srv/kept": b"", "/etc/changed": b"ours"}, {})
    originals = {
        "/srv/new": NOTHING,
        "/srv/gone": FileState(kind=FILE),
        "/etc/changed": FileState(kind=LINK, target="/srv/gone"),
    }
    draft = Draft(guest, originals, lambda path: originals[path])
    assert draft.list_below("/srv") == ["/srv/gone", "/srv/kept"]
    assert draft.list_existing(["/srv/*", "/etc/*"]) == ["/etc/changed", "/srv/gone", "/srv/kept"]
    assert draft.resolve("/etc/changed") == "/srv/gone"
    assert draft.read_text("/srv/new") is None

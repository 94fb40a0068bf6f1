# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of two volumes, the second served from its mount: deployed, updated, rolled back, reassigned, captured."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.site import Site, make_web
from tests.integration.test_lab import ANY_HOST_KEY
from tests.lab.commands import run
from tests.lab.controller import Controller, PlaybookRun
from tests.lab.disk import LOADERS
from tests.lab.hosts import LabHosts

SCRIPTS = {
    "/etc/rc2.d/S50srv": "#!/bin/sh\nmount -t ext4 /dev/vdb /srv\n",
    "/etc/acpi/PWRF/00000080": "#!/bin/sh\numount /srv\nsync\nmount -o remount,ro /\npoweroff -f\n",
}
ITEMS = [{"name": "page", "type": "template", "path": "/srv/page", "src": "page.j2"}]
FILES = make_web("files", function="file-server", method="copy")


def make_root(image: Path, folder: Path, target: Path) -> None:
    """Make an image that mounts a second disk when it boots, and serves it."""
    raw = folder / "root.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
    device = f"{raw}?offset={LOADERS['extlinux'].start_bytes}"
    fstab = run("debugfs", "-R", "cat /etc/fstab", device).stdout
    (folder / "fstab").write_text(f"{fstab}LABEL=srv /srv ext4 defaults 0 2\n")
    commands = ["mkdir /srv", "symlink /var/www/srv /srv", "rm /etc/fstab", f"write {folder / 'fstab'} /etc/fstab"]
    for number, (path, text) in enumerate(SCRIPTS.items()):
        (folder / str(number)).write_text(text)
        commands += [f"rm {path}", f"write {folder / str(number)} {path}", f"set_inode_field {path} mode 0100755"]
    run("debugfs", "-w", "-f", "-", device, stdin="\n".join(commands))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target)


def make_srv(content: str, folder: Path, target: Path) -> None:
    """Make a disk with one file on it."""
    tree = folder / content
    tree.mkdir()
    (tree / "marker").write_text(content)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "srv", "-d", tree, target, "16M")


def list_volumes(content: str) -> list[dict[str, str]]:
    """Return the volumes of a master whose second one holds this."""
    return [
        {"name": "root", "source": "/srv/shared/root.qcow2", "format": "qcow2"},
        {"name": "srv", "source": f"/srv/shared/{content}.raw", "format": "raw"},
    ]


def declare(content: str, **changes: t.Any) -> dict[str, t.Any]:
    """Return what is other than in the lab's usual master."""
    image = {"source": None, "format": None, "volumes": list_volumes(content)}
    return {"function": "file-server", "items": ITEMS, **image, **changes}


@pytest.fixture
def site(tmp_path: Path, mini_image: Path) -> t.Iterator[Site]:
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        make_root(mini_image, tmp_path, lab.shared / "root.qcow2")
        for content in ("first", "second"):
            make_srv(content, tmp_path, lab.shared / f"{content}.raw")
        site.prepare(mini_image, **declare("first"))
        yield site


def play(site: Site, scenario: str, **variables: t.Any) -> PlaybookRun:
    arguments = {"encompass_deployments": [FILES], **variables}
    return site.controller.run(f"encompass.images.{scenario}", **arguments, timeout_s=400)


def served(site: Site) -> list[str]:
    """Return what the servers have on their second disks, once it is theirs alone."""
    names = ("files-1", "files-2")
    assert [site.fetch(name, "/srv/page").split(" at ")[0] for name in names] == [
        f"hello from {name}" for name in names
    ]
    return [site.fetch(name, "/srv/marker") for name in names]


def test_the_life_of_servers_with_two_volumes(site: Site, guest_key: Path) -> None:
    play(site, "deploy").require_success()
    assert served(site) == ["first"] * 2
    play(site, "deploy").require_unchanged()

    site.add_master(**declare("second", version=None))
    site.add_master(**declare("second", version=None)).require_unchanged()
    masters = site.find("master")
    assert set(masters) == {"file-server-v1", "file-server-v2"}
    one, two = (masters[f"file-server-v{version}"]["volumes"] for version in (1, 2))
    assert [before["digest"] == after["digest"] for before, after in zip(one, two)] == [True, False]

    play(site, "update").require_success()
    assert served(site) == ["second"] * 2
    play(site, "rollback", encompass_rollback=["files"]).require_success()
    assert served(site) == ["first"] * 2

    site.add_master(function="web-server")
    play(site, "reassign", encompass_reassign=[{"function": "web-server", "machines": ["files-2"]}]).require_success()
    assert site.fetch("files-2").startswith("hello from files-2")
    assert site.fetch("files-1", "/srv/marker") == "first"
    play(site, "reassign", encompass_reassign=[{"function": "file-server", "deployment": "files"}]).require_success()
    assert served(site) == ["first"] * 2

    wanted = {"encompass_maintain": {"clone": "files-1"}, "encompass_maintain_gather_facts": False}
    play(site, "maintain", **wanted).require_success()
    login = ("ssh", "-i", guest_key, *ANY_HOST_KEY, f"root@{site.address_of('files-1')}")
    run(*login, "echo by hand >/srv/by-hand")
    play(site, "capture", encompass_capture=["files-1"]).require_success()
    captured = site.find("master")["file-server-v3"]
    assert [volume["name"] for volume in captured["volumes"]] == ["root", "srv"]
    site.retire("files").require_success()
    newest = {**FILES, "count": 1, "version": 3, "method": "overlay"}
    site.deploy(newest).require_success()
    assert site.fetch("files-1", "/srv/by-hand") == "by hand\n"
    assert (site.fetch("files-1", "/srv/marker"), site.orphans()) == ("first", [])
    site.retire("files").require_success()
    assert (site.find("clone"), site.orphans()) == ({}, [])

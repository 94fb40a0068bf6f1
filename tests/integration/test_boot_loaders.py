# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB boots the kernel that an item chose, with its arguments: by BIOS and by UEFI, from grub.cfg and from grubenv."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.site import Site, make_web
from tests.lab import images
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts

LOOK = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\ncat /proc/cmdline\n"
ITEMS: list[dict[str, t.Any]] = [
    {"name": "look", "type": "file", "path": "/var/www/cgi-bin/look", "mode": "0755", "content": LOOK},
    {
        "name": "other kernel",
        "type": "kernel",
        "default": "other",
        "arguments": {"add": ["encompass.test=1"], "remove": ["quiet"]},
    },
]
# as GRUB_DEFAULT=saved makes it
SAVED = {
    "name": "saved",
    "type": "regexp",
    "path": "/boot/grub/grub.cfg",
    "pattern": 'default="0"',
    "replacement": 'default="${saved_entry}"',
}
FUNCTIONS: dict[str, dict[str, t.Any]] = {
    "bios": {"firmware": "bios", "items": ITEMS},
    # UEFI itself takes more than the guest
    "uefi": {"firmware": "uefi", "items": [SAVED, *ITEMS], "min_memory_mib": 384},
}


@pytest.fixture
def site(tmp_path: Path) -> t.Iterator[Site]:
    with LabHosts(1) as lab:
        site = Site(lab, Controller(tmp_path / "controller", lab=lab))
        site.prepare(images.ensure_image("grub"), function="bios", **FUNCTIONS["bios"])
        site.add_master(function="uefi", **FUNCTIONS["uefi"])
        yield site


def test_the_chosen_kernel_boots(site: Site) -> None:
    webs = [
        make_web(name, function=name, count=1, memory_mib=master.get("min_memory_mib", 96))
        for name, master in FUNCTIONS.items()
    ]
    site.deploy(*webs).require_success()
    for name in FUNCTIONS:
        words = site.fetch(f"{name}-1", "/cgi-bin/look").split()
        assert {"encompass.test=1", "lab.kernel=other"} <= set(words), name
        assert "quiet" not in words
    (host,) = site.lab.hosts
    assert "pflash" in host.exec("virsh", "dumpxml", "uefi-1").stdout
    site.deploy(*webs).require_unchanged()

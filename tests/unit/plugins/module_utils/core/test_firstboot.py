# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts for the first boot: what starts them in which image."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Unsupported
from ansible_collections.encompass.images.plugins.module_utils._core.firstboot import choose_starter, plan_firstboot
from ansible_collections.encompass.images.plugins.module_utils._core.guest_changes import (
    CallAtEnd,
    MakeLink,
    SetContent,
)


@pytest.mark.parametrize(
    ("survey", "starter"),
    [
        (("/lib/systemd/systemd", "/etc/systemd/system/", "/etc/rc.local"), "systemd"),
        (("/usr/lib/systemd/systemd", "/etc/systemd/system/"), "systemd"),
        (("/etc/systemd/system/", "/etc/rc.local", "/etc/init.d/", "/etc/rc2.d/"), "rc.local"),
        (("/etc/init.d/", "/etc/rc2.d/"), "init.d"),
        (("/etc/init.d/",), "rc.local"),
    ],
)
def test_the_starter_is_what_the_image_has(survey: tuple[str, ...], starter: str) -> None:
    assert choose_starter("clone c", survey) == starter


def test_an_image_without_any_is_refused() -> None:
    with pytest.raises(Unsupported, match="neither systemd"):
        choose_starter("clone c", ("/etc/systemd/system/",))


def test_systemd_is_told_by_a_unit_that_is_enabled() -> None:
    changes = plan_firstboot("0001-a", b"echo", starter="systemd", survey=())
    unit = changes["/etc/systemd/system/encompass-firstboot.service"]
    assert isinstance(unit, SetContent)
    assert b"ExecStart=/etc/encompass/firstboot/run\n" in unit.content
    wants = "/etc/systemd/system/multi-user.target.wants/encompass-firstboot.service"
    assert changes[wants] == MakeLink("../encompass-firstboot.service")


def test_rc_local_is_told_by_a_call() -> None:
    changes = plan_firstboot("0001-a", b"echo", starter="rc.local", survey=())
    assert changes["/etc/rc.local"] == CallAtEnd("/etc/encompass/firstboot/run")


def test_init_d_gets_a_link_in_each_run_level_that_is_there() -> None:
    changes = plan_firstboot("0001-a", b"echo", starter="init.d", survey=("/etc/rc2.d/", "/etc/rc5.d/"))
    links = {path for path, change in changes.items() if isinstance(change, MakeLink)}
    assert links == {"/etc/rc2.d/S99encompass-firstboot", "/etc/rc5.d/S99encompass-firstboot"}


@pytest.mark.parametrize(
    ("content", "written"), [(b"#!/bin/bash\nx\n", b"#!/bin/bash\nx\n"), (b"x\n", b"#!/bin/sh\nx\n")]
)
def test_a_script_says_what_runs_it_and_only_root_reads_it(content: bytes, written: bytes) -> None:
    changes = plan_firstboot("0001-a", content, starter="rc.local", survey=())
    assert changes["/etc/encompass/firstboot/0001-a.sh"] == SetContent(written, 0o700, 0, 0)

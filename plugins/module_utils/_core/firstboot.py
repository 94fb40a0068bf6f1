# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts that a guest runs once, when it boots first. Pure; private to this collection.

One runner, started by whatever starts things in the image, runs the scripts in the order of their items. A script
is renamed before it runs: one that reboots the guest must not run again. So what it wrote is put on the disk at once:
nobody would do it again after a crash.
"""

from __future__ import annotations

import typing as t

from .errors import Unsupported
from .guest_changes import CallAtEnd, Change, MakeDirectory, MakeLink, SetContent

SYSTEMD, RC_LOCAL, INIT_D = "systemd", "rc.local", "init.d"

SURVEY = (
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/etc/systemd/system",
    "/etc/systemd/system/multi-user.target.wants",
    "/etc/rc.local",
    "/etc/init.d",
    "/etc/rc[2345].d",
)

_ROOM = "/etc/encompass"
_SCRIPTS = f"{_ROOM}/firstboot"
_RUNNER = f"{_SCRIPTS}/run"
_UNIT = "encompass-firstboot.service"
_UNITS = "/etc/systemd/system"
_SERVICE = "encompass-firstboot"

_RUNNER_TEXT = f"""\
#!/bin/sh
# Runs each script of this directory once, in order; written by encompass.images.
status=0
for script in {_SCRIPTS}/*.sh; do
  [ -e "$script" ] || continue
  mv "$script" "$script.ran"
  "$script.ran" || status=1
  sync
done
exit $status
"""

_UNIT_TEXT = f"""\
[Unit]
Description=Scripts for the first boot (encompass.images)
ConditionPathExistsGlob={_SCRIPTS}/*.sh
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={_RUNNER}
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""

_INIT_TEXT = f"""\
#!/bin/sh
### BEGIN INIT INFO
# Provides: {_SERVICE}
# Required-Start: $all
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
# Short-Description: Scripts for the first boot (encompass.images)
### END INIT INFO
[ "$1" != start ] || {_RUNNER}
"""


def choose_starter(subject: str, survey: t.Collection[str]) -> str:
    """Return what starts scripts in the image: ``systemd``, ``rc.local`` or ``init.d``."""
    has_systemd = "/lib/systemd/systemd" in survey or "/usr/lib/systemd/systemd" in survey
    if has_systemd and f"{_UNITS}/" in survey:
        return SYSTEMD
    if "/etc/rc.local" in survey:
        return RC_LOCAL
    if "/etc/init.d/" in survey:
        return INIT_D if "/etc/rc2.d/" in survey else RC_LOCAL
    raise Unsupported(
        subject,
        "the image has neither systemd nor /etc/rc.local nor /etc/init.d to start a script at the first boot",
        remedy="Give the master one of them, or use a file item that its own init reads.",
    )


def plan_firstboot(script: str, content: bytes, *, starter: str, survey: t.Collection[str]) -> dict[str, Change]:
    """Return the changes that have the script (a name that sorts where it is to run) run at the first boot."""
    body = content if content.startswith(b"#!") else b"#!/bin/sh\n" + content
    shared: dict[str, Change] = {
        _ROOM: MakeDirectory(),
        _SCRIPTS: MakeDirectory(0o700),
        _RUNNER: SetContent(_RUNNER_TEXT.encode(), 0o755, 0, 0),
    }
    starters = {SYSTEMD: _start_by_systemd, RC_LOCAL: _start_by_rc_local, INIT_D: _start_by_init_d}
    shared.update(starters[starter](survey))
    return {**shared, f"{_SCRIPTS}/{script}.sh": SetContent(body, 0o700, 0, 0)}


def _start_by_systemd(_survey: t.Collection[str]) -> dict[str, Change]:
    return {
        f"{_UNITS}/{_UNIT}": SetContent(_UNIT_TEXT.encode(), 0o644, 0, 0),
        f"{_UNITS}/multi-user.target.wants": MakeDirectory(),
        f"{_UNITS}/multi-user.target.wants/{_UNIT}": MakeLink(f"../{_UNIT}"),
    }


def _start_by_rc_local(_survey: t.Collection[str]) -> dict[str, Change]:
    return {"/etc/rc.local": CallAtEnd(_RUNNER)}


def _start_by_init_d(survey: t.Collection[str]) -> dict[str, Change]:
    levels = [f"/etc/rc{level}.d" for level in "2345" if f"/etc/rc{level}.d/" in survey]
    links: dict[str, Change] = {f"{level}/S99{_SERVICE}": MakeLink(f"../init.d/{_SERVICE}") for level in levels}
    return {f"/etc/init.d/{_SERVICE}": SetContent(_INIT_TEXT.encode(), 0o755, 0, 0), **links}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed of things that nobody has, and what is left alone."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.domain import Domain
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.module_utils._core.network import Network, Reservation
from ansible_collections.encompass.images.plugins.module_utils._core.provider import DomainSeen, NetworkSeen
from ansible_collections.encompass.images.plugins.module_utils._core.sweeping import (
    RemainsSeen,
    plan_sweep,
    read_remains,
    report_sweep,
)

DIRECTORY = {"type": "directory", "path": "/pool/clones/c1"}
STAGED = {"type": "staged", "path": "/pool/.staging/clone~c1~x"}
DOMAIN = {"type": "domain", "domain": "web-1", "uuid": "u1"}
ADDRESS = {"type": "reservation", "network": "encompass", "mac": "52:54:00:00:00:01", "address": "10.0.0.5"}

OFF = DomainSeen(Domain("web-1", "u1", "x86_64", "bios", "qemu", 1, 96), active=False)
HELD = NetworkSeen(
    Network(
        "encompass",
        "open",
        "10.0.0.0/24",
        reservations=(
            Reservation("52:54:00:00:00:01", "10.0.0.5", "web-1"),
            Reservation("52:54:00:00:00:02", "10.0.0.6", "web-2"),
        ),
    )
)

CASES: dict[str, tuple[dict[str, str], RemainsSeen, list[str] | str]] = {
    "a directory": (DIRECTORY, RemainsSeen(exists=True), ["delete /pool/clones/c1"]),
    "one that is gone": (DIRECTORY, RemainsSeen(), []),
    "one in use": (DIRECTORY, RemainsSeen(exists=True, users=("web-1",)), "domain web-1 has a disk in it"),
    "one that is open": (DIRECTORY, RemainsSeen(exists=True, open="/pool/clones/c1/root.qcow2"), "is open"),
    "staged": (STAGED, RemainsSeen(exists=True), ["delete /pool/.staging/clone~c1~x"]),
    "staged by a living run": (STAGED, RemainsSeen(exists=True, at_work=True), "somebody is at work"),
    "a domain": (DOMAIN, RemainsSeen(domain=OFF), ["undefine domain web-1"]),
    "one that runs": (DOMAIN, RemainsSeen(domain=dataclasses.replace(OFF, active=True)), "it runs"),
    "another of its name": ({**DOMAIN, "uuid": "u2"}, RemainsSeen(domain=OFF), []),
    "no domain": (DOMAIN, RemainsSeen(), []),
    "an address": (
        ADDRESS,
        RemainsSeen(network=HELD),
        ["release 10.0.0.5 on network encompass from 52:54:00:00:00:01"],
    ),
    "one that another card has": ({**ADDRESS, "address": "10.0.0.6"}, RemainsSeen(network=HELD), []),
    "no network": (ADDRESS, RemainsSeen(), []),
}


@pytest.mark.parametrize(("options", "seen", "wanted"), CASES.values(), ids=list(CASES))
def test_only_what_nobody_uses_goes(options: dict[str, str], seen: RemainsSeen, wanted: list[str] | str) -> None:
    item = read_remains(options)
    assert report_sweep(item) == options
    if isinstance(wanted, str):
        with pytest.raises(EncompassError, match=wanted) as refused:
            plan_sweep(item, seen)
        assert refused.value.remedy
        return
    assert [step.describe() for step in plan_sweep(item, seen)] == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"type": "directory", "path": "/etc/clones/.."},
        {"type": "directory", "path": "/pool/masters/x"},
        {"type": "directory", "path": "/pool/clones/"},
        {"type": "directory", "path": "/../clones/x"},
        {"type": "directory", "path": "clones/x"},
        {"type": "directory", "path": "/clones/x"},
        {"type": "staged", "path": "/pool/clones/x"},
        {"type": "domain", "domain": "web-1"},
        {"type": "reservation", "network": "encompass", "mac": "52:54:00:00:00:01"},
    ],
)
def test_what_is_not_named_in_full_is_refused(options: dict[str, t.Any]) -> None:
    with pytest.raises(EncompassError):
        read_remains(options)

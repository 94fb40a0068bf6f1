# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observer of the burn-in sees what it is there for."""

from __future__ import annotations

import pytest

from tests.trials.observer import Look, find_mismatches, find_shared_volumes

MACHINE = {"provider": "hv1", "clone": "web-v1-1"}
VOLUME = "hv1:/pool/clones/web-v1-1/root.qcow2"
RUNNING = {("hv1", "web-1"): {VOLUME}}


def make_look(stage="active", mark=None, revision=1, **machine):
    """Return the catalog with one server."""
    records = {("machine", "web-1"): (1, None, {**MACHINE, **machine})}
    return Look({**records, ("clone", "web-v1-1"): (revision, mark, {"stage": stage})}, [])


def test_a_volume_in_two_domains_is_found():
    assert find_shared_volumes({**RUNNING, ("hv2", "web-1"): {VOLUME}}) == [
        f"volume {VOLUME} is in hv1/web-1 and hv2/web-1"
    ]
    assert find_shared_volumes({**RUNNING, ("hv2", "web-1"): {"hv2:/pool/clones/web-v1-1/root.qcow2"}}) == []


@pytest.mark.parametrize(
    ("look", "running", "problem"),
    [
        (make_look(), {}, "its clone web-v1-1 is active, and it does not run"),
        (make_look("attached"), RUNNING, "it runs, and its clone web-v1-1 is attached"),
        (make_look(), {("hv1", "web-1"): {"hv1:/pool/clones/other/root"}}, "not with its clone web-v1-1"),
        (make_look(), {**RUNNING, ("hv2", "web-1"): {"x"}}, "domain hv2/web-1 runs, and its machine is on hv1"),
        (make_look(), {**RUNNING, ("hv1", "web-9"): {"x"}}, "domain hv1/web-9 runs, and no machine has its name"),
    ],
)
def test_what_runs_and_what_is_on_record_are_compared(look, running, problem):
    (found,) = find_mismatches(look, look, running)
    assert problem in found


@pytest.mark.parametrize(
    ("before", "after", "running"),
    [
        (make_look(), make_look(), RUNNING),
        (make_look(mark="operation"), make_look(), {}),
        (make_look(), make_look(mark="operation"), {}),
        (make_look(), make_look("attached", revision=2), {}),
    ],
)
def test_what_is_under_way_is_left_out(before, after, running):
    assert find_mismatches(before, after, running) == []

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takeover from real processes, killed or frozen, as their own host and as another sees it. For every store.

`make race` does more.
"""

from __future__ import annotations

import signal

import pytest

from tests.trials.takeovers import TAKEOVER_LIMIT_S, Trouble, try_takeover


def test_a_killed_owner_is_taken_over_before_its_lease_ends(store):
    late_s, problems = try_takeover(store.url, Trouble(signal.SIGKILL))
    assert problems == []
    assert late_s < 0


def test_another_host_takes_over_from_a_killed_owner_when_its_lease_ends(store):
    late_s, problems = try_takeover(store.url, Trouble(signal.SIGKILL, "elsewhere"))
    assert problems == []
    assert 0 <= late_s <= TAKEOVER_LIMIT_S


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_a_frozen_owner_is_taken_over_and_finds_itself_refused(store, host):
    late_s, problems = try_takeover(store.url, Trouble(signal.SIGSTOP, host))
    assert problems == []
    assert 0 <= late_s <= TAKEOVER_LIMIT_S

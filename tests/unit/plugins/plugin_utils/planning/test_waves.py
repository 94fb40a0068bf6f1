# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves: how many servers change together."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._planning.waves import parse_waves, split_waves


@pytest.mark.parametrize(
    "declared, sizes",
    [
        (["100%"], [7]),
        ([1, "100%"], [1, 6]),
        (["1", "50%"], [1, 3, 3]),
        ([2], [2, 2, 2, 1]),
        ("50%", [3, 3, 1]),
        (["1%"], [1] * 7),
        ([3, 100], [3, 4]),
    ],
)
def test_the_last_size_is_repeated(declared: t.Any, sizes: list[int]) -> None:
    servers = [f"web-{number}" for number in range(7)]
    waves = split_waves(servers, parse_waves(declared))
    assert [len(wave) for wave in waves] == sizes
    assert [server for wave in waves for server in wave] == servers


def test_nobody_needs_no_wave() -> None:
    assert split_waves([], parse_waves([1])) == ()


@pytest.mark.parametrize("declared", [["0%"], ["101%"], [0], [-1], ["half"], [True], [None]])
def test_nonsense_is_refused(declared: t.Any) -> None:
    with pytest.raises(InvalidRequest, match="neither a number of servers nor a percentage"):
        parse_waves(declared)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.changes import diff


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": True}, {"a": [1, True]}),
        ({}, {"a": {"b": 1}}, {"a": [None, {"b": 1}]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, {"a.b": [1, 3]}),
        ({"n": [{"x": 1}, {"x": 2}]}, {"n": [{"x": 1}, {"x": 3}]}, {"n[1].x": [2, 3]}),
        ({"n": [1]}, {"n": [1, 2]}, {"n": [[1], [1, 2]]}),
        ({"a": 1, "b": 2}, {}, {"a": [1, None], "b": [2, None]}),
        ({"a": None}, {}, {}),
    ],
)
def test_diff(before, after, changes):
    assert diff(before, after) == changes

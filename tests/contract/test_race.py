# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many controllers at one catalog: one wins each round, the others learn who. `make race` runs more."""

from __future__ import annotations

import pytest

from tests.trials.contenders import Race

SEED = 4711


@pytest.mark.parametrize(("count", "rounds"), [(2, 10), (8, 7), (32, 7)])
def test_of_many_controllers_one_wins_each_round(store, count, rounds):
    with Race(store.url, count) as race:
        assert race.run(rounds, SEED) == []

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few controllers at once do what comes into their heads, on a real site. `make burnin` does so for longer."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_migrate import SpanningSite
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts
from tests.trials.burnin import Burnin, prepare

SEED = 7


def test_controllers_that_meet_at_random_leave_nothing_wrong(tmp_path: Path, mini_image: Path) -> None:
    with LabHosts(2, share_guests=True) as lab:
        site = SpanningSite(lab, Controller(tmp_path / "controller", lab=lab))
        prepare(site, mini_image)
        burnin = Burnin(site, SEED, controllers=3, operations=3)
        assert burnin.run() == []
        assert burnin.counts["done"] > 0

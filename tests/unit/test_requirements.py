# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make venv` installs, against what the collection itself asks for."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_a_machine_for_tests_has_all_that_a_provider_has() -> None:
    role = yaml.safe_load((ROOT / "roles/hypervisor/vars/Debian.yml").read_text(encoding="utf-8"))
    installed = (ROOT / "tests/requirements/debian.txt").read_text(encoding="utf-8").split("\n")
    # The lab's hosts share the machine's packages, and have no mirror to install any from.
    assert set(role["__hypervisor_packages"]) <= set(installed)

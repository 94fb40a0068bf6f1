# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clone people mean: they know servers, the catalog knows clones. Private to this collection."""

from __future__ import annotations

from ...module_utils._core.errors import NotFound
from .._catalog.objects import Row
from .._catalog.store import Reading


def require_clone(reading: Reading, name: str) -> Row:
    """Return the clone of this name, or the one that the server of this name runs."""
    clone = reading.get("clone", name)
    if clone is not None:
        return clone
    for machine in reading.find("machine", server=name):
        if machine.body.get("clone"):
            return reading.require("clone", machine.body["clone"])
    raise NotFound(
        f"clone {name}",
        "the catalog has neither a clone nor a server of this name",
        remedy="Look at them with encompass.images.report.",
    )

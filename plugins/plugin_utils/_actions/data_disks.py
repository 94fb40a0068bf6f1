# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines have of data volumes, read from the catalog. Private to this collection."""

from __future__ import annotations

from ...module_utils._core.data_volumes import join_name
from ...module_utils._core.errors import NotFound
from .._catalog.objects import Body, Row
from .._catalog.store import Reading


def find_holder(reading: Reading, volume: Row) -> Row | None:
    """Return the machine that has a data volume, or is to have it; None when none does."""
    for row in reading.find("machine", server=volume.body["server"]):
        if volume.body["volume"] in (row.body.get("data") or ()):
            return row
    return None


def list_data_disks(reading: Reading, machine: Body) -> list[Body]:
    """Return a machine's data volumes as its disks; raises :class:`NotFound` for one that is not made yet."""
    disks: list[Body] = []
    for volume in machine.get("data") or ():
        name = join_name(machine["server"], volume)
        row = reading.get("volume", name)
        if row is None or row.body["stage"] != "available":
            raise NotFound(f"server {machine['server']}", f"its data volume {volume} is not made{_explain(row)}")
        disks.append({**{key: row.body[key] for key in ("path", "format", "bus", "serial")}, "backing": []})
    return disks


def _explain(row: Row | None) -> str:
    error = row.body.get("last_error") if row else None
    return f" ({error['problem']})" if error else ""

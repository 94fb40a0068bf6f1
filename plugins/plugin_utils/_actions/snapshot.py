# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read for planning what the catalog has. Private to this collection."""

from __future__ import annotations

from .._catalog.store import Reading
from .._planning.ledger import Snapshot


def read_snapshot(reading: Reading) -> Snapshot:
    """Return the records of all objects that planning looks at."""
    return Snapshot(
        masters={row.name: row.body for row in reading.find("master")},
        clones={row.name: row.body for row in reading.find("clone")},
        machines={row.name: row.body for row in reading.find("machine")},
        deployments={row.name: row.body for row in reading.find("deployment")},
        functions={row.name: row.body for row in reading.find("function")},
        volumes={row.name: row.body for row in reading.find("volume")},
        providers={row.name: row.body for row in reading.find("provider")},
    )

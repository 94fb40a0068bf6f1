# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture as a verb of the life cycle: the next version of a master comes of a clone. Private to this collection."""

from __future__ import annotations

import typing as t

from ...module_utils._core.errors import Conflict, NotFound
from .._catalog.objects import Body, Key, Owner
from .._catalog.store import Reading, Writing
from .._planning.captured import IMPORTING, choose_master, complete_master, draft_donation, draft_master
from .naming import require_clone
from .verb import Request, Subject, Verb, require_pool


class Capture(Verb):
    """Make a master of a clone; the clone is spent then, in the same transaction."""

    # The module knows no other state.
    event, module, option, state, on_machines = "capture", "capture", "clones", "", False

    def __init__(self, *, current: bool) -> None:
        self._current = current
        self.drafts: dict[str, tuple[str, Body]] = {}
        """By clone the name of its master, and the record as it is so far."""

    def complete(self, reading: Reading, subject: Subject, request: Request) -> Body:
        """Return the module's item, completed from the catalog."""
        clone, name = subject.clone, subject.clone_name
        parent = reading.require("master", clone["master"]).body
        family = {row.name: row.body for row in reading.find("master", function=parent["function"])}
        functions = {row.name: row.body for row in reading.find("function")}
        master = choose_master(name, parent, family, functions)
        version = int(master.rpartition("-v")[2])
        draft = family.get(master) or draft_master(
            name, clone, parent, server=subject.machine.get("server"), version=version, current=self._current
        )
        pool = require_pool(reading, clone["provider"], clone["pool"])
        self.drafts[name] = (master, draft)
        return {
            "name": name,
            "master": master,
            "pool_path": pool["path"],
            "directory": clone["directory"],
            "volumes": [{key: volume[key] for key in ("name", "path", "format")} for volume in clone["volumes"]],
            "layout": parent["layout"],
            "hardware": parent["hardware"],
            "stage": clone["stage"],
        }

    def absorb(self, subject: Subject, record: Body) -> dict[Key, Body | None]:
        """Return the records after the verb: a new master, and a clone that is spent."""
        master, draft = self.drafts[subject.clone_name]
        clone = subject.clone
        body = complete_master(draft, record, provider=clone["provider"], pool=clone["pool"])
        return {**super().absorb(subject, record), ("master", master): body}


def name_clones(reading: Reading, items: t.Sequence[t.Any]) -> tuple[list[Body], dict[str, str]]:
    """Return (the items by clone, the masters by those names that were captured before and are gone)."""
    found: list[Body] = []
    gone: dict[str, str] = {}
    for item in items:
        entry = dict(item) if isinstance(item, t.Mapping) else {"name": item}
        try:
            found.append({**entry, "name": require_clone(reading, str(entry["name"])).name})
        except NotFound:
            captured = find_captured(reading, str(entry["name"]))
            if captured is None:
                found.append(entry)  # refused with the others, in its turn
            else:
                gone[str(entry["name"])] = captured
    return found, gone


def find_captured(reading: Reading, name: str) -> str | None:
    """Return the newest master that was captured from a clone or server of this name."""
    masters = [
        row
        for row in reading.find("master")
        if name in (row.body.get("captured_from"), row.body.get("captured_server")) and row.body["state"] != IMPORTING
    ]
    return max(masters, key=lambda row: int(row.body["version"])).name if masters else None


def write_drafts(tx: Writing, verb: Capture, owner: Owner) -> None:
    """Write down the masters that are about to be made, so that no other clone becomes the same."""
    for name, draft in verb.drafts.values():
        tx.put("master", name, draft, verb="capture", owner=owner)


def draft_donations(
    tx: Writing, provider: str, donors: t.Sequence[Body], owner: Owner, *, current: bool
) -> dict[str, tuple[Body, Body]]:
    """Write down the masters that donors are to become; return (record, module's item) of each that is not made yet."""
    due: dict[str, tuple[Body, Body]] = {}
    for donor in donors:
        name, body = draft_donation(donor, current=current)
        known = tx.get("master", name)
        if known is not None and known.body.get("captured_from") != body["captured_from"]:
            raise Conflict(f"master {name}", "it is in the catalog already", remedy="Give the donor another version.")
        if known is not None and known.body["volumes"]:
            continue
        pool = require_pool(tx, provider, donor.get("pool") or "default")
        draft = known.body if known else body
        tx.put("master", name, draft, verb="capture", owner=owner)
        due[name] = (draft, {**donor, "pool_path": pool["path"]})
    return due

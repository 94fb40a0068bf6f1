# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify looks for in the pools: volumes of clones, data volumes, masters, what is staged. Pure; private to this
collection.
"""

from __future__ import annotations

import typing as t

from ...module_utils._core.pool_layout import format_bytes
from .findings import Body, Finding
from .scene import Place, Scene

_IMPORTING = "importing"


def check_clones(scene: Scene) -> t.Iterator[Finding]:
    """Find what is missing or wrong of each clone's volumes."""
    for name, clone in scene.rows("clone"):
        subject = f"clone {name}"
        if clone["stage"] == "planned" and clone["volumes"]:
            yield Finding("clone_unfinished", subject, "its volumes were made, and it is planned", clone["provider"])
        for volume in clone["volumes"] if clone["stage"] != "planned" else ():
            if scene.is_looked_at(clone, volume["path"]):
                seen = scene.files.get(scene.place_of(clone, volume["path"]))
                yield from _check_volume(subject, clone["provider"], volume, seen)


def _check_volume(subject: str, provider: str, volume: Body, seen: Body | None) -> t.Iterator[Finding]:
    path = volume["path"]
    if seen is None:
        yield Finding("volume_missing", subject, f"its volume {path} is gone", provider)
        return
    if "format" not in seen:
        return
    if seen["format"] is None:
        yield Finding("volume_unreadable", subject, f"its volume {path} is no image that can be read", provider)
        return
    facts = {"format": volume["format"], "virtual_bytes": volume["virtual_bytes"]}
    for key, wanted in facts.items():
        if seen[key] != wanted:
            yield Finding("volume_differs", subject, f"{key} of {path} is {seen[key]} instead of {wanted}", provider)
    base = (volume.get("backing") or {}).get("path") or ""
    if seen["backing_path"] != base:
        yield Finding(
            "volume_rebased",
            subject,
            f"{path} is based on {seen['backing_path'] or 'nothing'} instead of {base or 'nothing'}",
            provider,
        )


def check_directories(scene: Scene) -> t.Iterator[Finding]:
    """Find volumes in the places of clones that no record tells of."""
    told: set[Place] = set()
    for place, entry in sorted(scene.files.items()):
        if entry["sort"] != "volumes" or place in scene.owners or place in told:
            continue
        told.add(place)
        yield from _check_stray(scene, entry)


def _check_stray(scene: Scene, entry: Body) -> t.Iterator[Finding]:
    name, provider, path = entry["clone"], entry["provider"], entry["path"]
    clone = scene.records["clone"].get(name)
    if ("clone", name) in scene.busy:
        return
    if clone is None and scene.remembers(("clone", name)):
        remains = {"type": "directory", "path": path.rpartition("/")[0]}
        yield Finding("volume_orphaned", f"file {path}", f"clone {name} was deleted", provider, remains=remains)
    elif clone is None:
        yield Finding("volume_alien", f"file {path}", f"the catalog never had a clone {name}", provider)
    elif clone["provider"] != provider:
        yield Finding("volume_left", f"clone {name}", f"{path} is there, but it is on {clone['provider']}", provider)
    elif clone["stage"] == "planned":
        yield Finding("clone_unfinished", f"clone {name}", f"{path} is there, and it is planned", provider)
    else:
        yield Finding("volume_unknown", f"clone {name}", f"{path} is in its directory, and is not its own", provider)


def check_data(scene: Scene) -> t.Iterator[Finding]:
    """Find what is missing or wrong of the data volumes."""
    for name, volume in scene.rows("volume"):
        if volume["stage"] != "available" or not scene.is_looked_at(volume, volume["path"]):
            continue
        seen = scene.files.get(scene.place_of(volume, volume["path"]))
        if seen is None:
            yield Finding("data_missing", f"volume {name}", f"{volume['path']} is gone", volume["provider"])
        elif seen["virtual_bytes"] != volume["virtual_bytes"]:
            sizes = [format_bytes(body["virtual_bytes"]) for body in (seen, volume)]
            problem = f"{volume['path']} has {sizes[0]} instead of {sizes[1]}"
            yield Finding("data_differs", f"volume {name}", problem, volume["provider"])
    for place, entry in sorted(scene.files.items()):
        if entry["sort"] == "data" and place not in scene.owners:
            yield from _check_stray_data(scene, entry)


def _check_stray_data(scene: Scene, entry: Body) -> t.Iterator[Finding]:
    name, provider = entry["name"], entry["provider"]
    volume = scene.records["volume"].get(name)
    if ("volume", name) in scene.busy:
        return
    if volume is None:
        yield Finding("data_orphaned", f"file {entry['path']}", f"the catalog has no volume {name}", provider)
    else:
        problem = f"{entry['path']} is there, but it is on {volume['provider']}"
        yield Finding("data_left", f"volume {name}", problem, provider)


def check_masters(scene: Scene) -> t.Iterator[Finding]:
    """Find masters whose files are gone, changed, or nobody's."""
    for name, master in scene.rows("master"):
        if master["state"] == _IMPORTING:
            yield Finding("master_unfinished", f"master {name}", "its image was never published")
        elif not master["replicas"]:
            yield Finding("master_unreachable", f"master {name}", "no provider has its image")
        for replica in master["replicas"]:
            yield from _check_replica(scene, name, replica)
    known = {volume["digest"] for master in scene.records["master"].values() for volume in master["volumes"]}
    under_way = any(
        body["state"] == _IMPORTING or ("master", name) in scene.busy for name, body in scene.records["master"].items()
    )
    for _place, entry in sorted(scene.files.items()) if not under_way else ():
        if entry["sort"] == "masters" and entry["digest"] not in known:
            yield Finding("master_orphaned", f"file {entry['path']}", "no master has it", entry["provider"])


def _check_replica(scene: Scene, name: str, replica: Body) -> t.Iterator[Finding]:
    for volume in replica["volumes"].values():
        if not scene.is_looked_at(replica, volume["path"]):
            continue
        seen = scene.files.get(scene.place_of(replica, volume["path"]))
        if seen is None:
            problem = f"its image {volume['path']} is gone"
            yield Finding("master_missing", f"master {name}", problem, replica["provider"])
        elif seen["fingerprint"] != volume["fingerprint"]:
            problem = f"its image {volume['path']} was written to, or replaced, since it was published"
            yield Finding("master_changed", f"master {name}", problem, replica["provider"])


def check_staging(scene: Scene) -> t.Iterator[Finding]:
    """Find what killed runs left in the staging directories."""
    for provider, seen in sorted(scene.seen.items()):
        for entry in seen.get("staging", ()):
            remains = {"type": "staged", "path": entry["path"]}
            if entry["state"] == "left":
                problem = "a killed run left it"
                yield Finding("staging_left", f"file {entry['path']}", problem, provider, remains=remains)
            elif entry["state"] == "arrival" and not _is_awaited(scene, provider, entry):
                problem = f"{entry['kind']} {entry['name']} is not on its way here"
                yield Finding("arrival_left", f"file {entry['path']}", problem, provider, remains=remains)


def _is_awaited(scene: Scene, provider: str, entry: Body) -> bool:
    """Tell whether what arrived is on its way here, by this catalog or by one that we know nothing of."""
    if not scene.remembers(("machine" if entry["kind"] == "data" else "clone", entry["name"])):
        return True
    machines = scene.records["machine"]
    if entry["kind"] == "data":
        mine = [body for body in machines.values() if body["server"] == entry["name"]]
    else:
        clone = scene.records["clone"].get(entry["name"]) or {}
        mine = [machines[clone["machine"]]] if clone.get("machine") in machines else []
    return any(body.get("moving_to") == provider for body in mine)

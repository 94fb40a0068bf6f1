# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of a function: which is current, who needs one, which may go. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ...module_utils._core.sources import show_source
from .request import CURRENT

Body = t.Mapping[str, t.Any]
Bodies = t.Mapping[str, Body]

USABLE = ("available", "deprecated")
"""States of masters that can be cloned."""

UNPROVEN = "unproven"
"""State of a captured master that servers follow only once it is published."""

_NAMED = 5
_HARDWARE = {"arch": "x86_64", "disk_bus": "virtio", "min_cpus": 1, "min_memory_mib": 256}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What becomes of a version that is too old to be kept for its age: ``delete``, ``defer`` or ``keep``, and why."""

    name: str
    action: str
    reason: str = ""


def select_function(function: str, masters: Bodies) -> dict[str, Body]:
    """Return the masters of a function, the newest first."""
    mine = [(name, body) for name, body in masters.items() if body["function"] == function]
    return dict(sorted(mine, key=lambda one: -int(one[1]["version"])))


def choose_current(function: str, masters: Bodies, *wishes: int | None) -> int | None:
    """Return the first of the wishes that is available, else the newest available version; None without any."""
    available = [
        body["version"] for body in select_function(function, masters).values() if body["state"] == "available"
    ]
    return next((wish for wish in wishes if wish in available), max(available, default=None))


def find_current(function: str, masters: Bodies, functions: Bodies) -> int | None:
    """Return the version that servers of a function are made of unless they ask for another one."""
    return choose_current(function, masters, functions.get(function, {}).get("current"))


def list_followers(function: str, deployments: Bodies) -> list[str]:
    """Return the deployments that want the current version of a function."""
    return _list_deployments(function, CURRENT, deployments)


def describe_use(master: Body, clones: t.Sequence[str], deployments: Bodies) -> str:
    """Return who needs a master, as a clause; empty when nobody does. ``clones`` are those made of it."""
    if clones:
        return f"{name_some(clones)} {'depends' if len(clones) == 1 else 'depend'} on it"
    pins = _list_deployments(master["function"], master["version"], deployments)
    return (
        f"{name_some([f'deployment {pin}' for pin in pins])} {'asks' if len(pins) == 1 else 'ask'} for it"
        if pins
        else ""
    )


def _list_deployments(function: str, version: int | str, deployments: Bodies) -> list[str]:
    specs = {name: body.get("spec") or {} for name, body in deployments.items()}
    return sorted(
        name for name, spec in specs.items() if (spec.get("function"), spec.get("version")) == (function, version)
    )


def name_some(names: t.Sequence[str]) -> str:
    """Return the names as an enumeration that stays short."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def plan_retention(
    masters: Bodies, keep: int, *, current: int | None, declared: t.Collection[str], uses: t.Mapping[str, str]
) -> list[Verdict]:
    """Return what becomes of all but the newest ``keep`` versions of one function, the newest first.

    ``declared`` are masters that the same task declares; ``uses`` tells by name who needs one.
    """
    newest_first = sorted(
        (name for name, body in masters.items() if body["state"] in USABLE), key=lambda name: -masters[name]["version"]
    )
    return [
        _judge(name, masters[name], current, declared=declared, use=uses.get(name, "")) for name in newest_first[keep:]
    ]


def _judge(name: str, master: Body, current: int | None, *, declared: t.Collection[str], use: str) -> Verdict:
    if master["version"] == current:
        return Verdict(name, "keep", "it is the current version")
    if name in declared:
        return Verdict(name, "keep", "this task declares it")
    return Verdict(name, "defer", use) if use else Verdict(name, "delete")


def wish_hardware(entry: Body) -> dict[str, t.Any]:
    """Return what a declared master asks of a machine; without ``firmware`` where the image is to tell."""
    wished = {key: default if entry.get(key) is None else entry[key] for key, default in _HARDWARE.items()}
    return {**wished, **({"firmware": entry["firmware"]} if entry.get("firmware") else {})}


def list_images(entry: Body) -> list[dict[str, t.Any]]:
    """Return the image of each volume that a master is declared with; it boots from the first."""
    keys = ("name", "source", "format", "disk", "sha256", "signature")
    declared = entry.get("volumes") or [{**entry, "name": entry.get("volume") or "root"}]
    images = [{key: image.get(key) for key in keys} for image in declared]
    return [{**image, "sha256": str(image["sha256"] or "").lower() or None} for image in images]


def list_places(entry: Body) -> list[str]:
    """Return the paths and URLs that a master is declared to come from, those of signatures included."""
    images = list_images(entry)
    signatures = [image["signature"] for image in images if isinstance(image["signature"], t.Mapping)]
    places = [*(image["source"] for image in images), *(signature.get("file") for signature in signatures)]
    return [str(place) for place in places if place]


def list_sources(body: Body) -> list[Body]:
    """Return what each volume of a master was made of; of one that is not made yet, what the first is to be made of."""
    first = body.get("source") or {}
    return [volume.get("source") or first for volume in body["volumes"]] or [first]


def find_same(entry: Body, digests: t.Sequence[str | None], masters: Bodies) -> int | None:
    """Return the newest version of the entry's function that is these very images, declared alike; None without one.

    ``digests`` are the SHA-256 of the images. One that is not there any more (None) is known by its path. An import
    that failed is taken up again whatever it was to be.
    """
    images = list_images(entry)
    paths = [show_source(image["source"] or "") for image in images]
    for body in select_function(entry["function"], masters).values():
        sources = list_sources(body)
        if body["state"] == "importing" and not body["replicas"] and sources[0].get("path") == paths[0]:
            return int(body["version"])
        are_images = len(sources) == len(paths) and all(
            (source.get("path") == path if sha256 is None else source.get("sha256") == sha256)
            and (source.get("disk") or 1) == (image["disk"] or 1)
            for source, image, path, sha256 in zip(sources, images, paths, digests)
        )
        if are_images and body["state"] != "removing" and _is_declared_alike(entry, body):
            return int(body["version"])
    return None


def _is_declared_alike(entry: Body, body: Body) -> bool:
    hardware = body.get("hardware") or {}
    wished = all(str(hardware.get(key)) == str(value) for key, value in wish_hardware(entry).items())
    return bool(wished and body["items"] == entry["items"] and body["inputs"] == entry["inputs"])


def choose_number(function: str, masters: Bodies, functions: Bodies) -> int:
    """Return the next version of a function; a number that was ever used is not used again."""
    used = [int(body["version"]) for body in select_function(function, masters).values()]
    last = int(functions.get(function, {}).get("last") or 0)
    return 1 + max([last, *used])


Records = tuple[Bodies, Bodies]
"""Masters and functions by name."""


def describe_changes(name: str, before: Records, after: Records) -> list[str]:
    """Return in words what became of one master in the catalog."""
    was, now = before[0].get(name, {}), after[0].get(name, {})
    steps = []
    if was.get("state") in USABLE and now and was["state"] != now["state"]:
        steps.append(
            {"available": "make it available again", "deprecated": "deprecate it"}.get(now["state"], "withdraw it")
        )
    if was.get("volumes") and now and any(was[field] != now[field] for field in ("items", "inputs")):
        steps.append("change its items or inputs")
    if bool(was.get("delete_when_unused")) != bool(now.get("delete_when_unused")):
        steps.append("delete it once nobody needs it" if now.get("delete_when_unused") else "do not delete it")
    function, version = (now or was)["function"], (now or was)["version"]
    had, has = (find_current(function, *records) for records in (before, after))
    if had != has and version in (had, has):
        instead = f" in place of version {had}" if had else ""
        steps.append(f"make it current{instead}" if version == has else f"have version {has} be current in its place")
    return steps

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The customization items and inputs that a master declares, checked. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

from ...module_utils._core.customization_items import check_item
from ...module_utils._core.errors import InvalidRequest

# What each type of item needs, beside its name.
_NEEDS: t.Mapping[str, tuple[str, ...]] = {
    "file": ("path", "content"),
    "template": ("path", "content"),
    "regexp": ("path", "pattern", "replacement"),
    "firstboot": ("content",),
    "seed": ("content",),
    "delete": ("path",),
    "link": ("path", "target"),
    "mode": ("path",),
    "service": ("service", "state"),
    "kernel": (),
}
# What only some types have, and what it is by default.
_OWN_FIELDS: t.Mapping[str, t.Mapping[str, t.Any]] = {
    "delete": {"recursive": False},
    "link": {"target": None},
    "mode": {"recursive": False},
    "service": {"service": None, "state": None},
    "kernel": {"default": None, "arguments": {}, "initrd_modules": []},
}
_MAY_HAVE = ("name", "type", "volume", "path", "content", "pattern", "replacement", "mode", "owner", "group")
_COMMON = frozenset({*_MAY_HAVE, "required", "description"})
_INPUT_FIELDS = frozenset({"name", "description", "prompt", "default", "required", "secret"})

Body = t.Mapping[str, t.Any]


def parse_items(subject: str, declared: t.Sequence[Body]) -> list[dict[str, t.Any]]:
    """Return the items with every field present; refuse what cannot be carried out."""
    names: set[str] = set()
    items = []
    for number, entry in enumerate(declared, 1):
        name = entry.get("name") or f"number {number}"
        where = f"{subject}, item {name}"
        _check_fields(where, entry, {*_COMMON, *_OWN_FIELDS.get(str(entry.get("type")), ())}, names)
        if entry.get("type") not in _NEEDS:
            raise InvalidRequest(where, f"its type is {entry.get('type')!r}, not one of {', '.join(_NEEDS)}")
        missing = [field for field in _NEEDS[entry["type"]] if entry.get(field) is None]
        if missing:
            raise InvalidRequest(where, f"an item of type {entry['type']} needs {missing[0]}")
        _check_texts(where, entry)
        if entry["type"] in _OWN_FIELDS:
            check_item(where, entry)
        items.append({**_defaults(entry), **{key: value for key, value in entry.items() if value is not None}})
    return items


def parse_inputs(subject: str, declared: t.Sequence[Body]) -> list[dict[str, t.Any]]:
    """Return the inputs with every field present; a secret input has no default, for it would be stored."""
    names: set[str] = set()
    inputs = []
    for number, entry in enumerate(declared, 1):
        where = f"{subject}, input {entry.get('name') or f'number {number}'}"
        _check_fields(where, entry, _INPUT_FIELDS, names)
        if not re.fullmatch(r"[A-Za-z_]\w*", str(entry["name"])):
            raise InvalidRequest(where, "its name is no variable name")
        if entry.get("secret") and entry.get("default") is not None:
            raise InvalidRequest(where, "a secret input cannot have a default, for it would be stored in the catalog")
        base = {"description": "", "prompt": "", "default": None, "required": False, "secret": False}
        inputs.append({**base, **{key: value for key, value in entry.items() if value is not None}})
    return inputs


def _defaults(entry: Body) -> dict[str, t.Any]:
    mode = "0755" if entry["type"] == "firstboot" else None
    common = {"volume": "auto", "mode": mode, "owner": None, "group": None, "required": True, "description": ""}
    return {**common, **_OWN_FIELDS.get(entry["type"], {})}


def _check_fields(where: str, entry: Body, known: t.Collection[str], names: set[str]) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise InvalidRequest(
            where, f"it has no field {unknown[0]}", remedy=f"Its fields are {', '.join(sorted(known))}."
        )
    if not entry.get("name"):
        raise InvalidRequest(where, "it has no name")
    if entry["name"] in names:
        raise InvalidRequest(where, "its name is there twice")
    names.add(entry["name"])


def _check_texts(where: str, entry: Body) -> None:
    path = entry.get("path")
    if path is not None and not str(path).startswith("/"):
        raise InvalidRequest(where, f"its path {path!r} is not absolute")
    if entry.get("pattern") is not None:
        try:
            re.compile(str(entry["pattern"]))
        except re.error as exc:
            raise InvalidRequest(where, f"its pattern is no regular expression: {exc}") from exc
    if entry.get("mode") is not None and not re.fullmatch(r"[0-7]{3,4}", str(entry["mode"])):
        raise InvalidRequest(where, f"its mode is {entry['mode']!r}", remedy="Write it in quotes, like '0644'.")

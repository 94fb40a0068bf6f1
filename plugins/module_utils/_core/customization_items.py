# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Customization items, and what each changes in a guest. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from .errors import InvalidRequest
from .firstboot import plan_firstboot
from .guest_changes import Change, SetContent, Substitute
from .identity import is_reserved

FILE, TEMPLATE, REGEXP, FIRSTBOOT, SEED = ITEM_TYPES = ("file", "template", "regexp", "firstboot", "seed")
_WITH_PATH = (FILE, TEMPLATE, REGEXP)
_WITH_CONTENT = (FILE, TEMPLATE, FIRSTBOOT)


@dataclasses.dataclass(frozen=True)
class Item:
    """One item, its text rendered. ``digest`` covers what of it may be recorded."""

    name: str
    type: str
    digest: str = ""
    path: str = ""
    content: str = dataclasses.field(default="", repr=False)
    pattern: str = ""
    replacement: str = dataclasses.field(default="", repr=False)
    mode: t.Optional[int] = None
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None
    required: bool = True
    secret: bool = False


@dataclasses.dataclass(frozen=True)
class Seed:
    """The files of a NoCloud disk; empty ones are left out."""

    meta_data: str
    user_data: str = dataclasses.field(repr=False)
    network_config: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The files by name."""
        named = {"meta-data": self.meta_data, "user-data": self.user_data, "network-config": self.network_config}
        return {name: text for name, text in named.items() if text or name != "network-config"}

    @property
    def digest(self) -> str:
        """What tells one seed from another. Kept only beside the disk itself, which holds the seed in the clear."""
        return _digest(self.files)


def parse_item(clone: str, params: t.Mapping[str, t.Any], volumes: t.Collection[str]) -> Item:
    """Return an item from a module's parameters; raises :class:`InvalidRequest` for one that could not be applied."""
    subject = f"clone {clone}: customization item {params['name']}"
    _check_secrecy(subject, params)
    content = params.get("secret_content") if params.get("secret") else params.get("content")
    replacement = params.get("secret_replacement") if params.get("secret") else params.get("replacement")
    item = Item(
        name=params["name"],
        type=params["type"],
        path=params.get("path") or "",
        content=content or "",
        pattern=params.get("pattern") or "",
        replacement=replacement or "",
        mode=_parse_mode(subject, params.get("mode")),
        uid=params.get("owner"),
        gid=params.get("group"),
        required=params.get("required") is not False,
        secret=bool(params.get("secret")),
    )
    if item.type in _WITH_CONTENT and content is None:
        raise InvalidRequest(subject, f"an item of type {item.type} needs content", remedy="Give it one.")
    _check_volume(subject, params.get("volume") or "auto", volumes)
    _check_path(subject, item)
    _check_pattern(subject, item)
    return dataclasses.replace(item, digest=params.get("digest") or digest_item(item))


def digest_item(item: Item) -> str:
    """Return what tells an item from another; of a secret one the text is left out, for a digest could give it away."""
    fields = dataclasses.asdict(dataclasses.replace(item, digest=""))
    if item.secret:
        fields.update(content=None, replacement=None)
    return _digest(fields)


def plan_item_changes(
    clone: str, item: Item, position: int, *, starter: str | None, survey: t.Collection[str]
) -> dict[str, Change]:
    """Return what an item changes, by path; ``position`` is its place among the items, ``path`` already resolved."""
    subject = f"clone {clone}: customization item {item.name}"
    if item.type in (FILE, TEMPLATE):
        return {item.path: SetContent(item.content.encode(), item.mode, item.uid, item.gid)}
    if item.type == REGEXP:
        return {
            item.path: Substitute(
                subject, item.path, item.pattern, item.replacement, item.required, item.mode, item.uid, item.gid
            )
        }
    if item.type == FIRSTBOOT and starter is not None:
        script = f"{position:04d}-{re.sub('[^A-Za-z0-9_-]', '_', item.name)}"
        return plan_firstboot(script, item.content.encode(), starter=starter, survey=survey)
    return {}


def _digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_secrecy(subject: str, params: t.Mapping[str, t.Any]) -> None:
    given = [name for name in ("content", "replacement") if params.get(name) is not None]
    if params.get("secret") and given and params["type"] != SEED:
        raise InvalidRequest(
            subject,
            f"it is marked secret, but its {given[0]} was given in the open",
            remedy=f"Give it as secret_{given[0]}.",
        )


def _parse_mode(subject: str, mode: str | None) -> int | None:
    if mode is None or mode == "":
        return None
    if not re.fullmatch("[0-7]{3,4}", mode):
        raise InvalidRequest(subject, f"{mode!r} is no mode", remedy="Give it in octal and in quotes, like '0644'.")
    return int(mode, 8)


def _check_volume(subject: str, volume: str, volumes: t.Collection[str]) -> None:
    if volume != "auto" and volume not in volumes:
        raise InvalidRequest(subject, f"the clone has no volume {volume}", remedy=f"Use auto or {', '.join(volumes)}.")


def _check_path(subject: str, item: Item) -> None:
    if item.type not in _WITH_PATH:
        return
    parts = item.path.split("/")[1:]
    is_clean = item.path.startswith("/") and "\0" not in item.path and not {"", ".", ".."}.intersection(parts)
    if not is_clean:
        raise InvalidRequest(
            subject, f"its path {item.path!r} is not an absolute path of a file", remedy="Give it like /etc/motd."
        )
    refuse_reserved(subject, item.path)


def refuse_reserved(subject: str, path: str) -> None:
    """Refuse an item that would write what makes the clone somebody."""
    if is_reserved(path):
        raise InvalidRequest(
            subject, f"{path} belongs to the clone's identity", remedy="Leave it to encompass.images, which sets it."
        )


def _check_pattern(subject: str, item: Item) -> None:
    if item.type != REGEXP:
        return
    if not item.pattern:
        raise InvalidRequest(subject, "an item of type regexp needs a pattern", remedy="Give it one.")
    try:
        re.compile(item.pattern, re.MULTILINE)
    except re.error as exc:
        raise InvalidRequest(subject, f"its pattern {item.pattern!r} is no regular expression: {exc}") from exc

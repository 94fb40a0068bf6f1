# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Customization items, as a master declares them and a module is given them. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from .boot_loaders import Arguments
from .errors import InvalidRequest
from .identity import is_reserved
from .kernel_items import KernelSettings
from .services import STATES

FILE, TEMPLATE, REGEXP, FIRSTBOOT, SEED, DELETE, LINK, MODE, SERVICE, KERNEL = ITEM_TYPES = (
    "file",
    "template",
    "regexp",
    "firstboot",
    "seed",
    "delete",
    "link",
    "mode",
    "service",
    "kernel",
)
_WITH_PATH = (FILE, TEMPLATE, REGEXP, DELETE, LINK, MODE)
WITH_CONTENT = (FILE, TEMPLATE, FIRSTBOOT)

# Where items write that name no path; what exactly is known when the guest is opened.
_REALMS: t.Mapping[str, tuple[str, ...]] = {
    FIRSTBOOT: ("/etc/encompass",),
    SERVICE: ("/etc/systemd/system", "/etc/init.d"),
    KERNEL: ("/boot", "/etc/default/grub"),
}


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
    target: str = ""
    recursive: bool = False
    service: str = ""
    state: str = ""
    kernel: KernelSettings = dataclasses.field(default_factory=KernelSettings)

    @property
    def places(self) -> tuple[str, ...]:
        """Where it writes, as far as that is known before the guest is opened."""
        return (self.path,) if self.path else _REALMS.get(self.type, ())


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
    item = _read_item(subject, params)
    _check_volume(subject, params.get("volume") or "auto", volumes)
    return dataclasses.replace(item, digest=params.get("digest") or digest_item(item))


def check_item(subject: str, params: t.Mapping[str, t.Any]) -> None:
    """Refuse an item, its texts not rendered yet, that could never be applied."""
    _read_item(subject, params)


def _read_item(subject: str, params: t.Mapping[str, t.Any]) -> Item:
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
        target=params.get("target") or "",
        recursive=bool(params.get("recursive")),
        service=params.get("service") or "",
        state=params.get("state") or "",
        kernel=_parse_kernel(params),
    )
    if item.type in WITH_CONTENT and content is None:
        raise InvalidRequest(subject, f"an item of type {item.type} needs content", remedy="Give it one.")
    _check_type(subject, item)
    _check_path(subject, item)
    _check_pattern(subject, item)
    return item


def digest_item(item: Item) -> str:
    """Return what tells an item from another; of a secret one the text is left out, for a digest could give it away."""
    fields = dataclasses.asdict(dataclasses.replace(item, digest=""))
    if item.secret:
        fields.update(content=None, replacement=None)
    return _digest(fields)


def _parse_kernel(params: t.Mapping[str, t.Any]) -> KernelSettings:
    arguments = params.get("arguments") or {}
    return KernelSettings(
        params.get("default") or "",
        Arguments(tuple(arguments.get("add") or ()), tuple(arguments.get("remove") or ())),
        tuple(params.get("initrd_modules") or ()),
    )


def _check_type(subject: str, item: Item) -> None:
    """Refuse an item that lacks what its type needs."""
    needs = {
        LINK: ("a target", bool(item.target) and "\0" not in item.target),
        MODE: ("a mode, an owner or a group", (item.mode, item.uid, item.gid) != (None, None, None)),
        SERVICE: ("a service", re.fullmatch(r"[A-Za-z0-9@:_.\\-]+", item.service) is not None),
        KERNEL: ("default, arguments or initrd_modules", item.kernel != KernelSettings()),
    }
    what, has_it = needs.get(item.type, ("", True))
    if not has_it:
        raise InvalidRequest(subject, f"an item of type {item.type} needs {what}", remedy="Give it one.")
    if item.type == SERVICE and item.state not in STATES:
        raise InvalidRequest(subject, f"its state is {item.state!r}", remedy=f"Give one of {', '.join(STATES)}.")
    _check_words(subject, item.kernel)


def _check_words(subject: str, kernel: KernelSettings) -> None:
    """Refuse words that would be more than one, or something else, to a boot loader, a shell or a tool."""
    words = [(word, r"[!#%-&(-\[\]-_a-~]+") for word in (*kernel.arguments.add, *kernel.arguments.remove)]
    words += [(module, "[A-Za-z0-9_][A-Za-z0-9_-]*") for module in kernel.initrd_modules]
    for word, pattern in words:
        if not re.fullmatch(pattern, word):
            raise InvalidRequest(subject, f"{word!r} cannot be one of its words", remedy="Leave out quotes and spaces.")


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

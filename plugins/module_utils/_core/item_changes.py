# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each type of customization item changes in a guest. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .customization_items import (
    DELETE,
    FILE,
    FIRSTBOOT,
    KERNEL,
    LINK,
    MODE,
    REGEXP,
    SERVICE,
    TEMPLATE,
    Item,
    refuse_reserved,
)
from .errors import InvalidRequest, NotFound, Unsupported
from .firstboot import choose_starter, plan_firstboot
from .guest_changes import Change, MakeLink, Remove, SetAttributes, SetContent, Substitute
from .guest_draft import Draft, require_place
from .guest_files import ABSENT, DIRECTORY, OTHER
from .kernel_items import Rebuild, plan_kernel
from .services import plan_service

MOST_IN_TREE = 5000
"""Files below a directory that one item may change: each is kept for the way back, and costs some milliseconds."""


@dataclasses.dataclass(frozen=True)
class ItemPlan:
    """An item's changes by path, where its links lead; ``starter`` is what starts a firstboot item."""

    changes: t.Mapping[str, Change] = dataclasses.field(default_factory=dict)
    starter: t.Optional[str] = None
    rebuilds: tuple[Rebuild, ...] = ()


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What an item's changes depend on beside the guest's files.

    ``survey`` is what firstboot.SURVEY finds in the image; ``rank`` is the item's place among the firstboot items.
    """

    clone: str
    mountpoints: tuple[str, ...] = ("/",)
    survey: t.Collection[str] = ()
    rank: int = 0

    def name(self, item: Item) -> str:
        """Return the item as errors name it."""
        return f"clone {self.clone}: customization item {item.name}"


def plan_item(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    """Return what an item changes; raises what tells why it cannot be applied."""
    planner = _PLANNERS.get(item.type)
    if planner is None:
        return ItemPlan()
    try:
        plan = planner(item, draft, around)
    except NotFound:
        if item.required:
            raise
        return ItemPlan()
    for path in plan.changes:
        refuse_reserved(around.name(item), path)
    return plan


def _plan_content(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    path = require_place(draft, around.name(item), item.path)
    return ItemPlan({path: SetContent(item.content.encode(), item.mode, item.uid, item.gid)})


def _plan_regexp(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    subject = around.name(item)
    path = require_place(draft, subject, item.path)
    change = Substitute(subject, path, item.pattern, item.replacement, item.required, item.mode, item.uid, item.gid)
    return ItemPlan({path: change})


def _plan_firstboot(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    starter = choose_starter(around.name(item), around.survey)
    script = f"{around.rank:04d}-{re.sub('[^A-Za-z0-9_-]', '_', item.name)}"
    planned = plan_firstboot(script, item.content.encode(), starter=starter, survey=around.survey)
    changes = {
        draft.resolve(path, follow=not isinstance(change, MakeLink)) or path: change for path, change in planned.items()
    }
    return ItemPlan(changes, starter)


def _plan_delete(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    """Plan it deepest first; what is not there is as it is wanted."""
    path = draft.resolve(item.path, follow=False)
    kind = draft.look(path)[0] if path is not None else ABSENT
    if path is None or kind == ABSENT:
        return ItemPlan()
    below = _list_tree(item, path, draft, around) if kind == DIRECTORY else []
    if kind == DIRECTORY and not item.recursive:
        raise InvalidRequest(
            around.name(item), f"{path} inside the guest is a directory", remedy="Give the item recursive: true."
        )
    return ItemPlan({place: Remove() for place in (*reversed(below), path)})


def _plan_link(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    path = require_place(draft, around.name(item), item.path, follow=False)
    return ItemPlan({path: MakeLink(item.target)})


def _plan_mode(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    path = require_place(draft, around.name(item), item.path)
    kind = draft.look(path)[0]
    if kind == ABSENT:
        raise NotFound(
            around.name(item), f"{path} is not there", remedy="Correct the path, or give the item required: false."
        )
    places = [path]
    if item.recursive and kind == DIRECTORY:
        places += [place for place in _list_tree(item, path, draft, around) if draft.look(place)[0] != OTHER]
    return ItemPlan({place: SetAttributes(item.mode, item.uid, item.gid, item.recursive) for place in places})


def _plan_service(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    return ItemPlan(plan_service(around.name(item), item.service, item.state, draft))


def _plan_kernel(item: Item, draft: Draft, around: Surroundings) -> ItemPlan:
    changes, rebuilds = plan_kernel(around.name(item), item.kernel, draft)
    # An initrd that is made anew is kept for the way back; what it becomes is known only then.
    noted = {path: SetAttributes() for rebuild in rebuilds for path in (rebuild.settings, rebuild.path)}
    return ItemPlan({**noted, **changes}, None, rebuilds)


def _list_tree(item: Item, path: str, draft: Draft, around: Surroundings) -> list[str]:
    """Return what is below a directory, in order."""
    subject = around.name(item)
    mounted = [place for place in around.mountpoints if place == path or place.startswith(f"{path}/")]
    if mounted and item.type == DELETE:
        raise Unsupported(subject, f"{mounted[0]} is a file system of its own", remedy="Delete what is in it.")
    below = draft.list_below(path)
    if len(below) > MOST_IN_TREE:
        raise Unsupported(
            subject,
            f"{path} holds {len(below)} files and directories; an item changes {MOST_IN_TREE} at most",
            remedy="Do this in the image of the master.",
        )
    return below


_PLANNERS: t.Mapping[str, t.Callable[[Item, Draft, Surroundings], ItemPlan]] = {
    FILE: _plan_content,
    TEMPLATE: _plan_content,
    REGEXP: _plan_regexp,
    FIRSTBOOT: _plan_firstboot,
    DELETE: _plan_delete,
    LINK: _plan_link,
    MODE: _plan_mode,
    SERVICE: _plan_service,
    KERNEL: _plan_kernel,
}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services enabled, disabled and masked by links, as systemctl and update-rc.d make them. Pure; private.

Units are systemd.unit(5)'s; services without one are scripts of /etc/init.d, started by links of the run levels (LSB,
as update-rc.d makes them) or of /etc/runlevels (OpenRC).
"""

from __future__ import annotations

import re
import typing as t

from .errors import InvalidRequest, NotFound, Unsupported
from .guest_changes import Change, MakeDirectory, MakeLink, Remove
from .guest_draft import Draft
from .guest_files import ABSENT, FILE, LINK

ENABLED, DISABLED, MASKED = STATES = ("enabled", "disabled", "masked")

_OWN = "/etc/systemd/system"
_HOMES = (_OWN, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_NOWHERE = "/dev/null"
_SUFFIXES = ("service", "socket", "timer", "path", "mount", "automount", "swap", "target", "slice")
_START, _STOP = 20, 80  # update-rc.d's places in the order of a run level

Changes = dict[str, Change]


def plan_service(subject: str, name: str, state: str, draft: Draft) -> Changes:
    """Return the changes that enable, disable or mask a service; raises :class:`NotFound` for one that is not there."""
    unit = name if name.rpartition(".")[2] in _SUFFIXES else f"{name}.service"
    path = find_unit(unit, draft)
    if path is not None:
        if state == MASKED:
            return _mask(subject, unit, path)
        return (_enable if state == ENABLED else _disable)(subject, unit, path, draft)
    if draft.look(draft.resolve(f"/etc/init.d/{name}") or "/etc/init.d/.")[0] != FILE:
        raise NotFound(
            subject,
            f"the image has no unit {unit} and no /etc/init.d/{name}",
            remedy="Correct the service, or give the item required: false. The clone is unchanged.",
        )
    if state == MASKED:
        raise Unsupported(
            subject, f"{name} is a script of /etc/init.d, which cannot be masked", remedy="Give it state: disabled."
        )
    if "/etc/runlevels/default/" in draft.list_existing(["/etc/runlevels/default"]):
        return _link_openrc(name, draft, is_enabled=state == ENABLED)
    return _link_run_levels(subject, name, draft, is_enabled=state == ENABLED)


def find_unit(unit: str, draft: Draft) -> str | None:
    """Return where the file of a unit, or of its template, is; a unit that is masked is looked for below the mask."""
    template = re.sub(r"@[^.]*\.", "@.", unit)
    for name in dict.fromkeys((unit, template)):
        for home in _HOMES:
            real = draft.resolve(f"{home}/{name}", follow=False)
            if real is None or draft.look(real) in ((ABSENT, ""), (LINK, _NOWHERE)):
                continue
            followed = draft.resolve(real)
            if followed is not None and draft.look(followed)[0] == FILE:
                return f"{home}/{name}"
    return None


def parse_install(text: str) -> dict[str, list[str]]:
    """Return the words of each setting of a unit's [Install] section."""
    settings: dict[str, list[str]] = {}
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = line.strip()
        if words.startswith("["):
            section = words
        elif section == "[Install]" and "=" in words and words[0] not in "#;":
            key, _equals, value = words.partition("=")
            known = settings.setdefault(key.strip(), [])
            known.extend(value.split())
            if not value.strip():
                known.clear()  # an empty value takes back those before it
    return settings


def _enable(subject: str, unit: str, path: str, draft: Draft, *, seen: frozenset[str] = frozenset()) -> Changes:
    settings = parse_install(draft.read_text(path) or "")
    default = settings.get("DefaultInstance")
    if "@." in unit and default:
        unit = unit.replace("@.", f"@{default[0]}.")
    if "@." in unit and not seen:
        raise InvalidRequest(subject, f"{unit} is a template", remedy="Name an instance of it, like getty@tty1.")
    changes: Changes = _unmask(unit, draft)
    folders = [(word, "wants") for word in settings.get("WantedBy", ())]
    folders += [(word, "requires") for word in settings.get("RequiredBy", ())]
    for target, kind in folders:
        folder = f"{_OWN}/{_expand(target, unit)}.{kind}"
        if draft.look(folder)[0] == ABSENT:
            changes[folder] = MakeDirectory()
        changes[f"{folder}/{unit}"] = MakeLink(path)
    for alias in settings.get("Alias", ()):
        changes[f"{_OWN}/{_expand(alias, unit)}"] = MakeLink(path)
    if not (folders or settings.get("Alias") or settings.get("Also") or seen):
        raise InvalidRequest(
            subject,
            f"{unit} cannot be enabled: it has no [Install] section with WantedBy, RequiredBy or Alias",
            remedy="systemd starts it only when another unit asks for it: enable that one.",
        )
    for other, place in _find_companions(unit, settings, draft, seen):
        changes.update(_enable(subject, other, place, draft, seen=seen | {unit}))
    return changes


def _disable(_subject: str, unit: str, path: str, draft: Draft, *, seen: frozenset[str] = frozenset()) -> Changes:
    settings = parse_install(draft.read_text(path) or "")
    changes: Changes = _unmask(unit, draft)
    name = re.sub(r"@\.", "@*.", unit)
    links = draft.list_existing([f"{_OWN}/*.wants/{name}", f"{_OWN}/*.requires/{name}"])
    links += [f"{_OWN}/{_expand(alias, unit)}" for alias in settings.get("Alias", ())]
    changes.update({link: Remove() for link in links if draft.look(link)[0] == LINK})
    for other, place in _find_companions(unit, settings, draft, seen):
        changes.update(_disable(_subject, other, place, draft, seen=seen | {unit}))
    return changes


def _mask(subject: str, unit: str, path: str) -> Changes:
    if path.startswith(f"{_OWN}/"):
        raise Unsupported(
            subject,
            f"{unit} cannot be masked, for its own file is in {_OWN}",
            remedy="Disable it, or delete the file by an item of type delete.",
        )
    return {f"{_OWN}/{unit}": MakeLink(_NOWHERE)}


def _unmask(unit: str, draft: Draft) -> Changes:
    mask = f"{_OWN}/{unit}"
    return {mask: Remove()} if draft.look(mask) == (LINK, _NOWHERE) else {}


def _find_companions(
    unit: str, settings: t.Mapping[str, list[str]], draft: Draft, seen: frozenset[str]
) -> list[tuple[str, str]]:
    """Return the units that are enabled and disabled together with this one, and where they are."""
    others = [(other, find_unit(other, draft)) for other in settings.get("Also", ()) if other not in {*seen, unit}]
    return [(other, place) for other, place in others if place is not None]


def _expand(word: str, unit: str) -> str:
    """Return a word of a unit file with the specifiers that name the unit."""
    prefix, _at, instance = unit.rpartition(".")[0].partition("@")
    for specifier, value in (("%i", instance), ("%p", prefix), ("%n", unit), ("%N", unit.rpartition(".")[0])):
        word = word.replace(specifier, value)
    return word


def _link_openrc(name: str, draft: Draft, *, is_enabled: bool) -> Changes:
    if is_enabled:
        return {f"/etc/runlevels/default/{name}": MakeLink(f"/etc/init.d/{name}")}
    return {place: Remove() for place in draft.list_existing([f"/etc/runlevels/*/{name}"])}


def _link_run_levels(subject: str, name: str, draft: Draft, *, is_enabled: bool) -> Changes:
    levels = {path[-4] for path in draft.list_existing(["/etc/rc[0-6S].d"]) if path.endswith(".d/")}
    if not levels:
        raise Unsupported(
            subject,
            f"the image has /etc/init.d/{name}, but no run levels (/etc/rc2.d) whose links would start it",
            remedy="Start it from what its init reads, by an item of type file or regexp.",
        )
    header = draft.read_text(f"/etc/init.d/{name}") or ""
    starts = _read_levels(header, "Default-Start", "2345")
    stops = _read_levels(header, "Default-Stop", "016")
    found = draft.list_existing([f"/etc/rc[0-6S].d/[SK][0-9][0-9]{name}"])
    numbers = [int(path.rpartition("/")[2][1:3]) for path in found if "/S" in path]
    start = numbers[0] if numbers else _START
    stop = _STOP if start == _START else 100 - start
    changes: Changes = {path: Remove() for path in found}
    for level in sorted(levels & {*starts, *stops}):
        letter = f"S{start:02}" if is_enabled and level in starts else f"K{min(stop, 99):02}"
        changes[f"/etc/rc{level}.d/{letter}{name}"] = MakeLink(f"../init.d/{name}")
    return changes


def _read_levels(header: str, field: str, default: str) -> str:
    found = re.search(rf"^#\s*{field}:(.*)$", header, re.MULTILINE)
    return "".join(found[1].split()) if found else default

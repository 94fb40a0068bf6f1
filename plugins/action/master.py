# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep masters in the library."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError

from ..module_utils._core.errors import InvalidRequest
from ..module_utils._core.sources import refuse_user, show_source
from ..plugin_utils._actions.library import find_replica, name_of
from ..plugin_utils._actions.library_action import LibraryAction
from ..plugin_utils._actions.verb import require_pool
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._planning.declared_items import parse_inputs, parse_items
from ..plugin_utils._planning.versions import find_current, list_images, list_places

# For the catalog alone: what a master asks for is the same wherever its volumes are.
_CATALOG_OPTIONS = ("items", "inputs", "pool", "current")

# What a master of one volume tells of it itself; the module is given a list in any case.
_IMAGE_OPTIONS = ("volume", "source", "format", "disk", "sha256", "signature")


class ActionModule(LibraryAction):
    """Imports masters on one provider and registers them; takes them out of service, and deletes them.

    Several providers may import one master at the same time: what a provider does is known by its content's digest,
    so nobody needs a lease; the registration is one transaction, which refuses a different content.
    """

    def perform(self) -> dict[str, t.Any]:
        """Bring the masters to the state asked for; then delete what has been waiting for its last clone."""
        state = str(self._task.args.get("state", "present"))
        work = {"present": self._publish, "available": self._mark, "deprecated": self._mark, "absent": self._remove}
        if state not in work:
            raise InvalidRequest("option state", f"it is {state!r}, not one of {', '.join(work)}")
        given = {
            ("keep", "present"): self.read_keep() is not None,
            ("when_unused", "absent"): self.read_bool("when_unused", self._task.args.get("when_unused")),
        }
        for (option, only), is_given in given.items():
            if is_given and state != only:
                raise InvalidRequest(f"option {option}", f"it does nothing with state {state}, only with {only}")
        entries = [self._read_entry(entry, is_new=state == "present") for entry in self.get_list("masters")]
        self._refuse_two_wishes(entries)
        result = work[state](entries)
        self.sweep()
        return self.conclude(result)

    def _read_entry(self, entry: Body, *, is_new: bool) -> Body:
        function, version = entry.get("function"), entry.get("version")
        if not function or not ((is_new and version in (None, "")) or (str(version).isdigit() and int(version or 0))):
            raise InvalidRequest(
                "master",
                f"it is declared as function {function!r}, version {version!r}",
                remedy="Give its function and its version; only a new one may go without a version.",
            )
        beside = [option for option in _IMAGE_OPTIONS if entry.get(option)]
        if entry.get("volumes") and beside:
            raise InvalidRequest(
                f"master of {function}", f"both {beside[0]} and volumes are given", remedy="Say it of each volume."
            )
        for place in list_places(entry):
            refuse_user(f"master of {function}", place)
        current = self.read_bool("current", entry.get("current"))
        read = {"function": str(function), "version": int(version) if version else None, "current": current}
        return {**entry, **read, "pool": entry.get("pool") or "default"}

    def _refuse_two_wishes(self, entries: t.Sequence[Body]) -> None:
        wishes: dict[str, t.Any] = {}
        for entry in entries:
            sources = [show_source(str(image["source"])) for image in list_images(entry)]
            wish = entry["version"] or f"of {', '.join(sources)}"
            if entry["current"] and wishes.setdefault(entry["function"], wish) != wish:
                raise InvalidRequest(
                    f"function {entry['function']}",
                    f"versions {wishes[entry['function']]} and {wish} are both said to be current",
                    remedy="Only one can be.",
                )

    # Adding

    def _publish(self, entries: list[Body]) -> dict[str, t.Any]:
        keep = self.read_keep()
        with self.catalog.transaction() as tx:
            before = self.open_library(tx).records
        declared, items = self._begin([self._declare(entry) for entry in entries])
        result = self.run_module("present", items) if items else {}
        done = [answer for answer in result.get("objects", ()) if not answer["failed"]]
        wishes = {entry["function"]: entry["version"] for entry in declared.values() if entry["current"]}
        for answer in done:
            with self.library() as library:
                entry = declared[answer["name"]]
                library.register(answer["name"], entry, answer["record"], wish=wishes.get(entry["function"]))
        with self.library() as library:
            if keep is not None and not result.get("failed"):
                for function in sorted({entry["function"] for entry in declared.values()}):
                    self.verdicts += library.retain(function, keep, declared)
            for answer in done:
                library.complete_answer(answer, before)
        return result

    def _declare(self, entry: Body) -> Body:
        version = f" version {entry['version']}" if entry["version"] else ""
        subject = f"master {entry['function']}{version}"
        items = [self._read_source(subject, item) for item in entry.get("items") or []]
        inputs = parse_inputs(subject, entry.get("inputs") or [])
        return {**entry, "items": parse_items(subject, items), "inputs": inputs}

    def _read_source(self, subject: str, item: Body) -> Body:
        """Return the item with the text of the controller's file that its ``src`` names as its content."""
        if item.get("src") is None:
            return item
        if item.get("content") is not None:
            raise InvalidRequest(f"{subject}, item {item.get('name')}", "it has both content and src")
        folder = "templates" if item.get("type") in ("template", "seed", "firstboot") else "files"
        try:
            content = Path(self._find_needle(folder, item["src"])).read_text(encoding="utf-8")
        except (AnsibleError, OSError, UnicodeError) as exc:
            problem = f"its src {item['src']} cannot be read on the controller: {exc}"
            raise InvalidRequest(f"{subject}, item {item.get('name')}", problem) from exc
        return {**{key: value for key, value in item.items() if key != "src"}, "content": content}

    def _begin(self, entries: list[Body]) -> tuple[dict[str, Body], list[Body]]:
        """Write the masters down before anything of them is made; return them by name, and the module's items."""
        digests = self._read_digests(entries)
        declared: dict[str, Body] = {}
        items = []
        with self.catalog.transaction() as tx:
            library = self.open_library(tx)
            for entry in entries:
                known = [image["sha256"] or digests.get(str(image["source"])) for image in list_images(entry)]
                if entry["version"] is None:
                    entry["version"] = library.number(entry, known)
                name = name_of(entry)
                if name in declared:
                    raise InvalidRequest(f"master {name}", "it is declared twice", remedy="Declare it once.")
                declared[name] = entry
                body = library.begin_import(name, entry, known[0])
                items.append(self._complete(name, body, entry, library.pool(entry["pool"])))
        return declared, items

    def _read_digests(self, entries: list[Body]) -> dict[str, str | None]:
        """Return the SHA-256 of the sources that have to tell which version they are; None for one that is gone."""
        unknown = {
            str(image["source"]): {
                "function": entry["function"],
                "source": image["source"],
                "format": image["format"],
                "pool_path": require_pool(self.catalog, self.host, entry["pool"])["path"],
            }
            for entry in entries
            for image in list_images(entry)
            if entry["version"] is None and image["source"] and not image["sha256"]
        }
        if not unknown:
            return {}
        result = self.run_module("hashed", list(unknown.values()))
        if "objects" not in result:
            raise InvalidRequest("master", str(result.get("msg") or "its source could not be looked at"))
        for answer in result["objects"]:
            if answer["failed"]:
                raise InvalidRequest(answer["subject"], answer["problem"], remedy=answer["remedy"])
        return {answer["name"]: answer["record"]["sha256"] for answer in result["objects"]}

    def _complete(self, name: str, body: Body, entry: Body, pool: Body) -> Body:
        item = {key: value for key, value in entry.items() if key not in (*_CATALOG_OPTIONS, *_IMAGE_OPTIONS)}
        item.update(name=name, pool_path=pool["path"], volumes=list_images(entry))
        if body["volumes"]:
            replica = find_replica(body, self.host, pool)
            places = replica["volumes"] if replica is not None else {}
            images = self._match_images(name, body, entry)
            item["inspect"] = False  # what is inside is known already
            item["volumes"] = [
                {**image, "name": volume["name"], "digest": volume["digest"], **_select_seen(places, volume)}
                for image, volume in zip(images, body["volumes"])
            ]
        return item

    def _match_images(self, name: str, body: Body, entry: Body) -> list[Body]:
        """Return the image that is declared for each volume that is registered; one that is there needs none."""
        images, volumes = list_images(entry), [volume["name"] for volume in body["volumes"]]
        if not entry.get("volumes") and not entry.get("source"):
            return [{"sha256": entry.get("sha256")} for _volume in volumes]
        if len(volumes) != len(images) or (len(volumes) > 1 and volumes != [image["name"] for image in images]):
            raise InvalidRequest(
                f"master {name}",
                f"its volumes are {', '.join(volumes)}, not {', '.join(str(image['name']) for image in images)}",
                remedy="A version never changes: give the images the next version.",
            )
        return images

    # Taking out of service

    def _mark(self, entries: list[Body]) -> dict[str, t.Any]:
        """Deprecate masters, or take that back; nothing happens on the provider."""
        verb = {"available": "restore", "deprecated": "deprecate"}[self._task.args["state"]]
        wishes = {entry["function"]: entry["version"] for entry in entries if entry["current"]}
        if wishes and verb == "deprecate":
            raise InvalidRequest("option current", "a deprecated version cannot be current")
        with self.library() as library:
            before = library.records
            for entry in entries:
                (library.restore if verb == "restore" else library.deprecate)(name_of(entry))
            for function in {entry["function"] for entry in entries}:
                library.settle_loss(function, wishes.get(function), find_current(function, *before), verb=verb)
            return {"objects": [library.report(name_of(entry), before) for entry in entries]}

    # Deleting

    def _remove(self, entries: list[Body]) -> dict[str, t.Any]:
        """Delete masters from this provider; from the first step on nobody clones them any more.

        Several providers may do this at the same time. What is in use is left to ``sweep`` where that is asked for.
        """
        is_patient = bool(self.read_bool("when_unused", self._task.args.get("when_unused")))
        with self.library() as library:
            before = library.records
            known = {name_of(entry): entry for entry in entries if name_of(entry) in library.masters}
            departures = []
            for name, entry in known.items():
                if is_patient and library.masters[name]["replicas"]:
                    library.defer(name)
                else:
                    library.refuse_used(name)
                    departures.append(library.withdraw(name, library.pool(entry["pool"])))
            for function in {entry["function"] for entry in known.values()}:
                library.settle_loss(function, find_current(function, *before), verb="remove")
            deferred = [
                library.report(name, before) for name in known if library.masters[name].get("delete_when_unused")
            ]
        result = self.delete(departures) if departures else {}
        return {**result, "objects": [*result.get("objects", ()), *deferred]}


def _select_seen(places: Body, volume: Body) -> dict[str, t.Any]:
    """Return by what a volume's file is known not to have changed; nothing where this provider has none."""
    place = places.get(volume["name"])
    return {"fingerprint": place["fingerprint"]} if place else {}

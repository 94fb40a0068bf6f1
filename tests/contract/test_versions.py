# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of a function: real tasks, a real catalog, real images in two pools; no guests."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import typing as t
from pathlib import Path

import pytest

from tests.contract.conftest import Store
from tests.contract.module_process import is_unchanged
from tests.contract.pools import MIB, make_layout, make_raw, qemu_img
from tests.contract.project import Project

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
Body = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Library:
    """Two providers on this machine, each with a pool of its own, and one catalog."""

    project: Project
    folder: Path
    catalog: t.Any

    def task(self, *masters: Body, hosts: str = "h1", check: bool = False, **options: t.Any) -> Body:
        """Run module master on one provider as a task; return its result, and the diff that was shown as ``shown``."""
        arguments = json.dumps({"masters": masters, **options})
        words = [hosts, "--diff", "-m", "encompass.images.master", "-a", arguments, *(["--check"] if check else [])]
        process = self.project.start("ansible", *words)
        output, _none = process.communicate(timeout=120)
        found = re.search(r"^h\d \| [A-Z]+!? => (?={)", output, re.MULTILINE)
        assert found, output
        result, end = json.JSONDecoder().raw_decode(output, found.end())
        return {**result, "shown": output[: found.start()] + output[end:]}

    def add(self, image: str, hosts: str = "h1", **changes: t.Any) -> Body:
        """Add a master, without a version unless that is one of the changes; options of the task are among them."""
        options = {key: changes.pop(key) for key in ("keep", "check") if key in changes}
        return self.task({**self.entry(image), **changes}, hosts=hosts, **options)

    def entry(self, image: str) -> Body:
        """Return a master as it is declared."""
        return {"function": "web", "source": str(self.image(image)), "format": "raw", "inspect": False}

    def image(self, name: str) -> Path:
        """Return an image with content of its own."""
        path = self.folder / f"{name}.raw"
        return path if path.exists() else make_raw(path, data_bytes=MIB // 4, virtual_bytes=MIB)

    def masters(self) -> dict[int, str]:
        """Return the states of the versions."""
        return {row.body["version"]: row.body["state"] for row in self.catalog.find("master")}

    def current(self) -> int | None:
        """Return the version that is written down as current."""
        row = self.catalog.get("function", "web")
        return row.body["current"] if row else None

    def files(self, host: str = "h1") -> set[str]:
        """Return the digests of what is published."""
        return {path.stem for path in (self.folder / host / "masters").glob("*.qcow2")}

    def digest(self, version: int) -> str:
        """Return the digest of a version's volume."""
        return str(self.catalog.require("master", f"web-v{version}").body["volumes"][0]["digest"])

    def put(self, kind: str, name: str, body: Body | None) -> None:
        """Write or delete a record."""
        with self.catalog.transaction() as tx:
            if body is None:
                tx.delete(kind, name)
            else:
                tx.put(kind, name, body)

    def put_clone(self, name: str, version: int) -> None:
        """Write down a clone that nobody uses."""
        where = {"provider": "h1", "pool": "default", "stage": "unassigned", "metastate": "clean", "machine": None}
        self.put("clone", name, {"master": f"web-v{version}", **where})

    def put_deployment(self, name: str, version: int | str) -> None:
        """Write down a deployment."""
        spec = {"function": "web", "version": version}
        self.put("deployment", name, {"function": "web", "members": [], "spec": spec})

    def dump(self) -> list[t.Any]:
        """Return all records."""
        kinds = ("master", "function", "profile", "clone", "deployment")
        return [(row.key, row.revision, row.body) for kind in kinds for row in self.catalog.find(kind)]


@pytest.fixture
def library(project, tmp_path):
    """Return an empty library."""
    catalog = Store(project.url).open()
    with catalog.transaction() as tx:
        for host in ("h1", "h2"):
            make_layout(tmp_path / host)
            place = {"pool": "default", "path": str(tmp_path / host), "shared": False, "reflink": False}
            tx.put("pool", f"{host}:default", {**place, "providers": [host]})
    yield Library(project, tmp_path, catalog)
    catalog.close()


@pytest.fixture
def three(library):
    """Return a library with three versions of one function, put in by one task."""
    entries = [{**library.entry(f"image-{version}"), "version": version} for version in (1, 2, 3)]
    assert not library.task(*entries).get("failed")
    return library


def names(result: Body, key: str) -> list[str]:
    return [entry["name"] for entry in result[key]]


def test_versions_are_counted_and_the_newest_is_current(library):
    first = library.add("a")
    assert (first["objects"][0]["name"], first["objects"][0]["record"]["version"], first["changed"]) == (
        "web-v1",
        1,
        True,
    )
    assert first["objects"][0]["steps"][-1] == "make it current"
    again = library.add("a")
    assert (again["objects"][0]["name"], again["changed"], again["objects"][0]["changed"]) == ("web-v1", False, False)
    planned = library.add("b", check=True)
    assert (planned["objects"][0]["name"], library.masters(), library.current()) == ("web-v2", {1: "available"}, 1)
    second = library.add("b")
    assert second["objects"][0]["steps"] == planned["objects"][0]["steps"]
    assert second["objects"][0]["steps"][-1] == "make it current in place of version 1"
    assert "+++ after: function web" in second["shown"]
    assert '-    "current": 1' in second["shown"]
    assert (library.masters(), library.current()) == ({1: "available", 2: "available"}, 2)
    # The same image declared otherwise is another version; on another provider it is the same one.
    other = library.add("b", min_memory_mib=512, current=False)
    assert (other["objects"][0]["name"], other["objects"][0]["record"]["current"], library.current()) == (
        "web-v3",
        False,
        2,
    )
    elsewhere = library.add("b", hosts="h2", min_memory_mib=512)
    assert (elsewhere["objects"][0]["name"], library.current()) == ("web-v3", 2)
    assert {replica["provider"] for replica in library.catalog.require("master", "web-v3").body["replicas"]} == {
        "h1",
        "h2",
    }
    # An image that is not there any more is known by its path.
    entry = library.entry("a")
    library.image("a").unlink()
    gone = library.task(entry)
    assert (gone["objects"][0]["name"], gone["changed"]) == ("web-v1", False)


def test_a_number_is_not_used_again(three):
    assert three.task({"function": "web", "version": 3}, state="absent")["changed"]
    assert (three.masters(), three.current()) == ({1: "available", 2: "available"}, 2)
    assert three.add("new")["objects"][0]["name"] == "web-v4"


def test_a_version_that_is_there_already_is_made_current_forward_and_backward(three):
    assert three.current() == 3
    entry = {"function": "web", "version": 2, "current": True}
    planned = three.task(entry, state="available", check=True)
    assert three.current() == 3
    back = three.task(entry, state="available")
    assert (back["changed"], back["objects"][0]["steps"]) == (True, ["make it current in place of version 3"])
    assert (planned["changed"], planned["objects"], planned["shown"]) == (True, back["objects"], back["shown"])
    assert three.current() == 2
    assert is_unchanged(three.task(entry, state="available"))
    assert is_unchanged(three.add("image-3", version=3))
    forward = three.add("image-3", version=3, current=True)
    assert (forward["changed"], three.current()) == (True, 3)
    # An older version that is added later does not take over by itself.
    three.task({"function": "web", "version": 1}, state="absent")
    three.add("image-1", version=1)
    assert three.current() == 3


def test_deprecation_and_back(three):
    entry = {"function": "web", "version": 3}
    done = three.task(entry, state="deprecated")
    assert done["objects"][0]["steps"] == ["deprecate it", "have version 2 be current in its place"]
    assert (three.masters()[3], three.current()) == ("deprecated", 2)
    assert is_unchanged(three.task(entry, state="deprecated"))
    assert is_unchanged(three.add("image-3", version=3))
    assert three.task(entry, state="available")["changed"]
    assert (three.masters()[3], three.current()) == ("available", 2)


def test_the_last_version_that_is_followed_stays(three):
    three.put_deployment("shop", "current")
    entries = [{"function": "web", "version": version} for version in (1, 2, 3)]
    before = three.dump()
    for state in ("deprecated", "absent"):
        result = three.task(*entries, state=state)
        assert "no version would be left for deployment shop to follow" in result["msg"]
        assert three.dump() == before
    assert len(three.files()) == 3
    three.put("deployment", "shop", None)
    assert three.task(*entries, state="deprecated")["changed"]
    assert three.current() is None
    assert three.task(entries[0], state="available")["changed"]
    assert three.current() == 1


def test_what_is_used_is_not_deleted_but_may_be_left_for_later(three):
    entry = {"function": "web", "version": 1}
    for number in range(1, 8):
        three.put_clone(f"spare-{number}", 1)
    three.put_deployment("old", 2)
    before = three.dump()
    refused = three.task(entry, state="absent")
    assert "spare-1, spare-2, spare-3, spare-4, spare-5 and 2 more depend on it" in refused["msg"]
    pinned = three.task({"function": "web", "version": 2}, state="absent")
    assert "deployment old asks for it" in pinned["msg"]
    assert three.dump() == before
    later = three.task(entry, state="absent", when_unused=True)
    assert later["objects"][0]["steps"] == ["deprecate it", "delete it once nobody needs it"]
    assert later["deferred"][0]["name"] == "web-v1"
    assert "and 2 more depend on it" in later["deferred"][0]["reason"]
    assert (three.masters()[1], len(three.files())) == ("deprecated", 3)
    assert is_unchanged(three.task(entry, state="absent", when_unused=True))
    assert is_unchanged(three.task(state="absent"))
    for number in range(1, 8):
        three.put("clone", f"spare-{number}", None)
    gone = three.digest(1)
    swept = three.task(state="absent", check=True)
    assert (swept["deleted"], len(three.files())) == (["web-v1"], 3)
    swept = three.task(state="absent")
    assert (swept["changed"], swept["deleted"], swept["deferred"]) == (True, ["web-v1"], [])
    assert gone not in three.files()
    assert three.masters() == {2: "available", 3: "available"}
    assert is_unchanged(three.task(state="absent"))


def test_who_declares_a_version_again_wants_to_have_it(three):
    three.put_clone("spare", 1)
    three.task({"function": "web", "version": 1}, state="absent", when_unused=True)
    assert three.add("image-1", version=1)["objects"][0]["steps"] == ["do not delete it"]
    three.put("clone", "spare", None)
    assert is_unchanged(three.task(state="absent"))


def test_each_provider_deletes_its_own_copy_and_the_last_one_the_record(three):
    three.add("image-1", version=1, hosts="h2")
    entry = {"function": "web", "version": 1}
    three.task(entry, state="absent", when_unused=True, hosts="h2")
    assert (len(three.files("h1")), len(three.files("h2")), three.masters()[1]) == (3, 0, "removing")
    waiting = three.task(state="absent", hosts="h2")
    assert (waiting["changed"], waiting["deferred"][0]["reason"]) == (
        False,
        "its copies on h1 are still to be deleted",
    )
    assert three.task(state="absent", hosts="h1")["deleted"] == ["web-v1"]
    assert (len(three.files("h1")), 1 in three.masters()) == (2, False)


@pytest.mark.parametrize("when_unused", [False, True])
def test_a_file_that_nobody_knows_of_keeps_its_base(three, when_unused):
    path = three.folder / "h1" / "masters" / f"{three.digest(3)}.qcow2"
    overlay = three.folder / "h1" / "mine.img"
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", f"masters/{path.name}", overlay)
    result = three.task({"function": "web", "version": 3}, state="absent", when_unused=when_unused)
    said = result["shown"] if when_unused else result["msg"]
    assert f"its file is the base of {overlay}" in said
    assert path.exists()
    if not when_unused:
        assert (three.masters()[3], three.current()) == ("available", 3)
    overlay.unlink()
    assert three.task({"function": "web", "version": 3}, state="absent", when_unused=when_unused)["changed"]
    assert (path.exists(), three.current()) == (False, 2)


def test_retention_keeps_the_newest_the_current_and_what_is_used(three):
    three.put_clone("spare", 2)
    planned = three.add("new", keep=1, check=True)
    assert len(three.files()) == 3
    done = three.add("new", keep=1)
    for result in (planned, done):
        assert (result["deleted"], result["deferred"]) == (
            ["web-v1", "web-v3"],
            [{"name": "web-v2", "reason": "spare depends on it"}],
        )
    assert (three.masters(), three.current(), len(three.files())) == ({2: "deprecated", 4: "available"}, 4, 2)
    again = three.add("new", keep=1)
    assert (again["changed"], again["deleted"], names(again, "deferred")) == (False, [], ["web-v2"])
    three.put("clone", "spare", None)
    assert three.add("new", keep=1)["deleted"] == ["web-v2"]


def test_retention_spares_the_current_version_and_what_the_task_declares(three):
    three.task({"function": "web", "version": 1, "current": True}, state="available")
    entries = [{**three.entry(f"image-{version}"), "version": version} for version in (2, 3)]
    result = three.task(*entries, keep=1)
    assert result["kept"] == [
        {"name": "web-v2", "reason": "this task declares it"},
        {"name": "web-v1", "reason": "it is the current version"},
    ]
    assert (result["changed"], result["deleted"]) == (False, [])


BAD: dict[str, tuple[list[Body], Body, str]] = {
    "keep nothing": ([], {"keep": 0}, "option keep: it is 0, not a whole number from 1 on"),
    "keep a word": ([], {"keep": "all"}, "it is 'all'"),
    "keep with another state": ([], {"keep": 1, "state": "absent"}, "it does nothing with state absent"),
    "unknown state": ([], {"state": "gone"}, "it is 'gone', not one of present, available, deprecated, absent"),
    "unknown version": (
        [{"version": 9}],
        {"state": "deprecated"},
        "master web-v9: does not exist. The library has web-v1",
    ),
    "no version": ([{}], {"state": "deprecated"}, "function 'web', version None"),
    "no number": ([{"version": "two"}], {}, "version 'two'"),
    "version nought": ([{"version": 0}], {}, "version 0"),
    "neither version nor source": ([{}], {}, "neither a version nor a source"),
    "no such image": ([{"source": "/nowhere/x.raw", "format": "raw"}], {}, "its source /nowhere/x.raw is not there"),
    "deprecated and current": ([{"version": 1, "current": True}], {"state": "deprecated"}, "cannot be current"),
    "current is no truth": ([{"version": 1, "current": "perhaps"}], {}, "option current: it is 'perhaps'"),
    "two new ones are current": (
        [{"source": f"/nowhere/{name}.raw", "current": True} for name in "ab"],
        {},
        "versions of /nowhere/a.raw and of /nowhere/b.raw are both said to be current",
    ),
    "two are current": (
        [{"version": 1, "current": True}, {"version": 2, "current": True}],
        {"state": "available"},
        "versions 1 and 2 are both said to be current",
    ),
}


def test_bad_input_is_one_sentence_and_changes_nothing(library):
    library.add("image-1", version=1)
    before = library.dump()
    tasks: list[Body] = []
    for title, (entries, options, sentence) in BAD.items():
        arguments = {"masters": [{"function": "web", **entry} for entry in entries], **options}
        tasks.append({"name": title, "encompass.images.master": arguments, "ignore_errors": True, "register": "said"})
        tasks.append({"ansible.builtin.assert": {"that": ["said is failed", f"{sentence!r} in said.msg"]}})
    library.project.play("\n".join(f"- {json.dumps(task)}" for task in tasks))
    assert library.dump() == before

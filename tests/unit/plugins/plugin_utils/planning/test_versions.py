# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version is current, who needs one, which may go, which number a new one gets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.sources import refuse_user
from ansible_collections.encompass.images.plugins.plugin_utils._planning.versions import (
    choose_current,
    choose_number,
    describe_changes,
    describe_use,
    find_current,
    find_same,
    list_places,
    plan_retention,
)
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import (
    World,
    make_master,
)

A, D, IMP, R = "available", "deprecated", "importing", "removing"


def make_masters(*states: str, function: str = "web") -> dict[str, dict[str, t.Any]]:
    """Return the versions 1, 2, ... of a function in these states."""
    return {
        f"{function}-v{version}": make_master(function=function, version=version, state=state)
        for version, state in enumerate(states, 1)
    }


CURRENT: dict[str, tuple[tuple[str, ...], tuple[int | None, ...], int | None]] = {
    "nothing there": ((), (1,), None),
    "the newest": ((A, A, A), (), 3),
    "the newest that is available": ((A, A, D, IMP, R), (), 2),
    "none is available": ((D, IMP, R), (1,), None),
    "as recorded": ((A, A, A), (2,), 2),
    "an older one that is wished for": ((A, A, A), (1, 3), 1),
    "no wish": ((A, A, A), (None, 2), 2),
    "what was recorded is deprecated": ((A, A, D), (3,), 2),
    "what was recorded is gone": ((A, A), (7,), 2),
    "a wish for what is still imported": ((A, A, IMP), (3, 1), 1),
}


@pytest.mark.parametrize("case", CURRENT)
def test_the_current_version(case: str) -> None:
    states, wishes, current = CURRENT[case]
    masters = {**make_masters(*states), **make_masters(A, A, A, A, A, function="db")}
    assert choose_current("web", masters, *wishes) == current


def test_without_a_record_the_newest_is_current() -> None:
    masters = make_masters(A, A)
    assert find_current("web", masters, {}) == 2
    assert find_current("web", masters, {"web": {"current": 1}}) == 1
    assert find_current("db", masters, {"web": {"current": 1}}) is None


@pytest.mark.parametrize(
    ("functions", "version", "master"),
    [
        ({}, "current", "web-server-v3"),
        ({"web-server": {"current": 2}}, "current", "web-server-v2"),
        ({"web-server": {"current": 1}}, "current", "web-server-v3"),
        ({"web-server": {"current": 3}}, 1, "web-server-v1"),
    ],
)
def test_a_deployment_follows_the_current_version_or_its_own(
    functions: dict[str, t.Any], version: int | str, master: str
) -> None:
    world = World(**make_masters(D, A, A, function="web-server"))
    world.rows.functions.update(functions)
    assert {member.master for member in world.plan(version=version).members} == {master}


def test_a_deployment_cannot_follow_what_is_deprecated() -> None:
    world = World(**make_masters(D, D, function="web-server"))
    with pytest.raises(InvalidRequest, match=r"has no current version: all it has \(1, 2\) are deprecated"):
        world.plan()


DEPLOYMENTS = {
    "new": {"spec": {"function": "web", "version": "current"}},
    "old": {"spec": {"function": "web", "version": 1}},
    "db": {"spec": {"function": "db", "version": 1}},
    "half": {"members": []},
}
USES = {
    "one clone": ((["a"], 1), "a depends on it"),
    "clones": ((["a", "b"], 1), "a, b depend on it"),
    "many clones": ((list("abcdefg"), 1), "a, b, c, d, e and 2 more depend on it"),
    "a deployment": (([], 1), "deployment old asks for it"),
    "nobody": (([], 2), ""),
}


@pytest.mark.parametrize("case", USES)
def test_who_needs_a_version(case: str) -> None:
    (clones, version), use = USES[case]
    assert describe_use(make_master(function="web", version=version), clones, DEPLOYMENTS) == use


# (states, keep, current, declared, used) -> (name, action) of those that are too old
RETENTION: dict[str, tuple[tuple[str, ...], int, int | None, list[str], list[str], list[tuple[int, str]]]] = {
    "few enough": ((A, A), 2, 2, [], [], []),
    "one too many": ((A, A, A), 2, 3, [], [], [(1, "delete")]),
    "several": ((A, D, A, A), 1, 4, [], [], [(3, "delete"), (2, "delete"), (1, "delete")]),
    "in use": ((A, A, A), 1, 3, [], ["web-v2"], [(2, "defer"), (1, "delete")]),
    "current": ((A, A, A), 1, 1, [], ["web-v1"], [(2, "delete"), (1, "keep")]),
    "declared": ((A, A, A), 1, 3, ["web-v1", "web-v3"], ["web-v1"], [(2, "delete"), (1, "keep")]),
    "what is no version yet or no more does not count": ((A, A, IMP, R), 1, 2, [], [], [(1, "delete")]),
    "nothing there": ((), 1, None, [], [], []),
}


@pytest.mark.parametrize("case", RETENTION)
def test_retention(case: str) -> None:
    states, keep, current, declared, used, expected = RETENTION[case]
    uses = dict.fromkeys(used, "a depends on it")
    verdicts = plan_retention(make_masters(*states), keep, current=current, declared=declared, uses=uses)
    assert [(verdict.name, verdict.action) for verdict in verdicts] == [
        (f"web-v{version}", action) for version, action in expected
    ]
    assert all(verdict.reason for verdict in verdicts if verdict.action != "delete")


ENTRY = {"function": "web", "source": "/srv/web.raw", "items": [], "inputs": [], "min_memory_mib": 64}
SOURCE = {"path": "/srv/web.raw", "sha256": "s1"}
ITEM = {"name": "motd"}
SAME: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str | None, bool]] = {
    "the same": ({}, {}, "s1", True),
    "another image": ({}, {}, "s2", False),
    "the same image elsewhere": ({"source": "/mnt/web.raw"}, {}, "s1", True),
    "gone, the path is known": ({}, {}, None, True),
    "gone, the path is not known": ({"source": "/mnt/web.raw"}, {}, None, False),
    "other items": ({"items": [ITEM]}, {}, "s1", False),
    "other inputs": ({"inputs": [ITEM]}, {}, "s1", False),
    "more memory": ({"min_memory_mib": 65}, {}, "s1", False),
    "another firmware": ({"firmware": "uefi"}, {}, "s1", False),
    "said what was found": ({"firmware": "bios", "arch": "x86_64"}, {}, "s1", True),
    "deprecated": ({}, {"state": D}, "s1", True),
    "on its way out": ({}, {"state": R}, "s1", False),
    "an import that failed": ({"items": [ITEM]}, {"state": IMP}, "s2", True),
    "an import that failed from elsewhere": ({"source": "/mnt/web.raw"}, {"state": IMP}, "s2", False),
    "another function": ({"function": "db"}, {}, "s1", False),
}


@pytest.mark.parametrize("case", SAME)
def test_which_version_an_image_is(case: str) -> None:
    entry_changes, changes, sha256, found = SAME[case]
    masters = {"web-v4": make_master(function="web", version=4, source=SOURCE, **changes)}
    assert find_same({**ENTRY, **entry_changes}, [sha256], masters) == (4 if found else None)


ROOT, SRV = {"name": "root", "source": "/root.raw"}, {"name": "srv", "source": "/srv.raw"}


@pytest.mark.parametrize(
    ("images", "digests", "found"),
    [
        ([ROOT, SRV], ["s1", "s2"], True),
        ([ROOT, SRV], ["s1", "s3"], False),
        ([ROOT, SRV], ["s2", "s1"], False),
        ([ROOT, SRV], ["s1", None], True),
        ([ROOT, {**SRV, "source": "/elsewhere.raw"}], ["s1", None], False),
        ([{**ROOT, "disk": 1}, SRV], ["s1", "s2"], True),
        ([{**ROOT, "disk": 2}, SRV], ["s1", "s2"], False),
        ([ROOT], ["s1"], False),
        ([ROOT, SRV, SRV], ["s1", "s2", "s2"], False),
    ],
)
def test_all_images_count(images: list[dict[str, t.Any]], digests: list[str | None], found: bool) -> None:
    sources = [{"path": "/root.raw", "sha256": "s1"}, {"path": "/srv.raw", "sha256": "s2"}]
    volumes = [{**make_master()["volumes"][0], "source": source} for source in sources]
    masters = {"web-v4": make_master(function="web", version=4, source=sources[0], volumes=volumes)}
    entry = {key: value for key, value in ENTRY.items() if key != "source"}
    assert find_same({**entry, "volumes": images}, digests, masters) == (4 if found else None)


def test_an_import_of_a_url_that_failed_is_known_without_its_query() -> None:
    source = {"path": "https://example.com/a", "sha256": "s1"}
    masters = {"web-v4": make_master(function="web", version=4, source=source, state=IMP, volumes=[], replicas=[])}
    entry = {**ENTRY, "source": "https://example.com/a?token=another"}
    assert find_same(entry, ["s2"], masters) == 4


def test_the_newest_of_equal_versions_is_meant() -> None:
    versions = {f"web-v{n}": make_master(function="web", version=n, source=SOURCE) for n in (2, 10, 9)}
    assert find_same(ENTRY, ["s1"], versions) == 10


@pytest.mark.parametrize(
    ("states", "functions", "number"),
    [
        ((), {}, 1),
        ((A, A), {}, 3),
        ((A, IMP), {}, 3),
        ((A,), {"web": {"current": 1, "last": 6}}, 7),
        ((A,), {"db": {"last": 6}}, 2),
    ],
)
def test_the_next_number(states: tuple[str, ...], functions: dict[str, t.Any], number: int) -> None:
    assert choose_number("web", make_masters(*states), functions) == number


def test_changes_in_words() -> None:
    before = (make_masters(A, A, A), {"web": {"current": 3}})
    after = (make_masters(A, A, D), {"web": {"current": 2}})
    after[0]["web-v3"]["delete_when_unused"] = True
    after[0]["web-v1"]["items"] = [ITEM]
    assert {name: describe_changes(name, before, after) for name in after[0]} == {
        "web-v1": ["change its items or inputs"],
        "web-v2": ["make it current in place of version 3"],
        "web-v3": ["deprecate it", "delete it once nobody needs it", "have version 2 be current in its place"],
    }
    assert describe_changes("web-v3", after, before) == [
        "make it available again",
        "do not delete it",
        "make it current in place of version 2",
    ]
    assert describe_changes("web-v1", ({}, {}), (make_masters(A), {})) == ["make it current"]


def test_every_place_that_a_master_comes_from_is_known() -> None:
    signed = {"source": "https://h/a", "signature": {"type": "openpgp", "file": "https://h/a.sig", "key": "/k"}}
    assert list_places({**signed, "function": "web"}) == ["https://h/a", "https://h/a.sig"]
    assert list_places({"function": "web", "volumes": [signed, {"source": "/b"}]}) == [
        "https://h/a",
        "/b",
        "https://h/a.sig",
    ]


@pytest.mark.parametrize("url", ["https://jane:hunter2@h/a", "https://jane@h", "http://h@x?y", "http://a@b#/c"])
def test_a_user_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidRequest, match="its URL holds a user") as refused:
        refuse_user("master of web", url)
    assert "jane" not in str(refused.value)


@pytest.mark.parametrize("place", ["/srv/a@b.qcow2", "https://h/a@b", "https://h?x=a@b", ""])
def test_other_places_are_not(place: str) -> None:
    refuse_user("master of web", place)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning: (wanted, journal) -> steps; what an item may ask for; the journal as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.customization import (
    APPLIED,
    BEGUN,
    CloneRequest,
    Entry,
    IdentityEntry,
    Journal,
    Mount,
    Seen,
    Volume,
    plan_customization,
    predict_journal,
    report_customization,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization_items import (
    Item,
    Seed,
    parse_item,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization_journal import (
    Notebook,
    Saved,
    dump_notebook,
    load_notebook,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.guest_changes import SetContent
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, LINK, FileState
from ansible_collections.encompass.images.plugins.module_utils._core.identity import Identity

ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OWN = IdentityEntry(Identity("web-1", ID, "5eed", {"rsa": "SHA256:x"}), APPLIED, ("/etc/hostname",))


def items(names: str) -> tuple[Item, ...]:
    """Return items from words: name, or name=digest. An item's path is below those of the names it begins with."""
    pairs = [word.partition("=")[::2] for word in names.split()]
    return tuple(Item(name, "file", digest or "1", place(name)) for name, digest in pairs)


def place(name: str) -> str:
    """Return where an item writes: every letter of its name but the last is a directory; a digit is none."""
    return "/etc/" + "/".join(name.rstrip("0123456789"))


def entries(names: str) -> tuple[Entry, ...]:
    """Return a journal's entries from words: name, name=digest, and ? behind one that is only begun."""
    made = []
    for word in names.split():
        name, _equals, digest = word.rstrip("?").partition("=")
        made.append(Entry(name, digest or "1", BEGUN if word.endswith("?") else APPLIED, (place(name),)))
    return tuple(made)


def request(names: str = "", **fields) -> CloneRequest:
    complete = {
        "name": "c",
        "present": True,
        "directory": "/p/clones/c",
        "volumes": (Volume("root", "/p/clones/c/root.qcow2", "qcow2"),),
        "mounts": (Mount("sda1", "/", "ext4"),),
        "hostname": "web-1",
        "machine_id": ID,
        "items": items(names),
        **fields,
    }
    return CloneRequest(**complete)


def steps(wanted: CloneRequest, seen: Seen) -> list[str]:
    words = {"UndoItem": "undo", "ApplyItem": "apply", "SetIdentity": "identity", "RestoreIdentity": "no-identity"}
    described = []
    for step in plan_customization(wanted, seen):
        kind = type(step).__name__
        name = getattr(step, "name", "") or getattr(getattr(step, "item", None), "name", "")
        again = "?" if getattr(step, "again", False) else ""
        described.append(f"{words.get(kind, kind)} {name}".strip() + again)
    return described


@pytest.mark.parametrize(
    ("wanted", "journal", "expected"),
    [
        ("", "", ""),
        ("a b", "", "apply a, apply b"),
        ("a b", "a b", ""),
        ("a b c", "a b", "apply c"),
        ("a", "a b c", "undo c, undo b"),
        # Others are left alone ...
        ("a b=2 c", "a b c", "undo b, apply b"),
        ("b a", "a b", ""),
        ("a x b", "a b", "apply x"),
        ("a c", "a b c", "undo b"),
        # ... but for those behind it that write the same path, or above or below it, and those that build on these.
        ("a1=2 a2", "a1 a2", "undo a2, undo a1, apply a1, apply a2"),
        ("a1 a2=2", "a1 a2", "undo a2, apply a2"),
        ("a=2 ab", "a ab", "undo ab, undo a, apply a, apply ab"),
        ("ab=2 a", "ab a", "undo a, undo ab, apply ab, apply a"),
        ("ab ac=2", "ab ac", "undo ac, apply ac"),
        ("ab=2 a ac", "ab a ac", "undo ac, undo a, undo ab, apply ab, apply a, apply ac"),
        ("a2", "a1 a2", "undo a2, undo a1, apply a2"),
        ("a1 a2", "a2", "undo a2, apply a1, apply a2"),
        ("a2 a1", "a1 a2", "undo a2, undo a1, apply a2, apply a1"),
        ("x a2 b a1", "a1 a2 b", "undo a2, undo a1, apply x, apply a2, apply a1"),
        ("a1 b", "a1? b", "apply a1?"),
        ("a b", "a b?", "apply b?"),
        ("a b", "a? b?", "apply a?, apply b?"),
        ("a b=2", "a b?", "undo b, apply b"),
        ("a b=2", "a b=2? b?", "undo b, apply b?"),
        ("", "a b?", "undo b, undo a"),
        ("a1 a2", "a1? a2", "undo a2, apply a1?, apply a2"),
    ],
)
def test_items_that_differ_are_done_anew_with_those_that_build_on_them(
    wanted: str, journal: str, expected: str
) -> None:
    assert ", ".join(steps(request(wanted), Seen(Journal(OWN, entries(journal))))) == expected


@pytest.mark.parametrize(
    ("entry", "fields", "expected"),
    [
        (None, {}, ["identity"]),
        (OWN, {}, []),
        (OWN, {"hostname": "web-2"}, ["identity"]),
        (OWN, {"machine_id": "1" * 32}, ["identity"]),
        (dataclasses.replace(OWN, state=BEGUN), {}, ["identity?"]),
        (dataclasses.replace(OWN, state=BEGUN), {"hostname": "web-2"}, ["identity"]),
        (OWN, {"present": False}, ["no-identity"]),
        (None, {"present": False}, []),
    ],
)
def test_identity(entry: IdentityEntry | None, fields: dict, expected: list[str]) -> None:
    assert steps(request(**fields), Seen(Journal(entry))) == expected


SEED = Seed("instance-id: 1\n", "#cloud-config\n")


@pytest.mark.parametrize(
    ("seed", "digest", "exists", "expected"),
    [
        (None, None, False, []),
        (SEED, None, False, ["WriteSeed"]),
        (SEED, SEED.digest, True, []),
        (SEED, SEED.digest, False, ["WriteSeed"]),
        (SEED, "other", True, ["WriteSeed"]),
        (None, SEED.digest, True, ["RemoveSeed"]),
        (None, None, True, ["RemoveSeed"]),
    ],
)
def test_seed(seed: Seed | None, digest: str | None, exists: bool, expected: list[str]) -> None:
    seen = Seen(Journal(OWN, seed_digest=digest), seed_exists=exists)
    assert steps(request(seed=seed), seen) == expected


def test_taking_everything_back_takes_it_back_from_the_last() -> None:
    seen = Seen(Journal(OWN, entries("a b"), "digest"), seed_exists=True)
    assert steps(request(present=False), seen) == ["undo b", "undo a", "no-identity", "RemoveSeed"]


@pytest.mark.parametrize(
    ("options", "journal", "expected"),
    [
        ({"until": "b"}, "", "apply a, apply b"),
        ({"until": "b"}, "a", "apply b"),
        ({"until": "b"}, "a b", ""),
        ({"until": "b"}, "a b c", ""),
        ({"until": "a"}, "a=0 b c=0", "undo c, undo a, apply a, apply c"),
        ({"until": "a"}, "a b? c?", "undo c, undo b"),
        ({}, "a b", "apply c, apply d"),
        ({"rollback_to": "b"}, "a b c d", "undo d, undo c"),
        ({"rollback_to": "b"}, "a b", ""),
        ({"rollback_to": "c"}, "a", ""),
        ({"rollback_to": "a"}, "a b c?", "undo c, undo b"),
        ({"rollback_to": "b"}, "b c", "undo c"),
    ],
)
def test_stages(options: dict, journal: str, expected: str) -> None:
    seen = Seen(Journal(OWN, entries(journal)))
    wanted = request("a b c d", **options)
    assert ", ".join(steps(wanted, seen)) == expected
    after = predict_journal(wanted, seen, plan_customization(wanted, seen))
    assert steps(wanted, Seen(after)) == []


@pytest.mark.parametrize(
    ("options", "exists", "expected"),
    [
        ({"until": "a"}, False, ["apply a"]),
        ({"until": "s"}, False, ["apply a", "apply s", "WriteSeed"]),
        ({"rollback_to": "a"}, True, ["undo b", "undo s", "RemoveSeed"]),
        ({"rollback_to": "s"}, True, ["undo b"]),
    ],
)
def test_a_seed_belongs_to_its_stage(options: dict, exists: bool, expected: list[str]) -> None:
    journal = Journal(OWN, entries("a s b") if exists else (), SEED.digest if exists else None)
    everything = (*items("a"), Item("s", "seed", "1"), *items("b"))
    assert steps(request(items=everything, seed=SEED, **options), Seen(journal, exists)) == expected


@pytest.mark.parametrize("option", ["until", "rollback_to"])
def test_a_stage_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{option} names x, which is none of its items"):
        plan_customization(request("a b", **{option: "x"}), Seen())


def test_the_record_has_the_items_in_their_order() -> None:
    seen = Journal(OWN, entries("b a"))
    record = report_customization(request("a b"), seen)
    assert [item["name"] for item in record["customization"]["applied"]] == ["a", "b"]


@pytest.mark.parametrize("names", ["", "a", "a b=2 c", "x y"])
def test_what_is_predicted_needs_no_more_steps(names: str) -> None:
    for journal in ("", "a b c", "a? b?"):
        for fields in ({}, {"seed": SEED}, {"present": False, "items": ()}):
            wanted = request(names, **fields)
            seen = Seen(Journal(OWN, entries(journal)))
            after = predict_journal(wanted, seen, plan_customization(wanted, seen))
            assert plan_customization(wanted, Seen(after, seed_exists=after.seed_digest is not None)) == []


def test_the_record_has_the_same_shape_predicted_and_seen() -> None:
    wanted = request("a", inputs={"port": 80}, secrets_given=("password",))
    nothing = Seen()
    predicted = report_customization(wanted, predict_journal(wanted, nothing, plan_customization(wanted, nothing)))
    seen = report_customization(wanted, Journal(OWN, entries("a")))
    assert predicted["customization"] == seen["customization"]
    assert predicted["customization"] == {
        "pointer": 1,
        "applied": [{"name": "a", "digest": "1"}],
        "inputs": {"port": 80},
        "secrets_given": ["password"],
    }
    assert predicted["identity"].keys() == seen["identity"].keys()
    assert predicted["identity"] == {"hostname": "web-1", "machine_id": ID, "random_seed_sha256": None, "host_keys": {}}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"directory": ""}, "directory"),
        ({"volumes": ()}, "volumes"),
        ({"mounts": ()}, "layout"),
        ({"mounts": (Mount("sda1", "/boot"),)}, "layout"),
        ({"hostname": "a b"}, "host name"),
        ({"machine_id": "x"}, "machine-id"),
        ({"items": items("a a")}, "twice"),
        ({"items": (Item("s", "seed"),)}, "seed"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused(fields: dict, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        plan_customization(request(**fields), Seen())


PARAMS = {"name": "i", "type": "file", "path": "/etc/f", "content": "x"}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"path": "etc/f"}, "absolute"),
        ({"path": "/etc/../f"}, "absolute"),
        ({"path": "/"}, "absolute"),
        ({"path": None}, "absolute"),
        ({"path": "/etc/hostname"}, "identity"),
        ({"mode": "rw"}, "no mode"),
        ({"content": None}, "content"),
        ({"volume": "data"}, "no volume data"),
        ({"type": "regexp"}, "pattern"),
        ({"type": "regexp", "pattern": "("}, "regular expression"),
        ({"type": "firstboot", "content": None}, "content"),
        ({"secret": True}, "secret_content"),
        ({"secret": True, "type": "regexp", "pattern": "a", "content": None, "replacement": "b"}, "secret_replacement"),
    ],
)
def test_a_bad_item_is_refused(params: dict, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        parse_item("c", {**PARAMS, **params}, ["root"])
    assert "item i" in str(caught.value)


def test_an_item_is_parsed() -> None:
    item = parse_item(
        "c", {**PARAMS, "mode": "0600", "owner": 5, "group": 6, "digest": "d", "volume": "root"}, ["root"]
    )
    assert item == Item("i", "file", "d", "/etc/f", "x", mode=0o600, uid=5, gid=6)


def test_a_digest_tells_items_apart_but_never_secrets() -> None:
    def digest(**params) -> str:
        return parse_item("c", {**PARAMS, **params}, ["root"]).digest

    assert digest() == digest()
    assert len({digest(), digest(content="y"), digest(mode="0600"), digest(path="/etc/g"), digest(owner=1)}) == 5
    secret = {"content": None, "secret": True}
    assert digest(**secret, secret_content="x") == digest(**secret, secret_content="y")


def test_texts_do_not_show() -> None:
    item = parse_item("c", {**PARAMS, "content": None, "secret": True, "secret_content": "hush"}, ["root"])
    assert item.content == "hush"
    assert "hush" not in repr([item, SetContent(item.content.encode())])
    assert "hush" not in repr(Seed("", "hush"))


def test_a_journal_survives_json() -> None:
    file = FileState(kind=FILE, mode=0o640, uid=1, gid=2, xattrs=(("user.a", b"\xff"),), mtime_ns=123456789)
    notebook = Notebook(
        Journal(OWN, (Entry("a", "1", BEGUN, ("/a", "/b"), "systemd", True), *entries("b")), "5eed"),
        {"/a": Saved(file, "stored"), "/b": Saved(FileState(kind=LINK, target="x")), "/c": Saved(FileState())},
    )
    assert load_notebook(json.loads(json.dumps(dump_notebook(notebook)))) == notebook
    assert load_notebook(json.loads(json.dumps(dump_notebook(Notebook())))) == Notebook()


@pytest.mark.parametrize("record", [{"format": 2}, {}, {"format": 1}, {"format": 1, "identity": 3}])
def test_what_is_no_journal_is_refused(record: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        load_notebook(record)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared deployments: what is understood, and what is refused in one sentence."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._planning.declared_items import parse_inputs, parse_items
from ansible_collections.encompass.images.plugins.plugin_utils._planning.masters import digest_items
from ansible_collections.encompass.images.plugins.plugin_utils._planning.request import (
    NetworkRequest,
    Ready,
    parse_deployments,
    parse_migrations,
    parse_reassignments,
)
from ansible_collections.encompass.images.plugins.plugin_utils._planning.texts import parse_list

WEB = {"name": "web", "function": "web-server"}


def test_defaults_are_filled_in() -> None:
    (web,) = parse_deployments([WEB])
    assert (web.count, web.version, web.networks, web.ready) == (1, "current", (NetworkRequest("encompass"),), None)
    assert web.servers == ["web-1"]


def test_everything_is_understood() -> None:
    (web,) = parse_deployments(
        [
            {
                **WEB,
                "count": "2",
                "version": 3,
                "networks": ["front", {"name": "back", "addresses": ["10.0.0.9"]}],
                "ready": {"url": "https://{address}/", "status": 204, "timeout_s": 9},
                "placement": {"strategy": "pack", "providers": ["hv1"]},
            }
        ]
    )
    assert web.networks == (NetworkRequest("front"), NetworkRequest("back", ("10.0.0.9",)))
    assert web.ready == Ready(None, "https://{address}/", 204, 9)
    assert (web.count, web.version, web.strategy, web.providers) == (2, 3, "pack", ("hv1",))


REFUSED: dict[str, tuple[t.Any, str]] = {
    "no list": ({}, "not a list"),
    "no dictionary": (["web"], "not a dictionary"),
    "no name": ([{"function": "x"}], "its name is None"),
    "bad name": ([{**WEB, "name": "Web_1"}], "its name is 'Web_1'"),
    "no function": ([{"name": "web"}], "names no function"),
    "typing error": ([{**WEB, "cuont": 3}], "has no field cuont"),
    "negative count": ([{**WEB, "count": -1}], "its count is -1"),
    "count in words": ([{**WEB, "count": "three"}], "its count is 'three'"),
    "count true": ([{**WEB, "count": True}], "its count is True"),
    "same name": ([WEB, WEB], "declared twice"),
    "server like deployment": ([{**WEB, "count": 2}, {**WEB, "name": "web-2"}], "web-2 is declared twice"),
    "method": ([{**WEB, "method": "magic"}], "not one of auto, overlay, copy"),
    "strategy": ([{**WEB, "placement": {"strategy": "heap"}}], "not one of spread, pack"),
    "ready with both": ([{**WEB, "ready": {"port": 1, "url": "http://x"}}], "either a port or a url"),
    "ready scheme": ([{**WEB, "ready": {"url": "file:///etc"}}], "ready.url"),
    "networks": ([{**WEB, "networks": []}], "networks are not a list"),
}


@pytest.mark.parametrize(("declared", "message"), REFUSED.values(), ids=list(REFUSED))
def test_bad_declarations_are_refused(declared: t.Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_deployments(declared)
    assert message in str(refused.value)


def test_texts_of_a_survey_are_what_they_say() -> None:
    (web,) = parse_deployments(
        [
            {
                **WEB,
                "count": "2",
                "version": "3",
                "networks": "front,back",
                "placement": {"providers": "hv1\nhv2"},
                "data": [{"name": "db", "size_gib": "10"}],
            }
        ]
    )
    assert (web.count, web.version, web.providers) == (2, 3, ("hv1", "hv2"))
    assert web.networks == (NetworkRequest("front"), NetworkRequest("back"))
    assert web.data[0].virtual_bytes == 10 << 30
    (move,) = parse_migrations(
        [{"machines": "web-1, web-2", "deployment": "", "to": "hv2", "live": "yes", "fenced": ""}]
    )
    assert (move.machines, move.to, move.live, move.fenced) == (("web-1", "web-2"), "hv2", True, ())
    (night,) = parse_reassignments([{"function": "batch", "machines": "web-1\n", "version": "2"}])
    assert (night.machines, night.version) == (("web-1",), 2)


@pytest.mark.parametrize(
    ("given", "entries"),
    [(None, []), ("", []), (" a, b\nc,\n", ["a", "b", "c"]), (["a b", "c,d"], ["a b", "c,d"]), (2, [2]), ({}, [])],
)
def test_a_list_may_be_a_text(given: t.Any, entries: list[t.Any]) -> None:
    assert parse_list("option x", "it is not a list", given) == entries


@pytest.mark.parametrize("given", [{"a": 1}, True, 1.5])
def test_what_is_no_list_is_refused(given: t.Any) -> None:
    with pytest.raises(InvalidRequest, match="it is not a list"):
        parse_list("option x", "it is not a list", given)


BAD_ITEMS = {
    "type": ({"name": "a", "type": "magic"}, "its type is 'magic'"),
    "no content": ({"name": "a", "type": "file", "path": "/x"}, "needs content"),
    "relative": ({"name": "a", "type": "file", "path": "x", "content": ""}, "not absolute"),
    "pattern": ({"name": "a", "type": "regexp", "path": "/x", "pattern": "(", "replacement": ""}, "no regular"),
    "mode": ({"name": "a", "type": "file", "path": "/x", "content": "", "mode": "rwx"}, "its mode"),
    "field": ({"name": "a", "type": "file", "path": "/x", "content": "", "colour": 1}, "no field colour"),
    "no target": ({"name": "a", "type": "link", "path": "/x"}, "needs target"),
    "nothing to set": ({"name": "a", "type": "mode", "path": "/x"}, "needs a mode, an owner or a group"),
    "no state": ({"name": "a", "type": "service", "service": "x"}, "needs state"),
    "state": ({"name": "a", "type": "service", "service": "x", "state": "started"}, "its state is 'started'"),
    "service": ({"name": "a", "type": "service", "service": "a/b", "state": "masked"}, "needs a service"),
    "no kernel": ({"name": "a", "type": "kernel"}, "needs default, arguments or initrd_modules"),
    "quotes": ({"name": "a", "type": "kernel", "arguments": {"add": ["a='b c'"]}}, "one of its words"),
    "dollar": ({"name": "a", "type": "kernel", "arguments": {"add": ["a=$b"]}}, "one of its words"),
    "option": ({"name": "a", "type": "kernel", "initrd_modules": ["-x"]}, "one of its words"),
    "other type's": ({"name": "a", "type": "delete", "path": "/x", "target": "/y"}, "no field target"),
    "identity": ({"name": "a", "type": "delete", "path": "/etc/machine-id"}, "identity"),
    "no name": ({"type": "file", "path": "/x", "content": ""}, "has no name"),
}


@pytest.mark.parametrize(("item", "message"), BAD_ITEMS.values(), ids=list(BAD_ITEMS))
def test_bad_items_are_refused(item: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_items("master x", [item])
    assert message in str(refused.value)


def test_items_have_the_fields_of_their_type() -> None:
    link, service, kernel = parse_items(
        "master x",
        [
            {"name": "l", "type": "link", "path": "/x", "target": "y"},
            {"name": "s", "type": "service", "service": "x", "state": "masked"},
            {"name": "k", "type": "kernel", "arguments": {"add": ["a=1,2", "dyndbg"]}},
        ],
    )
    assert (link["target"], link["required"]) == ("y", True)
    assert "recursive" not in link
    assert (service["service"], service["state"]) == ("x", "masked")
    assert (kernel["default"], kernel["initrd_modules"]) == (None, [])


TEMPLATE = {"name": "page", "type": "template", "path": "/x", "content": "{{ greeting }} {{ server_name }}"}
PLAIN = {"name": "plain", "type": "file", "path": "/greeting", "content": "greeting token"}
TOKEN = {"name": "token", "type": "template", "path": "/y", "content": "{{ token }}"}


@pytest.mark.parametrize(
    ("inputs", "server", "changed"),
    [
        ({"greeting": "hello", "greet": "x"}, {"server_name": "web-1"}, set()),
        ({"greeting": "moin"}, {"server_name": "web-1"}, {"page"}),
        ({"greeting": "hello"}, {"server_name": "web-2", "mac": "1"}, {"page"}),
        ({"greeting": "hello", "token": "hush"}, {"server_name": "web-1"}, {"token"}),
    ],
)
def test_an_item_s_digest_covers_what_it_uses(inputs: dict, server: dict, changed: set[str]) -> None:
    master = {"items": [TEMPLATE, PLAIN, TOKEN], "inputs": [{"name": "token", "secret": True}]}
    before = digest_items(master, {"greeting": "hello"}, {"server_name": "web-1"})
    after = digest_items(master, inputs, server)
    assert {new["name"] for old, new in zip(before, after) if old != new} == changed


def test_items_have_names_of_their_own() -> None:
    item = {"name": "a", "type": "file", "path": "/x", "content": ""}
    with pytest.raises(InvalidRequest, match="there twice"):
        parse_items("master x", [item, item])


def test_a_secret_input_has_no_default() -> None:
    with pytest.raises(InvalidRequest, match="cannot have a default"):
        parse_inputs("master x", [{"name": "token", "secret": True, "default": "x"}])

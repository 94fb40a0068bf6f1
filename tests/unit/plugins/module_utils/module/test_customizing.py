# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module customize before it opens a clone: who shares an appliance, what the options mean, what a preview shows."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.customization import (
    ApplyItem,
    CloneRequest,
    Mount,
    UndoItem,
    Volume,
)
from ansible_collections.encompass.images.plugins.module_utils._core.customization_items import Item
from ansible_collections.encompass.images.plugins.module_utils._core.kernel_items import KernelSettings
from ansible_collections.encompass.images.plugins.module_utils._module.customizing import (
    choose_batches,
    make_job,
    may_run_guest_code,
    preview_steps,
)

INITRD = Item("initrd", "kernel", kernel=KernelSettings(initrd_modules=("dummy",)))
PLAIN = Item("plain", "file", "1", "/etc/f", "x\n")


def clone(name: str, *items: Item) -> CloneRequest:
    volumes = (Volume("root", f"/p/{name}", "qcow2"),)
    return CloneRequest(name, True, "/p", volumes, (Mount("sda1", "/", "ext4"),), batchable=True, items=items)


def test_clones_share_an_appliance_but_for_those_that_must_not() -> None:
    requests = [clone(name) for name in "abc"]
    assert choose_batches(requests, lanes=2) == [["a", "b", "c"]]
    assert choose_batches(requests, lanes=2, alone=["b"]) == [["a", "c"], ["b"]]


@pytest.mark.parametrize(
    ("items", "step", "expected"),
    [
        ([INITRD], ApplyItem(INITRD), True),
        ([PLAIN], ApplyItem(PLAIN), False),
        ([INITRD], ApplyItem(PLAIN), False),
        ([INITRD, PLAIN], UndoItem("another"), True),
        ([PLAIN], UndoItem("initrd"), False),
    ],
)
def test_a_guest_whose_programs_are_run_is_alone(items: list[Item], step: t.Any, expected: bool) -> None:
    assert may_run_guest_code(clone("a", *items), [step]) is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (True, "", "")),
        ({"until": "x"}, (True, "x", "")),
        ({"rollback_to": "x"}, (True, "", "x")),
        ({"rollback_to": ""}, (False, "", "")),
        ({"state": "absent"}, (False, "", "")),
    ],
)
def test_options(options: dict, expected: tuple) -> None:
    entry = dict.fromkeys(("directory", "volumes", "layout", "hostname", "machine_id", "items", "seed", "inputs"))
    params = {"state": "present", "until": None, "rollback_to": None, "virt_type": "qemu", "workers": 1, "timeout_s": 9}
    with make_job({**params, **options, "clones": [{**entry, "name": "a", "secrets_given": []}]}) as job:
        request = job.items["a"]
    assert (request.present, request.until, request.rollback_to) == expected


def test_a_preview_shows_items_but_no_secrets() -> None:
    secret = Item("secret", "file", "1", "/etc/s", "hush\n", secret=True)
    pattern = Item("pattern", "regexp", "1", "/etc/p", pattern="a", replacement="hush", secret=True)
    mode = Item("mode", "mode", "1", "/etc/m", mode=0o640, recursive=True)
    steps = [UndoItem("old"), *(ApplyItem(item) for item in (PLAIN, secret, pattern, mode, INITRD))]
    assert preview_steps(steps) == {
        "old": {},
        "plain": {"/etc/f": {"content": ["x"]}},
        "secret": {"/etc/s": {"content": "(secret)"}},
        "pattern": {"/etc/p": {"pattern": "a", "replacement": "(secret)"}},
        "mode": {"/etc/m": {"recursive": True, "mode": "0640"}},
        "initrd": {"(kernel)": {"default": "", "arguments": {"add": (), "remove": ()}, "initrd_modules": ("dummy",)}},
    }

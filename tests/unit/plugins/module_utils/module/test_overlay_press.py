# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays in numbers: qemu-img is started once for each kind."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.clone_types import Base, CreateOverlay
from ansible_collections.encompass.images.plugins.module_utils._core.errors import NoSpace
from ansible_collections.encompass.images.plugins.module_utils._drivers import qemu_img
from ansible_collections.encompass.images.plugins.module_utils._module.clones import OverlayPress

CONTENT = b"QFI\xfb".ljust(4096, b"\1") + bytes(8192)


@pytest.fixture
def started(monkeypatch):
    """Return the paths that qemu-img was started for; the overlays that it makes are ours."""
    paths = []

    def create_overlay(path, base, **_options):
        paths.append(path)
        Path(path).write_bytes(CONTENT + base.encode())

    monkeypatch.setattr(qemu_img, "create_overlay", create_overlay)
    return paths


def step(base="/pool/a.qcow2", virtual_bytes=1 << 30):
    """Return the step that makes one overlay."""
    return CreateOverlay("root", Base(base, digest="d"), virtual_bytes, 1)


def test_overlays_of_one_kind_are_made_of_the_first(started, tmp_path):
    press = OverlayPress()
    paths = [str(tmp_path / f"{number}.qcow2") for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: press.make(step(), path, "clone x"), paths))
    assert len(started) == 1
    assert {(tmp_path / path).read_bytes() for path in paths} == {CONTENT + b"/pool/a.qcow2"}


def test_another_base_or_size_is_another_kind(started, tmp_path):
    press = OverlayPress()
    kinds = [step(), step(base="/pool/b.qcow2"), step(virtual_bytes=2 << 30), step()]
    for number, kind in enumerate(kinds):
        press.make(kind, str(tmp_path / str(number)), "clone x")
    assert [path[-1] for path in started] == ["0", "1", "2"]


def test_after_a_failure_the_next_one_is_tried_anew(started, tmp_path, monkeypatch):
    press = OverlayPress()
    make_well = qemu_img.create_overlay

    def fail(*_arguments, **_options):
        raise NoSpace("clone x", "full")

    monkeypatch.setattr(qemu_img, "create_overlay", fail)
    with pytest.raises(NoSpace):
        press.make(step(), str(tmp_path / "a"), "clone x")
    monkeypatch.setattr(qemu_img, "create_overlay", make_well)
    press.make(step(), str(tmp_path / "b"), "clone y")
    assert len(started) == 1

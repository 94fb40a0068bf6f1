# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No more is allowed than is needed: an appliance has no network, and what is made is nobody else's to read."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.customization_journal import Notebook
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, FileState
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import LAYOUT
from ansible_collections.encompass.images.plugins.module_utils._drivers.directories import make_directory
from ansible_collections.encompass.images.plugins.module_utils._drivers.guestfs import Image, open_appliance
from ansible_collections.encompass.images.plugins.module_utils._drivers.locks import hold_objects
from ansible_collections.encompass.images.plugins.module_utils._drivers.private_files import private_directory
from ansible_collections.encompass.images.plugins.module_utils._drivers.seed_disk import write_seed
from ansible_collections.encompass.images.plugins.module_utils._drivers.undo import UndoStore

from tests.contract.pools import qemu_img


@pytest.fixture(params=[0, 0o077], ids=["open umask", "tight umask"])
def umask(request: pytest.FixtureRequest) -> t.Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def list_modes(root: Path) -> dict[str, str]:
    """Return the mode of all that is below a directory."""
    return {str(path.relative_to(root)): oct(path.stat().st_mode & 0o777) for path in root.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_what_is_made_on_a_provider_is_nobody_elses_to_read(tmp_path: Path) -> None:
    for below, mode in LAYOUT.items():
        make_directory(f"{tmp_path}{below}", mode, "pool default")
    assert list_modes(tmp_path) == {
        "masters": "0o711",
        "masters/.sources": "0o700",
        "clones": "0o711",
        ".staging": "0o700",
    }
    clone = tmp_path / "clones" / "web-1"
    clone.mkdir()
    undo = UndoStore(str(clone), "clone web-1")
    saved = undo.save_original("/etc/token", FileState(kind=FILE, content=b"secret"))
    undo.replace(Notebook(originals={"/etc/token": saved}))
    with private_directory() as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        write_seed(str(clone / "seed.iso"), {"user-data": "secret"}, directory, subject="clone web-1")
    with hold_objects("clone", ["web-1"], lock_file=clone / "lock"):
        pass
    assert list_modes(clone) == {
        "undo": "0o700",
        "undo/journal.json": "0o600",
        f"undo/{saved.stored}": "0o600",
        "seed.iso": "0o600",
        "lock": "0o600",
    }


def test_an_appliance_has_no_network_and_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guestfs = pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")
    launched: list[tuple[bool, bool, bool]] = []

    def launch(handle: t.Any) -> None:
        launched.append((bool(handle.get_network()), bool(handle.get_trace()), bool(handle.get_verbose())))
        raise RuntimeError("launched enough")

    monkeypatch.setattr(guestfs.GuestFS, "launch", launch)
    monkeypatch.setenv("LIBGUESTFS_TRACE", "1")
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "a.qcow2", "1M")
    guests = {"a": [Image(str(tmp_path / "a.qcow2"), "qcow2")]}
    with (
        pytest.raises(ToolFailed, match="launched enough"),
        open_appliance(guests, virt_type="qemu", subject="image a"),
    ):
        pass
    assert launched == [(False, False, False)]

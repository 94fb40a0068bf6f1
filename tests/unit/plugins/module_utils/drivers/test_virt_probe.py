# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of KVM, on emulators that are scripts: what each of them does is seen with real QEMU, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._drivers import virt_probe
from ansible_collections.encompass.images.plugins.module_utils._drivers.virt_probe import find_kernel, prove_kvm


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(virt_probe, "DEVICE", path)
    return path


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    path = tmp_path / "boot"
    path.mkdir()
    (path / "vmlinuz-6.1.0-9-amd64").touch()
    return path


def emulator_that(tmp_path: Path, does: str) -> str:
    path = tmp_path / "emulator"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


def test_a_kernel_that_speaks_proves_it(tmp_path: Path, boot: Path) -> None:
    emulator = emulator_that(
        tmp_path, "echo SeaBIOS; echo '[    0.000000] Linux version 6.1.0-9-amd64 (x)'; exec sleep 60"
    )
    started = time.monotonic()
    proof = prove_kvm(emulator, boot=boot)
    assert proof.works
    assert "printed its first line after" in proof.reason
    assert time.monotonic() - started < 4


def test_a_boot_loader_that_speaks_proves_nothing(tmp_path: Path, boot: Path, device: Path) -> None:
    emulator = emulator_that(tmp_path, "echo SeaBIOS; echo 'Probing EDD (edd=off to disable)... ok'; exec sleep 60")
    proof = prove_kvm(emulator, limit_s=0.5, boot=boot)
    assert not proof.works
    assert proof.reason == f"{device} is there, but a kernel printed nothing within 0.5 s"


def test_an_emulator_that_complains_is_quoted(tmp_path: Path, boot: Path, device: Path) -> None:
    proof = prove_kvm(emulator_that(tmp_path, "echo one >&2; echo 'no such CPU' >&2; exit 1"), boot=boot)
    assert not proof.works
    assert proof.reason == f"{device} is there, but QEMU cannot use it: no such CPU"


def test_what_is_not_there_is_named(tmp_path: Path, boot: Path, device: Path) -> None:
    assert "/no/such/emulator is not" in prove_kvm("/no/such/emulator", boot=boot).reason
    emulator = emulator_that(tmp_path, "exit 1")
    assert "no readable kernel" in prove_kvm(emulator, boot=tmp_path / "nothing").reason
    device.unlink()
    assert prove_kvm(emulator, boot=boot).reason == f"{device} is not there"


def test_nothing_is_left_running(tmp_path: Path, boot: Path) -> None:
    note = tmp_path / "pid"
    prove_kvm(emulator_that(tmp_path, f"echo $$ > {note}; exec sleep 60"), limit_s=0.5, boot=boot)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_the_newest_kernel_is_taken(boot: Path) -> None:
    for name in ("vmlinuz-6.1.0-10-amd64", "vmlinuz-5.10.0-99-amd64", "vmlinuz-9-rescue-0123", "initrd.img-9"):
        (boot / name).touch()
    assert find_kernel(boot) == boot / "vmlinuz-6.1.0-10-amd64"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which acceleration is chosen, and when it has to be proved."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.capabilities import (
    format_version,
    parse_guest_capabilities,
    parse_host_cpu,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Unsupported
from ansible_collections.encompass.images.plugins.module_utils._core.virt_type import Proof, VirtType, choose_virt_type

KNOWN = {"virt_type": "kvm", "virt_reason": "it booted", "virt_requested": "auto", "boot_id": "b1"}


def never() -> Proof:
    raise AssertionError("nothing was to be proved")


@pytest.mark.parametrize("works", [True, False])
def test_auto_is_what_is_proved(works: bool) -> None:
    name = "kvm" if works else "qemu"
    assert choose_virt_type("auto", None, "b1", lambda: Proof(works, "seen")) == VirtType(name, "seen", "auto")


def test_a_proof_holds_for_one_boot() -> None:
    assert choose_virt_type("auto", KNOWN, "b1", never) == VirtType("kvm", "it booted", "auto")
    assert choose_virt_type("auto", KNOWN, "b2", lambda: Proof(False, "now not")).name == "qemu"


@pytest.mark.parametrize(
    "known", [{}, {"boot_id": "b1"}, {**KNOWN, "virt_requested": "qemu"}, {**KNOWN, "virt_type": ""}]
)
def test_what_was_not_proved_is_proved(known: dict[str, t.Any]) -> None:
    assert choose_virt_type("auto", known, "b1", lambda: Proof(True, "seen")).reason == "seen"


def test_emulation_needs_no_proof() -> None:
    assert choose_virt_type("qemu", KNOWN, "b1", never) == VirtType("qemu", "it was asked for", "qemu")


def test_kvm_that_does_not_work_is_refused() -> None:
    with pytest.raises(Unsupported, match="printed nothing"):
        choose_virt_type("kvm", None, "b1", lambda: Proof(False, "a kernel printed nothing within 4 s"))


def test_capabilities_are_parsed() -> None:
    cpu = "<cpu><arch>x86_64</arch>{}<feature name='b'/><feature name='a'/></cpu>"
    text = f"<capabilities><host>{cpu}</host></capabilities>"
    assert parse_host_cpu(text.format("<model>EPYC</model>")) == ("x86_64", "EPYC", ("a", "b"))
    assert parse_host_cpu(text.format("")) == ("x86_64", "", ("a", "b"))
    text = "<domainCapabilities><path>/q</path><os><enum name='firmware'>{}</enum></os></domainCapabilities>"
    assert parse_guest_capabilities(text.format("<value>efi</value>")).firmwares == ("bios", "uefi")
    assert parse_guest_capabilities(text.format("")).firmwares == ("bios",)
    assert parse_guest_capabilities(text.format("")).emulator == "/q"


def test_versions_are_written_as_people_do() -> None:
    assert [format_version(number) for number in (9000000, 7002022, 10010000)] == ["9.0.0", "7.2.22", "10.10.0"]

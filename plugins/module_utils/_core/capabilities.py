# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt says about its host. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses

from .markup import parse_document, require_child


@dataclasses.dataclass(frozen=True)
class HostCapabilities:
    """The host's processor, memory and versions."""

    arch: str
    cpus: int
    memory_mib: int
    cpu_model: str
    cpu_features: tuple[str, ...]
    libvirt_version: str
    qemu_version: str


@dataclasses.dataclass(frozen=True)
class GuestCapabilities:
    """What guests of one kind (architecture and acceleration) can have there."""

    emulator: str
    firmwares: tuple[str, ...]


def parse_host_cpu(text: str) -> tuple[str, str, tuple[str, ...]]:
    """Return (arch, model, features) from a host's capabilities; model and features are empty when not known."""
    cpu = require_child(parse_document(text, subject="the host"), "host/cpu", subject="the host")
    features = sorted({feature.get("name", "") for feature in cpu.iterfind("feature")})
    return cpu.findtext("arch", ""), cpu.findtext("model", ""), tuple(features)


def parse_guest_capabilities(text: str) -> GuestCapabilities:
    """Return what a host's domain capabilities say; every x86 machine has a BIOS, so it is not listed there."""
    root = parse_document(text, subject="the host")
    listed = {value.text for value in root.iterfind("os/enum[@name='firmware']/value")}
    return GuestCapabilities(root.findtext("path", ""), ("bios", "uefi") if "efi" in listed else ("bios",))


def format_version(number: int) -> str:
    """Return libvirt's way of numbering versions as people write them: 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

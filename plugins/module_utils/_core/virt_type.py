# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which acceleration a provider's machines get, and why. Private to this collection; may change without notice."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import Unsupported

AUTO = "auto"
REQUESTS = (AUTO, "kvm", "qemu")


@dataclasses.dataclass(frozen=True)
class Proof:
    """Whether a kernel booted under KVM, and what was seen."""

    works: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class VirtType:
    """The acceleration, why it was chosen, and what was asked for."""

    name: str
    reason: str
    requested: str


def choose_virt_type(
    requested: str, known: t.Mapping[str, t.Any] | None, boot_id: str, prove: t.Callable[[], Proof]
) -> VirtType:
    """Return the acceleration for what is asked; a proof of the same boot is not repeated.

    Raises :class:`Unsupported` when KVM is demanded and does not work.
    """
    if requested == "qemu":
        return VirtType("qemu", "it was asked for", requested)
    if known and known.get("virt_type") and (known.get("boot_id"), known.get("virt_requested")) == (boot_id, requested):
        return VirtType(known["virt_type"], known.get("virt_reason") or "", requested)
    proof = prove()
    if requested == "kvm" and not proof.works:
        raise Unsupported(
            "virt_type kvm", f"KVM does not work here: {proof.reason}", remedy="Repair it, or ask for auto or qemu."
        )
    return VirtType("kvm" if proof.works else "qemu", proof.reason, requested)

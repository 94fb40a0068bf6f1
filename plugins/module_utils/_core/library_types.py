# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master as asked for, as seen, and the steps between, as values. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .image_header import ImageHeader
from .pool_layout import FileSeen, Pool


@dataclasses.dataclass(frozen=True)
class HardwareWishes:
    """What the master asks of a machine; ``firmware`` empty means: as the image tells."""

    arch: str = "x86_64"
    firmware: str = ""
    disk_bus: str = "virtio"
    min_cpus: int = 1
    min_memory_mib: int = 256


@dataclasses.dataclass(frozen=True)
class MasterRequest:
    """One master as asked for; ``digest`` and ``fingerprint`` are what is registered, empty before."""

    name: str
    pool: Pool
    source: str = ""
    format: str = ""
    volume: str = "root"
    sha256: str = ""
    hardware: HardwareWishes = HardwareWishes()
    inspect: bool = True
    digest: str = ""
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class HashRequest:
    """An image whose SHA-256 is asked for; its ``name`` is its path."""

    name: str
    pool: Pool


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a published file was made of, as it is written beside it; ``inspection`` None when nobody looked.

    ``path``, ``format``, ``sha256`` and ``fingerprint`` are those of the source.
    """

    digest: str
    published_fingerprint: str
    path: str
    format: str
    sha256: str
    fingerprint: str
    inspection: t.Mapping[str, t.Any] | None = None

    def to_json(self) -> dict[str, t.Any]:
        """Return the origin as it is stored."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(stored: t.Mapping[str, t.Any]) -> Origin:
        """Return the origin that was stored."""
        return Origin(**{field.name: stored[field.name] for field in dataclasses.fields(Origin)})


@dataclasses.dataclass(frozen=True)
class PublishedSeen:
    """A published file; ``digest`` is None when it looks as it did when it was registered, else what it holds now."""

    file: FileSeen
    virtual_bytes: int
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class SourceSeen:
    """An image that may be imported; ``header`` and ``sha256`` are known when the plan needs them."""

    file: FileSeen
    header: ImageHeader | None = None
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class MasterSeen:
    """What there is of one master; ``sharers`` are other masters with the same bytes."""

    published: PublishedSeen | None
    origin: Origin | None
    source: SourceSeen | None
    free_bytes: int
    leftovers: tuple[str, ...] = ()
    sharers: tuple[str, ...] = ()
    clones: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ImportVolume:
    """Convert a foreign image into a published file, named by its digest."""

    source: FileSeen
    format: str
    sha256: str
    expected_digest: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"import {self.source.path} ({self.format}) as qcow2"


@dataclasses.dataclass(frozen=True)
class InspectVolume:
    """Look inside the published file: firmware, partitions, operating system."""

    def describe(self) -> str:
        """Return the step in words."""
        return "inspect its operating system and file systems"


@dataclasses.dataclass(frozen=True)
class RemoveMaster:
    """Delete a master's published file, unless another master has the same bytes, and what is written of it."""

    digest: str
    keep_file: bool

    def describe(self) -> str:
        """Return the step in words."""
        return f"forget where {self.digest} came from" if self.keep_file else f"delete {self.digest}.qcow2"

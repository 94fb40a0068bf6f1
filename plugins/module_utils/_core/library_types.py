# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master as asked for, as seen, and the steps between, as values. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .image_formats.facts import ImageHeader
from .pool_layout import FileSeen, Pool
from .sources import NO_LIMITS, PUBLIC_WEB, ImportLimits, Signature, WebAccess


@dataclasses.dataclass(frozen=True)
class HardwareWishes:
    """What the master asks of a machine; ``firmware`` empty means: as the image tells."""

    arch: str = "x86_64"
    firmware: str = ""
    disk_bus: str = "virtio"
    min_cpus: int = 1
    min_memory_mib: int = 256


@dataclasses.dataclass(frozen=True)
class MasterVolume:
    """One volume of a master as asked for; ``digest`` and ``fingerprint`` are what is registered, empty before.

    ``disk`` is the number of the disk that is meant in a package, 0 for its only one.
    """

    name: str = "root"
    source: str = ""
    format: str = ""
    sha256: str = ""
    digest: str = ""
    fingerprint: str = ""
    disk: int = 0
    signature: Signature | None = None


@dataclasses.dataclass(frozen=True)
class MasterRequest:
    """One master as asked for; it boots from the first of its volumes."""

    name: str
    pool: Pool
    volumes: tuple[MasterVolume, ...] = (MasterVolume(),)
    hardware: HardwareWishes = HardwareWishes()
    inspect: bool = True
    limits: ImportLimits = NO_LIMITS
    web: WebAccess = PUBLIC_WEB


@dataclasses.dataclass(frozen=True)
class HashRequest:
    """An image whose SHA-256 is asked for; its ``name`` is its path."""

    name: str
    pool: Pool


@dataclasses.dataclass(frozen=True)
class VolumeOrigin:
    """What one published file was made of.

    ``path``, ``format``, ``sha256`` and ``fingerprint`` are the source's, ``disk`` is as in :class:`MasterVolume`.
    ``sha256`` and ``fingerprint`` are empty where nobody has read the source: another master had brought the file.
    """

    digest: str
    published_fingerprint: str
    path: str
    format: str
    sha256: str
    fingerprint: str
    name: str = "root"
    disk: int = 0


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a master's files were made of, as it is written beside them; ``inspection`` None when nobody looked.

    ``complete`` is false while several files get their names one after the other.
    """

    volumes: tuple[VolumeOrigin, ...]
    inspection: t.Mapping[str, t.Any] | None = None
    complete: bool = True

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of the files, in the order of the volumes."""
        return tuple(volume.digest for volume in self.volumes)

    def to_json(self) -> dict[str, t.Any]:
        """Return the origin as it is stored."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(stored: t.Mapping[str, t.Any]) -> Origin:
        """Return the origin that was stored; version 0.1.0 knew but one volume, and no name of it."""
        fields = [field.name for field in dataclasses.fields(VolumeOrigin)]
        volumes = [{"name": "root", "disk": 0, **volume} for volume in stored.get("volumes") or [stored]]
        return Origin(
            tuple(VolumeOrigin(**{name: volume[name] for name in fields}) for volume in volumes),
            stored["inspection"],
            stored.get("complete", True),
        )


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
class MasterVolumeSeen:
    """What there is of one volume of a master."""

    published: PublishedSeen | None = None
    source: SourceSeen | None = None


@dataclasses.dataclass(frozen=True)
class MasterSeen:
    """What there is of one master; ``shared`` are digests of its files that other masters have too."""

    volumes: tuple[MasterVolumeSeen, ...]
    origin: Origin | None
    free_bytes: int
    leftovers: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    clones: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class VolumeImport:
    """A foreign image that becomes the volume of this name."""

    volume: str
    source: FileSeen
    format: str
    sha256: str
    expected_digest: str
    disk: int = 0


@dataclasses.dataclass(frozen=True)
class ImportVolumes:
    """Convert foreign images into published files, named by their digests; those that are published stay."""

    imports: tuple[VolumeImport, ...]

    def describe(self) -> str:
        """Return the step in words."""
        return f"import {', '.join(f'{one.source.path} ({one.format})' for one in self.imports)} as qcow2"


@dataclasses.dataclass(frozen=True)
class InspectVolumes:
    """Look inside the published files: firmware, partitions, operating system."""

    def describe(self) -> str:
        """Return the step in words."""
        return "inspect its operating system and file systems"


@dataclasses.dataclass(frozen=True)
class NoteOrigin:
    """Write down that a master has files which are there already, for whoever deletes another master that has them."""

    def describe(self) -> str:
        """Return the step in words."""
        return "write down that it has the files that are there"


@dataclasses.dataclass(frozen=True)
class RemoveMaster:
    """Delete a master's published files, but for those that another master has too, and what is written of them."""

    digests: tuple[str, ...]
    kept: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the step in words."""
        if not self.digests:
            return f"forget where {', '.join(self.kept)} came from"
        return f"delete {', '.join(f'{digest}.qcow2' for digest in self.digests)}"

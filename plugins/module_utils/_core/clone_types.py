# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone as asked for, as seen, and the steps between, as values. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .pool_layout import FileSeen, Pool, format_bytes

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Base:
    """A master's published volume; ``digest`` is empty while the master is only planned (check mode)."""

    path: str
    format: str = "qcow2"
    digest: str = ""
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class VolumeRequest:
    """One volume to make; ``allocated_bytes`` is what its base holds."""

    name: str
    base: Base
    format: str = "qcow2"
    virtual_bytes: int = 0
    allocated_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class CloneRequest:
    """One clone as asked for."""

    name: str
    master: str
    pool: Pool
    volumes: tuple[VolumeRequest, ...]
    method: str = AUTO
    reflink: bool = False
    stage: str = ""
    """What the catalog says of the clone; empty when nobody says."""

    @property
    def directory(self) -> str:
        """Where the clone's volumes are."""
        return self.pool.clone_directory(self.name)

    def path_of(self, volume: str) -> str:
        """Return where a volume of the clone is."""
        return f"{self.directory}/{volume}.qcow2"


@dataclasses.dataclass(frozen=True)
class VolumeSeen:
    """A clone's volume that is there."""

    format: str
    virtual_bytes: int
    allocated_bytes: int
    backing_path: str = ""
    backing_format: str = ""
    in_use: bool = False


@dataclasses.dataclass(frozen=True)
class BaseSeen:
    """A master's published volume that is there; ``digest`` as registered, or as just read when it looked changed."""

    file: FileSeen
    digest: str
    format: str
    virtual_bytes: int
    depth: int = 1


@dataclasses.dataclass(frozen=True)
class CloneSeen:
    """What there is of one clone; bases by volume, None when a base is not there."""

    exists: bool
    volumes: t.Mapping[str, VolumeSeen]
    bases: t.Mapping[str, BaseSeen | None]
    free_bytes: int
    leftovers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class CreateOverlay:
    """Make a volume that holds only what differs from its base."""

    volume: str
    base: Base
    virtual_bytes: int
    estimated_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"make volume {self.volume} ({format_bytes(self.virtual_bytes)}) as an overlay on {self.base.path}"


@dataclasses.dataclass(frozen=True)
class CopyVolume:
    """Make a volume that needs its base no more; ``grow`` when it is larger than its base."""

    volume: str
    base: Base
    virtual_bytes: int
    estimated_bytes: int
    reflink: bool
    grow: bool

    def describe(self) -> str:
        """Return the step in words."""
        how = "by sharing its blocks" if self.reflink else "by copying its data"
        return f"make volume {self.volume} ({format_bytes(self.virtual_bytes)}) of {self.base.path} {how}"


@dataclasses.dataclass(frozen=True)
class PublishClone:
    """Give the finished volumes their name, all at once."""

    directory: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"publish {self.directory}"


@dataclasses.dataclass(frozen=True)
class RemoveClone:
    """Delete a clone's directory with all its volumes."""

    directory: str
    allocated_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"delete {self.directory} ({format_bytes(self.allocated_bytes)})"

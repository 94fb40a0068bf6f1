# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that outlive the clones of their server: names, and pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from .domain import SERIAL_MAX_CHARS
from .errors import Conflict, InvalidRequest, TransitionRefused
from .pool_layout import RemoveLeftovers, check_object_name, format_bytes, require_room
from .steps import Step

FORMATS = ("qcow2", "raw")
LABEL_MAX_CHARS = {"ext4": 16, "xfs": 12}
"""By file system; these are all that can be made."""

LEAST_BYTES = 1 << 20
_SECTOR_BYTES = 512
_LEAST_XFS_BYTES = 300 << 20  # mkfs.xfs refuses less since xfsprogs 5.19
_TABLES_BYTES = 1 << 20
_MOST_JOURNAL_BYTES = 256 << 20
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def check_volume_name(subject: str, name: t.Any) -> str:
    """Return a data volume's name; a dot would make it ambiguous beside its server's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(
            subject, f"a data volume's name is {name!r}", remedy="Use at most 32 lower-case letters, digits, hyphens."
        )
    return name


def check_file_system(subject: str, filesystem: str, label: str, virtual_bytes: int) -> None:
    """Refuse an empty file system that cannot be made."""
    if label and not filesystem:
        raise InvalidRequest(subject, "it has a label, but no filesystem that could bear it")
    if filesystem and len(label) > LABEL_MAX_CHARS[filesystem]:
        raise InvalidRequest(subject, f"its label has more than the {LABEL_MAX_CHARS[filesystem]} characters of labels")
    if not re.fullmatch(r"[A-Za-z0-9._-]*", label):
        raise InvalidRequest(subject, f"its label is {label!r}", remedy="Use A-Z a-z 0-9 . _ -")
    if filesystem == "xfs" and virtual_bytes < _LEAST_XFS_BYTES:
        raise InvalidRequest(subject, f"xfs needs at least {format_bytes(_LEAST_XFS_BYTES)}")


def join_name(server: str, volume: str) -> str:
    """Return a data volume's name in the catalog."""
    return f"{server}.{volume}"


def split_name(name: str) -> tuple[str, str]:
    """Return (server, volume); neither can hold a dot."""
    server, _dot, volume = name.partition(".")
    check_object_name(f"volume {name}", server)
    return server, check_volume_name(f"volume {name}", volume)


def serial_of(server: str, volume: str) -> str:
    """Return the serial that the guest sees: ``<server>-<volume>``, a longer one cut and with a digest at its end.

    It follows from the names alone, so that a guest finds the volume whatever else changes.
    """
    plain = f"{server}-{volume}"
    if len(plain) <= SERIAL_MAX_CHARS:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return f"{plain[: SERIAL_MAX_CHARS - 9]}-{digest}"


def path_of(pool_path: str, name: str, image_format: str) -> str:
    """Return where a data volume is."""
    server, volume = split_name(name)
    return f"{pool_path}/data/{server}/{volume}.{image_format}"


@dataclasses.dataclass(frozen=True)
class DataRequest:
    """One data volume as asked for. ``filesystem`` is made when the volume is, and never later."""

    name: str
    pool_path: str
    path: str
    format: str = "qcow2"
    virtual_bytes: int = 0
    filesystem: str = ""
    label: str = ""
    idle: bool = False
    """Whether its server is off or has it not, as the catalog says; nobody says so when False."""

    @property
    def subject(self) -> str:
        """Return the volume as errors name it."""
        return f"volume {self.name}"


@dataclasses.dataclass(frozen=True)
class DataSeen:
    """What there is of one data volume; sizes are 0 while it is not there."""

    exists: bool
    free_bytes: int
    virtual_bytes: int = 0
    allocated_bytes: int = 0
    in_use: bool = False
    depends_on: str = ""
    """A file that it is not whole without; none of ours has one."""
    leftovers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MakeData:
    """Make an empty volume, with an empty file system if one is asked for, and give it its name."""

    path: str
    format: str
    virtual_bytes: int
    filesystem: str = ""
    label: str = ""

    def describe(self) -> str:
        """Return the step in words."""
        label = f" labelled {self.label}" if self.label else ""
        inside = f" with an empty {self.filesystem}{label}" if self.filesystem else ""
        return f"make {self.path} ({self.format}, {format_bytes(self.virtual_bytes)}){inside}"


@dataclasses.dataclass(frozen=True)
class GrowData:
    """Make a volume larger; what is in it is left to the guest."""

    path: str
    format: str
    before_bytes: int
    virtual_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"grow {self.path} from {format_bytes(self.before_bytes)} to {format_bytes(self.virtual_bytes)}"


@dataclasses.dataclass(frozen=True)
class RemoveData:
    """Delete a volume with all that is in it."""

    path: str
    allocated_bytes: int

    def describe(self) -> str:
        """Return the step in words."""
        return f"delete {self.path} ({format_bytes(self.allocated_bytes)})"


def plan_data_volume(item: DataRequest, seen: DataSeen) -> list[Step]:
    """Return the steps that make or grow a volume; one that is there keeps what is in it.

    Raises :class:`InvalidRequest` for a smaller size, :class:`TransitionRefused` when it would grow in use,
    :class:`Conflict` when something else is in its place.
    """
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    if not seen.exists:
        needed_bytes = _TABLES_BYTES
        if item.filesystem:
            needed_bytes += min(item.virtual_bytes // 16, _MOST_JOURNAL_BYTES)
        require_room(item.subject, item.pool_path, needed_bytes=needed_bytes, free_bytes=seen.free_bytes)
        return [*steps, MakeData(item.path, item.format, item.virtual_bytes, item.filesystem, item.label)]
    if seen.depends_on:
        raise Conflict(item.subject, f"{item.path} is there, but it depends on {seen.depends_on}")
    if item.virtual_bytes < seen.virtual_bytes:
        raise InvalidRequest(
            item.subject,
            f"it has {format_bytes(seen.virtual_bytes)}, and {format_bytes(item.virtual_bytes)} are asked for",
            remedy="A data volume can grow, never shrink.",
        )
    if item.virtual_bytes == seen.virtual_bytes:
        return steps
    if seen.in_use:
        raise TransitionRefused(
            item.subject, "it is in use, and cannot grow meanwhile", remedy="Deactivate its machine first."
        )
    return [*steps, GrowData(item.path, item.format, seen.virtual_bytes, item.virtual_bytes)]


def plan_data_removal(item: DataRequest, seen: DataSeen) -> list[Step]:
    """Return the steps that delete a volume; refused while something has it open."""
    steps: list[Step] = [RemoveLeftovers(seen.leftovers)] if seen.leftovers else []
    if not seen.exists:
        return steps
    if seen.in_use:
        raise TransitionRefused(
            item.subject, "it is open in a running qemu or another tool", remedy="Deactivate its machine first."
        )
    return [*steps, RemoveData(item.path, seen.allocated_bytes)]


def presume_data_volume(item: DataRequest, seen: DataSeen) -> DataSeen:
    """Return what would be seen if its server were off, as the catalog says."""
    return dataclasses.replace(seen, in_use=False) if item.idle else seen


def report_data_volume(item: DataRequest, seen: DataSeen) -> dict[str, t.Any]:
    """Return the volume's record as it is once its plan is done."""
    return {
        "path": item.path,
        "format": item.format,
        "virtual_bytes": item.virtual_bytes,
        "allocated_bytes": seen.allocated_bytes,
    }


def check_size(subject: str, virtual_bytes: int) -> None:
    """Refuse a size that no disk has."""
    if virtual_bytes < LEAST_BYTES or virtual_bytes % _SECTOR_BYTES:
        raise InvalidRequest(
            subject, f"its size is {virtual_bytes} bytes", remedy="Give size_gib or size_mib, at least 1 MiB."
        )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's disks and file systems, as its kernel tells them over ssh. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .disk_passes import Freezing
from .donation import NEVER
from .errors import NotFound, ToolFailed, Unsupported
from .pool_layout import format_bytes

_SECTOR_BYTES = 512

# The digests of all chunks are held in memory, and the size is the donor's word.
_MOST_BYTES = 64 << 40

_TOOLS = ("dd", "sha256sum", "readlink", "df")

# What a system does not boot without: all of it has to be on the disks that are copied, and it boots from the first.
_SYSTEM = ("/boot/efi", "/efi", "/boot", "/", "/usr")
_NO_DISK = re.compile(r"(loop|zram|ram|nbd|fd|sr)\d+")

# Linux cannot freeze these; they have no journal, and next to nobody writes to them (the EFI partition).
_NEVER_FROZEN = ("vfat", "msdos", "exfat")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block device; ``kind`` is device mapper's (LVM, CRYPT, mpath), ``slaves`` are what it is made of."""

    name: str
    number: str
    size_bytes: int
    is_read_only: bool = False
    is_removable: bool = False
    parent: str = ""
    kind: str = ""
    slaves: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Its device file."""
        return f"/dev/{self.name.replace('!', '/')}"


@dataclasses.dataclass(frozen=True)
class MountedSeen:
    """A mounted file system."""

    number: str
    mountpoint: str
    filesystem: str
    source: str
    is_writable: bool


@dataclasses.dataclass(frozen=True)
class HostSeen:
    """What a machine has."""

    tools: frozenset[str]
    blocks: t.Mapping[str, Block]
    mounts: tuple[MountedSeen, ...]

    def find_block(self, mount: MountedSeen) -> Block | None:
        """Return the device that a file system is on; btrfs has no number of its own device."""
        for block in self.blocks.values():
            if block.number == mount.number or block.path == mount.source:
                return block
        return None

    def list_chain(self, block: Block) -> list[Block]:
        """Return a device and all that it is on."""
        below = [block.parent] if block.parent else [] if block.kind == "mpath" else list(block.slaves)
        found = [self.blocks[name] for name in below if name in self.blocks]
        return [block, *(deeper for one in found for deeper in self.list_chain(one))]

    def list_disks(self, block: Block) -> list[Block]:
        """Return the whole disks that a device is on."""
        return [one for one in self.list_chain(block) if is_disk(one)]


def is_disk(block: Block) -> bool:
    """Tell whether a device is a whole disk, and not made of others."""
    return not block.parent and (not block.slaves or block.kind == "mpath")


def parse_host(lines: t.Sequence[str], subject: str) -> HostSeen:
    """Return what the donor's answer says."""
    tools: set[str] = set()
    blocks: dict[str, Block] = {}
    mounts: list[MountedSeen] = []
    try:
        for line in lines:
            kind, _space, rest = line.partition(" ")
            if kind == "tool":
                tools.add(rest)
            elif kind == "block":
                block = _parse_block(rest.split())
                blocks[block.name] = block
            elif kind == "mount":
                mounts.append(_parse_mount(rest))
    except (ValueError, IndexError) as exc:
        raise ToolFailed(subject, "what it says of its disks is not understood") from exc
    return HostSeen(frozenset(tools), blocks, tuple(mounts))


def _parse_block(words: t.Sequence[str]) -> Block:
    name, number, sectors, read_only, removable, parent, kind = words[:7]
    return Block(
        name,
        number,
        int(sectors) * _SECTOR_BYTES,
        read_only == "1",
        removable == "1",
        "" if parent == "-" else parent,
        "" if kind == "-" else kind,
        tuple(words[7:]),
    )


def _parse_mount(line: str) -> MountedSeen:
    """Return a line of /proc/self/mountinfo (proc(5)); what it escapes is a backslash with three octal digits."""
    before, _dash, after = line.partition(" - ")
    _id, _parent, number, _root, mountpoint = before.split(" ")[:5]
    filesystem, source, options = after.split(" ")[:3]
    place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mountpoint)
    return MountedSeen(number, place, filesystem, source, "rw" in options.split(","))


def require_tools(host: HostSeen, subject: str) -> None:
    """Raise unless the machine has all that reading its disks takes."""
    missing = [name for name in _TOOLS if name not in host.tools]
    if missing:
        raise Unsupported(subject, f"it lacks {', '.join(missing)}", remedy="Install coreutils or busybox there.")


def choose_disks(host: HostSeen, named: t.Sequence[str], subject: str) -> tuple[Block, ...]:
    """Return the disks to copy: those named (as the kernel calls them), else those that the system boots from.

    Raises :class:`Unsupported` when they do not hold what the system boots from, or hold it encrypted.
    """
    system = _list_system(host)
    if not named and not system:
        raise Unsupported(subject, "its root is on no disk that it knows of", remedy="Name its disks (disks).")
    needed = list(dict.fromkeys(disk.name for block in system for disk in host.list_disks(block)))
    chosen = tuple(_require_disk(host, name, subject) for name in dict.fromkeys(named or needed))
    if not named:
        _refuse_unlikely(chosen, subject)
    if {disk.name for disk in chosen}.isdisjoint(needed):
        return chosen  # the system there is another one than the one that runs
    left = [name for name in needed if name not in named]
    if named and left:
        raise Unsupported(subject, f"its system is on {', '.join(left)} too", remedy="Name all its disks (disks).")
    encrypted = [one.name for block in system for one in host.list_chain(block) if one.kind == "CRYPT"]
    if encrypted:
        raise Unsupported(subject, f"its system is encrypted ({encrypted[0]}), and nobody could open a copy of it")
    return chosen


def _list_system(host: HostSeen) -> list[Block]:
    places = {mount.mountpoint: mount for mount in host.mounts}  # the last one there hides the others
    found = (host.find_block(places[place]) for place in _SYSTEM if place in places)
    return [block for block in found if block is not None]


def _require_disk(host: HostSeen, name: str, subject: str) -> Block:
    block = host.blocks.get(name)
    if block is None:
        disks = sorted(one.path for one in host.blocks.values() if is_disk(one) and one.size_bytes)
        raise NotFound(subject, f"it has no disk {name}", remedy=f"Its disks are {', '.join(disks)}.")
    if not is_disk(block):
        raise Unsupported(subject, f"{block.path} is only a part of a disk, or made of others", remedy="Name the disk.")
    if not 0 < block.size_bytes <= _MOST_BYTES:
        size = format_bytes(block.size_bytes)
        raise Unsupported(
            subject, f"its disk {block.path} cannot be copied: it has {size}", remedy="Name others (disks)."
        )
    return block


def _refuse_unlikely(disks: t.Sequence[Block], subject: str) -> None:
    """Raise when a disk that nobody named is none that a machine keeps its system on."""
    for disk in disks:
        if disk.is_read_only or disk.is_removable or _NO_DISK.fullmatch(disk.name):
            raise Unsupported(
                subject,
                f"its system is on {disk.path}, which is read-only, removable or no real disk",
                remedy="Name its disks (disks) if you mean it.",
            )


def list_mounted(host: HostSeen, disks: t.Sequence[Block]) -> list[MountedSeen]:
    """Return the file systems on these disks that are mounted for writing, each once, those mounted last first."""
    names = {disk.name for disk in disks}
    found: dict[str, MountedSeen] = {}
    for mount in host.mounts:
        block = host.find_block(mount)
        if block is not None and mount.is_writable and names & {disk.name for disk in host.list_disks(block)}:
            found.setdefault(block.name, mount)
    return list(found.values())[::-1]


def describe_obstacles(host: HostSeen, mounted: t.Sequence[MountedSeen]) -> str:
    """Return why file systems cannot be frozen; empty when nothing is known against it."""
    if mounted and "fsfreeze" not in host.tools:
        return "it lacks fsfreeze"
    if mounted and not _list_places(mounted):
        return "none of its file systems is of a kind that can be"
    odd = [mount.mountpoint for mount in mounted if "\n" in mount.mountpoint]
    return "a mount point has a line break in its name" if odd else ""


def _list_places(mounted: t.Sequence[MountedSeen]) -> tuple[str, ...]:
    return tuple(mount.mountpoint for mount in mounted if mount.filesystem not in _NEVER_FROZEN)


def make_freezing(host: HostSeen, disks: t.Sequence[Block], wanted: str, limit_s: float) -> Freezing:
    """Return what can be frozen of these disks."""
    mounted = list_mounted(host, disks)
    obstacle = describe_obstacles(host, mounted) if wanted != NEVER else ""
    return Freezing(wanted, limit_s, _list_places(mounted), obstacle, is_written=bool(mounted))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a disk that is in use is read until its copy is of one moment. Pure; private to this collection.

A pass compares every chunk of the disk with the copy. When a whole pass finds nothing that differs, the copy is the
disk as it was between that pass and the one before: what a crash would have left then. When file systems are frozen
for a whole pass, they are whole in the copy.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import typing as t

from .donation import CRASH, FROZEN, NEVER, OFF, REQUIRED
from .errors import Conflict, Unsupported

CHUNK_BYTES = 4 << 20

# What still differs when it is worth stopping writers for it, and how often it may be read before.
_FEW_CHUNKS = 16
_MOST_MOVING = 5
_MOST_PASSES = 8

# Slower than any line that one would fetch a disk over.
_SLOWEST_BYTES_PER_S = 1 << 20
_LEAST_S = 600.0


@dataclasses.dataclass(frozen=True)
class Freezing:
    """What can be frozen, and what is wanted; ``places`` are mount points, those mounted last first.

    ``obstacle`` is why nothing can be frozen; ``is_written`` says whether a file system of the disk is mounted for
    writing at all.
    """

    wanted: str
    limit_s: float
    places: tuple[str, ...]
    obstacle: str = ""
    is_written: bool = True


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass: how many chunks differed, and how many bytes of them came."""

    is_frozen: bool
    differed: int
    fetched_bytes: int
    duration_s: float


def count_chunks(size_bytes: int) -> int:
    """Return how many chunks a disk has; the last one may be short."""
    return -(-size_bytes // CHUNK_BYTES)


def measure_chunk(size_bytes: int, number: int) -> int:
    """Return how long a chunk is."""
    return min(CHUNK_BYTES, size_bytes - number * CHUNK_BYTES)


def hash_chunk(content: bytes) -> str:
    """Return the SHA-256 of a chunk, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@functools.lru_cache(maxsize=8)
def hash_zeros(length: int) -> str:
    """Return the SHA-256 of so many zeros, in hexadecimal."""
    return hash_chunk(bytes(length))


def limit_pass_s(size_bytes: int) -> float:
    """Return how long a pass may take: enough for a slow line, and not for ever."""
    return _LEAST_S + size_bytes / _SLOWEST_BYTES_PER_S


def plan_freezing(freezing: Freezing, passes: t.Sequence[Pass], subject: str) -> Freezing:
    """Return the freezing with what the passes so far say against it; raise when it is required all the same."""
    reason = freezing.obstacle
    if not reason and freezing.places and len(passes) > 1 and passes[-1].duration_s > freezing.limit_s:
        reason = (
            f"reading its disks took {passes[-1].duration_s:.0f} s, and its file systems may be frozen for "
            f"{freezing.limit_s:.0f} s"
        )
    if reason and freezing.wanted == REQUIRED:
        raise Unsupported(
            subject, f"its file systems cannot be frozen: {reason}", remedy="Give another freeze or freeze_limit_s."
        )
    return dataclasses.replace(freezing, obstacle=reason)


def is_due_to_freeze(freezing: Freezing, passes: t.Sequence[Pass]) -> bool:
    """Tell whether the next pass is the one with all file systems frozen."""
    if freezing.wanted == NEVER or freezing.obstacle or not freezing.places or len(passes) < 2:
        return False
    last, before = passes[-1], passes[-2]
    return last.differed <= _FEW_CHUNKS or last.differed * 2 > before.differed or len(passes) >= _MOST_MOVING


def is_one_moment(passes: t.Sequence[Pass]) -> bool:
    """Tell whether the copy is of one moment."""
    return bool(passes) and (passes[-1].is_frozen or passes[-1].differed == 0)


def require_hope(freezing: Freezing, passes: t.Sequence[Pass], subject: str) -> None:
    """Raise :class:`Conflict` when a disk is written to all the time and nothing may stop that."""
    if len(passes) < _MOST_PASSES:
        return
    why = f" ({freezing.obstacle})" if freezing.obstacle else ""
    remedy = "Stop what writes there" if why else "Capture with freeze: auto, or stop what writes there"
    raise Conflict(
        subject,
        f"its disks are written to all the time: after {len(passes)} passes {passes[-1].differed} parts still differ, "
        f"and its file systems are not frozen{why}",
        remedy=f"{remedy}, and run again. What was copied is kept.",
    )


def describe_copy(freezing: Freezing, passes: t.Sequence[Pass]) -> dict[str, t.Any]:
    """Return what people have to know of a copy."""
    is_frozen = passes[-1].is_frozen
    return {
        "consistency": FROZEN if is_frozen else CRASH if freezing.is_written else OFF,
        "consistency_reason": None if is_frozen else freezing.obstacle or None,
        "frozen_s": round(passes[-1].duration_s, 1) if is_frozen else None,
        "passes": len(passes),
        "fetched_bytes": sum(one.fetched_bytes for one in passes),
    }


def describe_freezing(freezing: Freezing) -> str:
    """Return in words what is going to be frozen."""
    if not freezing.is_written:
        return "none of its file systems is mounted for writing"
    if freezing.wanted == NEVER or freezing.obstacle or not freezing.places:
        return f"nothing is frozen{f' ({freezing.obstacle})' if freezing.obstacle else ''}"
    return f"in the end {', '.join(freezing.places)} frozen for {freezing.limit_s:.0f} s at most"

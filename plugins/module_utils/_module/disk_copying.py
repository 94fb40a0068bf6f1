# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of a machine that runs, read over ssh until the copies are of one moment. Private to this collection."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import time
import typing as t

from .._core.disk_passes import (
    Freezing,
    Pass,
    describe_copy,
    is_due_to_freeze,
    is_one_moment,
    limit_pass_s,
    plan_freezing,
    require_hope,
)
from .._core.donor_host import Block
from .._core.errors import Conflict
from .._drivers.donor_session import DonorSession
from .._drivers.sparse_copies import SparseCopy, open_copy

# How often a chunk is asked for that changes while its disk is frozen.
_MOST_TRIES = 5


def copy_disks(
    session: DonorSession, disks: t.Mapping[pathlib.Path, Block], freezing: Freezing, subject: str
) -> dict[str, t.Any]:
    """Copy disks to files, going on with what is there; return what people have to know of the copies."""
    with contextlib.ExitStack() as stack:
        copies = [
            (disk, stack.enter_context(open_copy(path, disk.size_bytes, subject))) for path, disk in disks.items()
        ]
        passes: list[Pass] = []
        while not is_one_moment(passes):
            freezing = plan_freezing(freezing, passes, subject)
            require_hope(freezing, passes, subject)
            due = is_due_to_freeze(freezing, passes)
            reason = session.freeze(freezing.places, freezing.limit_s) if due else ""
            if not reason:
                one, reason = _make_pass(session, copies, subject, is_frozen=due)
                passes.append(one)
            freezing = dataclasses.replace(freezing, obstacle=reason or freezing.obstacle)
        for _disk, copy in copies:
            copy.verify()
    return describe_copy(freezing, passes)


def _make_pass(
    session: DonorSession, copies: t.Sequence[tuple[Block, SparseCopy]], subject: str, *, is_frozen: bool
) -> tuple[Pass, str]:
    """Return the pass, and why it was not frozen to its end although it should have been."""
    begun = time.monotonic()
    session.limit(limit_pass_s(sum(disk.size_bytes for disk, _copy in copies)))
    differed = fetched_bytes = 0
    for disk, copy in copies:
        _open_same(session, disk, subject)
        chunks, size_bytes = _compare(session, copy, disk, subject, tries=_MOST_TRIES if is_frozen else 0)
        differed += chunks
        fetched_bytes += size_bytes
    remained = not is_frozen or session.thaw()
    duration_s = time.monotonic() - begun
    reason = "" if remained else f"they were thawed before their disks were read, which took {duration_s:.0f} s"
    return Pass(is_frozen and remained, differed, fetched_bytes, duration_s), reason


def _open_same(session: DonorSession, disk: Block, subject: str) -> None:
    name, size_bytes = session.open_disk(disk.path)
    if (name, size_bytes) != (disk.name, disk.size_bytes):
        raise Conflict(
            subject,
            f"its disk {disk.path} has {size_bytes} bytes now, and had {disk.size_bytes}",
            remedy="Leave its disks as they are and run again.",
        )


def _compare(session: DonorSession, copy: SparseCopy, disk: Block, subject: str, *, tries: int) -> tuple[int, int]:
    """Bring the copy up to date; return how many chunks differed, and how many bytes came.

    A chunk that changed between its digest and its content is asked for again, ``tries`` times.
    """
    there = session.hash_chunks(len(copy.digests))
    requests = collections.deque((at, digest) for at, digest in enumerate(copy.digests) if there.get(at) != digest)
    differed = len(requests)
    came: collections.Counter[int] = collections.Counter()
    fetched_bytes = 0
    for chunk in session.exchange(disk.size_bytes, requests):
        if chunk is None:
            continue
        came[chunk.number] += 1
        fetched_bytes += len(chunk.content)
        copy.write(chunk.number, chunk.content)
        if copy.digests[chunk.number] == chunk.digest or not tries:
            continue
        if came[chunk.number] > tries:
            raise Conflict(
                subject,
                f"its disk {disk.path} is written to although its file systems are frozen",
                remedy="Stop what writes to it without a file system, such as swap or a database.",
            )
        requests.append((chunk.number, copy.digests[chunk.number]))
    return differed, fetched_bytes

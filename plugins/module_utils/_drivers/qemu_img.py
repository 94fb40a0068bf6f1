# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-img: every call names every format and has a time limit. Private to this collection.

Paths must be absolute: qemu takes what stands before a colon of any other name for a protocol.
"""

from __future__ import annotations

import json
import typing as t

from .._core.errors import InvalidRequest, NoSpace, ToolFailed
from .process import ToolLimits, run_tool

# Named one by one, so that a later qemu with other defaults makes the same bytes.
_QCOW2 = "compat=1.1,cluster_size=65536,refcount_bits=16,lazy_refcounts=off,preallocation=off"
_STRANGER_MEMORY_BYTES = 4 << 30
"""Address space: a conversion needs half a GiB of it, and its threads reserve more that they never use."""


def create_overlay(path: str, base: str, *, base_format: str, virtual_bytes: int, subject: str) -> None:
    """Make a qcow2 volume over ``base``."""
    _run("create", "-q", "-f", "qcow2", "-o", _QCOW2, "-b", base, "-F", base_format, path, str(virtual_bytes),
         paths=(path, base), subject=subject, timeout_s=60)  # fmt: skip


def create_volume(path: str, image_format: str, virtual_bytes: int, *, subject: str) -> None:
    """Make an empty volume that stands alone; nothing of it is allocated."""
    options = _QCOW2 if image_format == "qcow2" else "preallocation=off"
    _run("create", "-q", "-f", image_format, "-o", options, path, str(virtual_bytes),
         paths=(path,), subject=subject, timeout_s=60)  # fmt: skip


def rebase(path: str, base: str, *, base_format: str, subject: str) -> None:
    """Write into an overlay where its base is now; the base itself is the same as before."""
    _run("rebase", "-q", "-u", "-f", "qcow2", "-b", base, "-F", base_format, path,
         paths=(path, base), subject=subject, timeout_s=60)  # fmt: skip


def limit_stranger(*, timeout_s: float, file_bytes: int = 0) -> ToolLimits:
    """Return the limits of reading a stranger's image; all that is written is one file of ``file_bytes``."""
    return ToolLimits(timeout_s, _STRANGER_MEMORY_BYTES, file_bytes)


def convert(
    source: str, source_format: str, target: str, *, subject: str, timeout_s: float, limits: ToolLimits | None = None
) -> None:
    """Make a flat qcow2 of an image; only its data, holes stay holes. With ``limits`` it is a stranger's.

    The clusters are written in order (no ``-W``), so that the same image gives the same bytes each time.
    """
    _run("convert", "-q", "-O", "qcow2", "-o", _QCOW2, *_name_source(source, source_format, limits), target,
         paths=(source, target), subject=subject, timeout_s=timeout_s, limits=limits)  # fmt: skip


def _name_source(path: str, image_format: str, limits: ToolLimits | None) -> list[str]:
    """Return the words for an image; a stranger's is read without whatever other file it may name below it."""
    if limits is None:
        return ["-f", image_format, path]
    options = {"driver": image_format, "backing": None, "file": {"driver": "file", "filename": path}}
    return [f"json:{json.dumps(options)}"]


def resize(path: str, virtual_bytes: int, *, subject: str, image_format: str = "qcow2") -> None:
    """Grow a volume."""
    _run("resize", "-q", "-f", image_format, path, str(virtual_bytes), paths=(path,), subject=subject, timeout_s=60)


def compare(path: str, other: str, *, other_format: str, subject: str, timeout_s: float) -> None:
    """Raise :class:`ToolFailed` unless the qcow2 volume holds what the other image holds."""
    try:
        _run("compare", "-q", "-f", "qcow2", "-F", other_format, path, other,
             paths=(path, other), subject=subject, timeout_s=timeout_s)  # fmt: skip
    except NoSpace:
        raise
    except ToolFailed as exc:
        raise ToolFailed(subject, f"the copy could not be proved equal to {other}: {exc.problem}") from exc


def measure(source: str, source_format: str, *, subject: str, limits: ToolLimits | None = None) -> int:
    """Return how many bytes a flat qcow2 of an image takes. With ``limits`` it is a stranger's."""
    answer = _run("measure", "--output=json", "-O", "qcow2", "-o", _QCOW2, *_name_source(source, source_format, limits),
                  paths=(source,), subject=subject, timeout_s=300, limits=limits)  # fmt: skip
    try:
        return int(json.loads(answer)["required"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ToolFailed(subject, "qemu-img measure gave an answer that is not understood") from exc


def _run(
    *arguments: str, paths: t.Sequence[str], subject: str, timeout_s: float, limits: ToolLimits | None = None
) -> str:
    for path in paths:
        if not path.startswith("/"):
            raise InvalidRequest(subject, f"the path {path!r} is not absolute", remedy="Give an absolute path.")
    # qemu-img 7.2 only complains when the last of an image's tables cannot be written, and exits with 0.
    return run_tool(["qemu-img", *arguments], subject=subject, timeout_s=timeout_s, limits=limits, is_silent=True)

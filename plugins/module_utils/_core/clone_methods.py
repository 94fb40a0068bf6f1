# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to make a clone of its master, and why one is chosen. Private to this collection.

A method is a row of METHODS, in the order in which ``auto`` prefers them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .clone_types import AUTO, Base, BaseSeen, CloneRequest, CloneSeen, CopyVolume, CreateOverlay, VolumeRequest
from .errors import Unsupported
from .pool_layout import MAX_CHAIN_DEPTH
from .steps import Step

_CLUSTER_BYTES = 65536
_REFLINK_BYTES = 65536
"""What sharing all of a file's blocks costs: its extents and its inode, rounded up."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A cloning method, why it, and why not the others."""

    method: str
    reason: str
    rejected: t.Mapping[str, str]


class _Method(t.NamedTuple):
    """One way to make a volume."""

    name: str
    find_obstacle: t.Callable[[CloneRequest, VolumeRequest, BaseSeen | None], str]
    explain: t.Callable[[CloneRequest], str]
    estimate: t.Callable[[CloneRequest, VolumeRequest, BaseSeen | None], int]
    make_step: t.Callable[[CloneRequest, VolumeRequest, BaseSeen | None], Step]


def choose_method(request: CloneRequest, seen: CloneSeen) -> Choice:
    """Choose the method for all volumes of a clone; the first of METHODS that nothing stands against.

    Raises :class:`Unsupported` when the method that was asked for cannot be used.
    """
    rejected: dict[str, str] = {}
    chosen: _Method | None = None
    for method in METHODS:
        obstacle = _find_obstacle(method, request, seen)
        if request.method not in (AUTO, method.name):
            rejected[method.name] = f"{request.method} was asked for"
        elif obstacle:
            rejected[method.name] = obstacle
        elif chosen is None:
            chosen = method
        else:
            rejected[method.name] = f"{chosen.name} is cheaper"
    if chosen is None:
        why = rejected.get(request.method) or "; ".join(f"{name}: {reason}" for name, reason in rejected.items())
        raise Unsupported(f"clone {request.name}", f"it cannot be made by {request.method}: {why}")
    return Choice(chosen.name, chosen.explain(request), rejected)


def _find_obstacle(method: _Method, request: CloneRequest, seen: CloneSeen) -> str:
    found = (method.find_obstacle(request, volume, seen.bases.get(volume.name)) for volume in request.volumes)
    return next((obstacle for obstacle in found if obstacle), "")


def estimate_bytes(request: CloneRequest, seen: CloneSeen) -> int:
    """Return how many bytes of the pool the clone takes when it is new."""
    method = BY_NAME[choose_method(request, seen).method]
    return sum(method.estimate(request, volume, seen.bases.get(volume.name)) for volume in request.volumes)


def target_bytes(volume: VolumeRequest, base: BaseSeen | None) -> int:
    """Return the volume's virtual size: as asked, else that of its base."""
    return volume.virtual_bytes or (base.virtual_bytes if base else 0)


def _refuse_overlay(request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> str:
    if volume.base.format != "qcow2":
        return f"the master's volume {volume.name} is {volume.base.format}, not qcow2"
    if not _is_in_pool(request, volume):
        return f"the master's volume {volume.name} is not in the clone's pool"
    if base is not None and base.depth + 1 > MAX_CHAIN_DEPTH:
        return f"its chain would be {base.depth + 1} files deep, {MAX_CHAIN_DEPTH} are the limit"
    return ""


def _refuse_copy(_request: CloneRequest, _volume: VolumeRequest, _base: BaseSeen | None) -> str:
    return ""


def _explain_overlay(_request: CloneRequest) -> str:
    return "the master is qcow2 in the same pool: an overlay takes milliseconds and holds only what differs"


def _explain_copy(request: CloneRequest) -> str:
    if _shares_blocks(request):
        return "the pool shares blocks (reflink): a copy takes milliseconds and does not depend on the master"
    return "only the data that the master holds are copied, and compared afterwards"


def _estimate_overlay(_request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> int:
    """Return the size of qcow2's tables: header, refcount table and block, and 8 bytes for each 512 MiB (L1)."""
    l1_bytes = 8 * -(-target_bytes(volume, base) // (_CLUSTER_BYTES * _CLUSTER_BYTES // 8))
    return _CLUSTER_BYTES * 3 + -(-max(l1_bytes, 1) // _CLUSTER_BYTES) * _CLUSTER_BYTES


def _estimate_copy(request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> int:
    if _shares_blocks(request):
        return _REFLINK_BYTES
    return base.file.allocated_bytes if base else volume.allocated_bytes


def _make_overlay(request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> Step:
    estimated_bytes = _estimate_overlay(request, volume, base)
    return CreateOverlay(volume.name, _pin_base(volume.base, base), target_bytes(volume, base), estimated_bytes)


def _make_copy(request: CloneRequest, volume: VolumeRequest, base: BaseSeen | None) -> Step:
    virtual_bytes = target_bytes(volume, base)
    return CopyVolume(
        volume.name,
        _pin_base(volume.base, base),
        virtual_bytes,
        _estimate_copy(request, volume, base),
        reflink=_shares_blocks(request),
        grow=base is not None and virtual_bytes > base.virtual_bytes,
    )


def _pin_base(asked: Base, seen: BaseSeen | None) -> Base:
    """Return the base with the fingerprint that it has now, so that a change while it is read shows."""
    return dataclasses.replace(asked, fingerprint=seen.file.fingerprint) if seen else asked


def _is_in_pool(request: CloneRequest, volume: VolumeRequest) -> bool:
    return volume.base.path.startswith(f"{request.pool.path}/") or not volume.base.path


def _shares_blocks(request: CloneRequest) -> bool:
    """Return whether the copies can share blocks: one file system, and qcow2 already."""
    return request.reflink and all(
        _is_in_pool(request, volume) and volume.base.format == volume.format for volume in request.volumes
    )


METHODS: tuple[_Method, ...] = (
    _Method("overlay", _refuse_overlay, _explain_overlay, _estimate_overlay, _make_overlay),
    _Method("copy", _refuse_copy, _explain_copy, _estimate_copy, _make_copy),
)
BY_NAME = {method.name: method for method in METHODS}
METHOD_NAMES = (AUTO, *BY_NAME)

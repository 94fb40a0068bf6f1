# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose a provider for each new machine, and say why. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidRequest


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A provider as placement sees it; ``free_memory_mib`` is what no machine of the catalog has been promised."""

    name: str
    arch: str
    cpus: int
    memory_mib: int
    free_memory_mib: int
    firmwares: frozenset[str]
    networks: frozenset[str]
    pools: t.Mapping[str, int]
    """Free bytes by pool."""
    masters: frozenset[tuple[str, str]]
    """(master, pool) pairs that can be cloned here."""
    members: int = 0
    """Machines of the same deployment that are already here."""


@dataclasses.dataclass(frozen=True)
class Need:
    """What one machine needs of a provider; ``providers`` empty means any.

    ``homes`` are the providers that reach the data volumes which the machine has already; empty when it has none.
    """

    subject: str
    master: str
    arch: str
    firmware: str
    cpus: int
    memory_mib: int
    networks: tuple[str, ...]
    pool: str
    volume_bytes: int
    strategy: str = "spread"
    providers: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    data_pools: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where one machine goes, why, and why not elsewhere."""

    provider: str
    reason: str
    rejected: t.Mapping[str, str]


def find_obstacle(need: Need, candidate: Candidate) -> str | None:
    """Return why the machine cannot live there; None when it can."""
    checks: tuple[tuple[bool, str], ...] = (
        (bool(need.providers) and candidate.name not in need.providers, "not among the providers asked for"),
        (bool(need.homes) and candidate.name not in need.homes, "it does not reach the data volumes of the machine"),
        *((pool not in candidate.pools, f"it does not reach pool {pool}") for pool in need.data_pools),
        (candidate.arch != need.arch, f"its architecture is {candidate.arch}, the master's is {need.arch}"),
        (need.firmware not in candidate.firmwares, f"it has no {need.firmware} firmware"),
        (need.cpus > candidate.cpus, f"it has {candidate.cpus} CPUs, {need.cpus} are needed"),
        (
            need.memory_mib > candidate.free_memory_mib,
            f"{candidate.free_memory_mib} of its {candidate.memory_mib} MiB are free, {need.memory_mib} are needed",
        ),
        *((net not in candidate.networks, f"network {net} is not there") for net in need.networks),
        (need.pool not in candidate.pools, f"it does not reach pool {need.pool}"),
        (
            (need.master, need.pool) not in candidate.masters,
            f"master {need.master} has no copy in its pool {need.pool}",
        ),
        (
            candidate.pools.get(need.pool, 0) < need.volume_bytes,
            f"pool {need.pool} has {candidate.pools.get(need.pool, 0)} bytes free, {need.volume_bytes} are needed",
        ),
    )
    return next((reason for failed, reason in checks if failed), None)


def place_machine(need: Need, candidates: t.Sequence[Candidate]) -> Choice:
    """Choose the provider for one machine.

    ``spread`` takes the provider with the fewest members of the deployment, then the most free memory, then the
    first name; ``pack`` takes the one with the least free memory that still fits.
    """
    rejected = {candidate.name: find_obstacle(need, candidate) for candidate in candidates}
    fitting = [candidate for candidate in candidates if rejected[candidate.name] is None]
    why_not = {name: reason for name, reason in rejected.items() if reason is not None}
    if not fitting:
        listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(why_not.items()))
        raise InvalidRequest(
            need.subject,
            f"no provider can take it ({listed or 'there is none'})",
            remedy="Ask for less, free room, or prepare a provider that fits (hypervisor, add_master).",
        )
    if need.strategy == "pack":
        best = min(fitting, key=lambda c: (c.free_memory_mib, c.name))
        reason = f"fullest that fits: {best.free_memory_mib} MiB free"
    else:
        best = min(fitting, key=lambda c: (c.members, -c.free_memory_mib, c.name))
        reason = f"fewest members of it ({best.members}), {best.free_memory_mib} MiB free"
    return Choice(best.name, reason, why_not)


def place_machines(needs: t.Sequence[Need], candidates: t.Sequence[Candidate]) -> list[Choice]:
    """Place machines one after the other, each knowing what the ones before it took."""
    left = {candidate.name: candidate for candidate in candidates}
    choices = []
    for need in needs:
        choice = place_machine(need, list(left.values()))
        left[choice.provider] = take_room(left[choice.provider], need)
        choices.append(choice)
    return choices


def take_room(candidate: Candidate, need: Need) -> Candidate:
    """Return the candidate with one machine more on it."""
    return dataclasses.replace(
        candidate,
        free_memory_mib=candidate.free_memory_mib - need.memory_mib,
        pools={**candidate.pools, need.pool: candidate.pools[need.pool] - need.volume_bytes},
        members=candidate.members + 1,
    )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of verify, and what they say. Pure; private to this collection."""

from __future__ import annotations

import collections
import typing as t

from . import machines, records, storage
from .findings import KINDS, SEVERITIES, Finding, rank
from .scene import Scene

CHECKS: tuple[t.Callable[[Scene], t.Iterator[Finding]], ...] = (
    storage.check_clones,
    storage.check_directories,
    storage.check_data,
    storage.check_masters,
    storage.check_staging,
    machines.check_machines,
    machines.check_domains,
    machines.check_reservations,
    records.check_links,
    records.check_deployments,
    records.check_functions,
    records.check_unique,
    records.check_providers,
    records.check_failures,
)


def find_all(scene: Scene) -> list[Finding]:
    """Return everything that is not as it should be, the gravest first."""
    return sorted((finding for check in CHECKS for finding in check(scene)), key=rank)


def describe_findings(findings: t.Sequence[Finding], scene: Scene) -> list[str]:
    """Return what an operator is told, in lines."""
    objects = sum(len(bodies) for bodies in scene.records.values())
    looked = f"{objects} objects of the catalog and {len(scene.seen)} providers"
    lines = [f"{len(findings)} findings in {looked}" if findings else f"nothing to find fault with in {looked}"]
    skipped = sorted(set(scene.records["provider"]) - set(scene.seen))
    if skipped:
        lines.append(f"not looked at, because they were not reached: {', '.join(skipped)}")
    if scene.busy:
        lines.append(f"not judged, because somebody is at work on them: {_list_briefly(scene)}")
    for finding in findings:
        severity, remedy = KINDS[finding.kind]
        where = f" on {finding.provider}" if finding.provider else ""
        lines += [f"  {severity}: {finding.subject}{where}: {finding.problem} ({finding.kind})", f"      {remedy}"]
    return lines


def count_severities(findings: t.Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    counts = collections.Counter(KINDS[finding.kind].severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def _list_briefly(scene: Scene) -> str:
    names = [" ".join(key) for key in sorted(scene.busy)]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

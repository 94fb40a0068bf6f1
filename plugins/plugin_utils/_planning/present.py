# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in words, for people. Pure; private to this collection."""

from __future__ import annotations

import typing as t

from ...module_utils._core.pool_layout import format_bytes
from .plans import DeploymentPlan, MemberPlan


def describe_plans(plans: t.Sequence[DeploymentPlan]) -> list[str]:
    """Return the plans as lines: what happens to each server, where, and why."""
    lines: list[str] = []
    for plan in plans:
        todo = [member for member in plan.members if member.action != "keep"]
        kept = len(plan.members) - len(todo)
        head = "nothing to do" if plan.settled else f"{len(todo)} to work on, {kept} as wanted"
        lines.append(f"deployment {plan.name}: {head}")
        for member in plan.members:
            if member.action != "keep" or member.reasons:
                lines += [f"  {line}" for line in describe_member(member)]
    return lines


def describe_member(member: MemberPlan) -> list[str]:
    """Return one server's plan as lines."""
    size = f", about {format_bytes(member.estimated_bytes)}" if member.estimated_bytes else ""
    what = f": clone {member.clone} of {member.master}{size}" if member.clone else ""
    lines = [f"{member.action} {member.server} on {member.provider}{what}"]
    lines += [f"    because {reason}" for reason in member.reasons]
    lines += [f"    not on {name}: {reason}" for name, reason in sorted(member.rejected.items())]
    if member.verbs:
        lines.append(f"    steps: {', '.join(member.verbs)}")
    return lines

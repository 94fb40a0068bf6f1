# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the catalog against what the providers have."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ..module_utils._core.errors import InvalidRequest
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._verifying.findings import KINDS, SEVERITIES, Finding
from ..plugin_utils._verifying.scene import Scene
from ..plugin_utils._verifying.verify import count_severities, describe_findings, find_all

_KINDS = ("master", "clone", "machine", "deployment", "function", "volume", "provider", "pool")
_OBSERVED = frozenset({"provider", "pool"})
"""Kinds of which the catalog holds what the providers answered; each answer changes them."""
_NEVER = "never"


class ActionModule(CatalogAction):
    """Reads the catalog once, compares, and changes nothing."""

    only_reads = True
    plans = False

    def perform(self) -> dict[str, t.Any]:
        """Show and return the findings; fail when one is as grave as ``fail_on`` says."""
        threshold = str(self._task.args.get("fail_on", SEVERITIES[0]))
        if threshold not in (*SEVERITIES, _NEVER):
            raise InvalidRequest("option fail_on", f"it is {threshold!r}, not one of {', '.join(SEVERITIES)}, {_NEVER}")
        seen = self.read_observed()
        if not seen:
            raise InvalidRequest("verify", "no provider was observed", remedy="Run discover on the providers first.")
        scene = self._read_scene(seen)
        findings = find_all(scene)
        for line in describe_findings(findings, scene):
            Display().display(line)
        result: dict[str, t.Any] = {
            "changed": False,
            "findings": [finding.to_record() for finding in findings],
            "counts": count_severities(findings),
            "remains": group_remains(findings),
        }
        grave = [finding for finding in findings if is_as_grave(finding, threshold)]
        if grave:
            more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
            result.update(failed=True, msg=f"{grave[0].subject}: {grave[0].problem}{more}")
        return result

    def _read_scene(self, seen: dict[str, t.Any]) -> Scene:
        now = self.catalog.now()
        asked_at = min(view.get("asked_at") or now for view in seen.values())
        rows = {kind: self.catalog.find(kind) for kind in _KINDS}
        # What is deleted by now may have been there when the providers were asked.
        busy = {key for key in self.catalog.find_changed(asked_at) if key[0] in rows.keys() - _OBSERVED}
        busy |= {row.key for found in rows.values() for row in found if row.lease and row.lease.until > now}
        return Scene(
            catalog_uuid=self.catalog.uuid,
            records={kind: {row.name: row.body for row in found} for kind, found in rows.items()},
            seen=seen,
            busy=frozenset(busy),
            stale=[op.to_lease().describe() for op in self.catalog.operations("running") if op.until < now],
            remembers=lambda key: bool(self.catalog.history(*key, limit=1)),
        )


def is_as_grave(finding: Finding, threshold: str) -> bool:
    """Tell whether a finding is at least as grave as a severity; nothing is as grave as ``never``."""
    return threshold != _NEVER and SEVERITIES.index(KINDS[finding.kind].severity) <= SEVERITIES.index(threshold)


def group_remains(findings: t.Sequence[Finding]) -> dict[str, list[dict[str, t.Any]]]:
    """Return by provider what ``sweep`` can remove."""
    remains: dict[str, list[dict[str, t.Any]]] = {}
    for finding in findings:
        mine = remains.setdefault(finding.provider, []) if finding.remains is not None else []
        if finding.remains is not None and finding.remains not in mine:
            mine.append(dict(finding.remains))
    return remains

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See what a provider has, and keep what lasts of it in the catalog."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._catalog.objects import Body
from ..plugin_utils._catalog.store import Writing

# What changes from minute to minute is for the plan at hand only.
_LASTING_POOL = ("type", "path", "shared", "filesystem", "reflink")
_LASTING_NETWORK = ("name", "mode", "bridge", "subnet", "gateway", "dhcp_range", "spans")


class ActionModule(CatalogAction):
    """Runs the module with what is known already, and writes the provider's and its pools' records if they differ."""

    def perform(self) -> dict[str, t.Any]:
        """Observe the provider; the task is changed when its records are."""
        asked_at = self.catalog.now()
        known = self.catalog.get("provider", self.host)
        arguments = dict(self._task.args)
        if known is not None:
            arguments["known"] = {
                key: known.body.get(key) for key in ("virt_type", "virt_reason", "virt_requested", "boot_id")
            }
        arguments["networks"] = [
            {**entry, "peers": self._find_peers(entry["name"])} for entry in self.get_list("networks")
        ]
        result: dict[str, t.Any] = self._execute_module(
            module_name="encompass.images.discover", module_args=arguments, task_vars=self.task_vars
        )
        if result.get("failed") or "provider" not in result:
            return result
        networks = [{key: network.get(key) for key in _LASTING_NETWORK} for network in result["networks"]]
        with self.catalog.transaction() as tx:
            changed = _write(tx, "provider", self.host, {**result["provider"], "networks": networks})
            for pool in result["pools"]:
                if pool["usable"]:
                    changed |= self._write_pool(tx, pool)
        return {**result, "changed": changed, "asked_at": asked_at}

    def _find_peers(self, network: str) -> list[str]:
        """Return the addresses that other providers have on a network that spans."""
        others = (row.body for row in self.catalog.find("provider") if row.name != self.host)
        networks = (known for body in others for known in body.get("networks") or ())
        return [known["gateway"] for known in networks if known["name"] == network and known.get("spans")]

    def _write_pool(self, tx: Writing, pool: Body) -> bool:
        name = pool["name"] if pool["shared"] else f"{self.host}:{pool['name']}"
        known = tx.get("pool", name)
        providers = {self.host, *(known.body["providers"] if known else ())}
        lasting = {key: pool[key] for key in _LASTING_POOL}
        return _write(tx, "pool", name, {"pool": pool["name"], **lasting, "providers": sorted(providers)})


def _write(tx: Writing, kind: str, name: str, body: Body) -> bool:
    """Write a record if it differs; tell whether it did."""
    known = tx.get(kind, name)
    if known is not None and known.body == body:
        return False
    tx.put(kind, name, body, verb="discover")
    return True

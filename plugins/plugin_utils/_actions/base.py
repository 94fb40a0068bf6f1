# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action plugin of the collection shares: the catalog, one error path. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ...module_utils._core.errors import EncompassError
from .._catalog.connect import connect_catalog
from .._catalog.objects import Owner
from .._catalog.owner import current_owner, find_run
from .._catalog.store import Catalog
from .._planning.texts import parse_list

# Renewed three times as often while work goes on; what a run that died leaves behind is free after it at the latest.
LEASE_S = 60.0

# A deployment is held over several tasks, each of which renews it; between them nothing does.
DEPLOYMENT_LEASE_S = 300.0


class CatalogAction(ActionBase):  # type: ignore[misc]
    """An action that reads or writes the catalog in the worker, and fails hard when the catalog is not there."""

    _supports_async = False
    _supports_check_mode = True

    only_reads = False
    """It never makes a catalog: where there is none, there are no records."""

    plans = True
    """In check mode it works on a copy; one that does not reads what is there now, whatever was planned before it."""

    catalog: Catalog
    task_vars: dict[str, t.Any]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action; an error of ours becomes a failed task."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        try:
            self.catalog = self.connect(create=not self.only_reads)
            result.update(self.perform())
        except EncompassError as exc:
            result.update(failed=True, **exc.to_record())
        return result

    def perform(self) -> dict[str, t.Any]:
        """Do the action's work and return its result."""
        raise NotImplementedError

    @property
    def host(self) -> str:
        """The inventory name of the provider that the task runs on."""
        return str(self.task_vars["inventory_hostname"])

    def get_list(self, option: str) -> list[t.Any]:
        """Return an option that is a list, empty when it is not given."""
        return parse_list(f"option {option}", "it is not a list", self._task.args.get(option))

    def read_observed(self) -> dict[str, t.Any]:
        """Return what discover saw, by provider: as given, else what the role ``discover`` registered on the hosts."""
        given = self._task.args.get("observed")
        if given is not None:
            return dict(given)
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        names = lookup.run([str(part) for part in self.get_list("hosts")], variables=self.task_vars)
        found = {name: self.task_vars["hostvars"][name].get("encompass_observed") or {} for name in names}
        return {name: seen for name, seen in found.items() if "provider" in seen}

    def run_owner(self) -> Owner:
        """Return the owner of what lasts over tasks: the process of the whole run."""
        return current_owner(pid=find_run(), run=self._describe_run())

    def task_owner(self) -> Owner:
        """Return the owner of what lasts for this task: its worker process."""
        return current_owner(run=self._describe_run())

    def _describe_run(self) -> str | None:
        job = self.task_vars.get("awx_job_id") or self.task_vars.get("tower_job_id")
        return f"AWX job {job}" if job else None

    def connect(self, url: str | None = None, *, create: bool = True) -> Catalog:
        """Open a catalog, that of the run by default; in check mode a copy, which goes with the run's directory.

        This is the one place where an action looks at check mode: everything after it works alike on the copy.
        """
        return connect_catalog(url, create=create, check_mode=self._task.check_mode and self.plans)

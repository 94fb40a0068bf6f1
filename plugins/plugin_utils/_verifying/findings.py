# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify can find, how grave it is, and what to do about it. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

Body = t.Mapping[str, t.Any]

CRITICAL, ERROR, WARNING = SEVERITIES = ("critical", "error", "warning")
"""Data are in danger; servers are not what the catalog says; something is left over or half done."""

_DEPLOY = "Run encompass.images.deploy."
_SWEEP = "Have verify remove it (encompass_verify_repair)."
_BY_HAND = "See which of the two is right, and correct the other one by hand."
_RESTORE = "Retire its deployment, or restore the catalog from a backup."
_RIVALS = "Stop one of the two now, and see which one has the newer data."


class Kind(t.NamedTuple):
    """One kind of finding."""

    severity: str
    remedy: str


KINDS: t.Mapping[str, Kind] = {
    # two at one thing
    "domain_doubled": Kind(CRITICAL, _RIVALS),
    "volume_doubled": Kind(CRITICAL, _RIVALS),
    "volume_foreign": Kind(CRITICAL, "Take the volume out of that domain."),
    "master_attached": Kind(CRITICAL, "Take the master out of that domain; it may be changed already."),
    "path_doubled": Kind(CRITICAL, _BY_HAND),
    "mac_doubled": Kind(CRITICAL, _BY_HAND),
    "address_doubled": Kind(CRITICAL, _BY_HAND),
    "uuid_doubled": Kind(CRITICAL, _BY_HAND),
    "machine_id_doubled": Kind(CRITICAL, "Retire one of the two servers, and deploy again."),
    # volumes
    "data_missing": Kind(CRITICAL, "Bring the file back, or see encompass_recreate_data of encompass.images.deploy."),
    "data_differs": Kind(ERROR, _DEPLOY),
    "data_unknown": Kind(ERROR, _DEPLOY),
    "data_left": Kind(WARNING, "Run encompass.images.deploy, which clears what servers left behind."),
    "data_orphaned": Kind(WARNING, "Nothing removes data unasked: look at it, then delete it by hand."),
    "volume_missing": Kind(ERROR, _DEPLOY),
    "volume_unreadable": Kind(ERROR, "Look at it with qemu-img check; if it is lost, delete it and deploy."),
    "volume_differs": Kind(ERROR, "Look at it with qemu-img info; if it is lost, delete it and deploy."),
    "volume_rebased": Kind(CRITICAL, "Do not start it: what it shows depends on that file. Delete it and deploy."),
    "volume_unknown": Kind(WARNING, "See who made it, then delete it by hand."),
    "volume_left": Kind(WARNING, "Run encompass.images.deploy, which clears what servers left behind."),
    "volume_orphaned": Kind(WARNING, _SWEEP),
    "volume_alien": Kind(WARNING, "If no other catalog uses this pool, delete it by hand."),
    "clone_unfinished": Kind(WARNING, _DEPLOY),
    "staging_left": Kind(WARNING, _SWEEP),
    "arrival_left": Kind(WARNING, _SWEEP),
    # masters
    "master_changed": Kind(CRITICAL, "Stop what was cloned from it by overlay; add it again from its source."),
    "master_missing": Kind(ERROR, "Run encompass.images.add_master."),
    "master_unreachable": Kind(ERROR, "Run encompass.images.add_master."),
    "master_unfinished": Kind(WARNING, "Run encompass.images.add_master or encompass.images.capture again."),
    "master_orphaned": Kind(WARNING, "If no other catalog uses this pool, delete it by hand."),
    # domains
    "domain_missing": Kind(ERROR, _DEPLOY),
    "domain_stopped": Kind(ERROR, _DEPLOY),
    "domain_running": Kind(ERROR, _DEPLOY),
    "domain_foreign": Kind(ERROR, "Rename or remove that domain, then run encompass.images.deploy."),
    "domain_of_other_clone": Kind(ERROR, _DEPLOY),
    "domain_unmarked": Kind(WARNING, _DEPLOY),
    "domain_disks_differ": Kind(ERROR, "See who changed it; detach and deploy the server to have it defined anew."),
    "domain_size_differs": Kind(ERROR, "See who changed it; detach and deploy the server to have it defined anew."),
    "domain_macs_differ": Kind(ERROR, "See who changed it; detach and deploy the server to have it defined anew."),
    "domain_left": Kind(WARNING, _DEPLOY),
    "domain_elsewhere": Kind(WARNING, "Run encompass.images.deploy, which clears what servers left behind."),
    "domain_orphaned": Kind(WARNING, _SWEEP),
    # networks
    "network_missing": Kind(ERROR, "Run encompass.images.hypervisor."),
    "reservation_missing": Kind(ERROR, _DEPLOY),
    "reservation_taken": Kind(ERROR, "Remove the other reservation, then run encompass.images.deploy."),
    "reservation_left": Kind(WARNING, "Run encompass.images.deploy, which clears what servers left behind."),
    "reservation_orphaned": Kind(WARNING, _SWEEP),
    # records
    "clone_without_master": Kind(ERROR, "Add the master again; until then the clone cannot be attached."),
    "clone_without_machine": Kind(ERROR, _RESTORE),
    "machine_without_clone": Kind(ERROR, _RESTORE),
    "machine_without_deployment": Kind(ERROR, "Deploy one of that name, or restore the catalog from a backup."),
    "machine_of_other_clone": Kind(ERROR, _RESTORE),
    "machine_surplus": Kind(WARNING, _DEPLOY),
    "machine_midway": Kind(WARNING, "Run encompass.images.migrate again, or encompass.images.deploy."),
    "deployment_short": Kind(ERROR, _DEPLOY),
    "function_without_master": Kind(ERROR, "Name another current version with encompass.images.master."),
    "provider_unknown": Kind(ERROR, "Run encompass.images.discover on that provider."),
    "provider_unlocked": Kind(ERROR, "Run encompass.images.hypervisor, which sets libvirt's lock manager up."),
    "pool_unusable": Kind(ERROR, "Run encompass.images.hypervisor."),
    "operation_stale": Kind(WARNING, "Run the play again: it takes over, looks, and finishes or undoes what it began."),
    "failed": Kind(WARNING, "Remove the cause, then run the play again."),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; ``remains``: what ``sweep`` would remove on the provider."""

    kind: str
    subject: str
    problem: str
    provider: str = ""
    remains: Body | None = None

    def to_record(self) -> dict[str, t.Any]:
        """Return the finding as the module's result tells it."""
        severity, remedy = KINDS[self.kind]
        record = {**dataclasses.asdict(self), "severity": severity, "remedy": remedy}
        return {**record, "remains": dict(self.remains) if self.remains else None}


def rank(finding: Finding) -> tuple[int, str, str, str]:
    """Return what findings are sorted by: the gravest first."""
    return SEVERITIES.index(KINDS[finding.kind].severity), finding.provider, finding.subject, finding.kind

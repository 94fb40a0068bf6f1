# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify finds: nothing on a healthy site of any size, and each kind of fault that is put into one."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._verifying.findings import KINDS
from ansible_collections.encompass.images.plugins.plugin_utils._verifying.verify import (
    count_severities,
    describe_findings,
    find_all,
)
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.verifying.faults import (
    FAULTS,
    a_domain_is_gone,
    a_master_was_written_to,
    a_volume_is_nobodys,
)
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.verifying.faulty_site import Faulty

pytest.importorskip("netaddr")

NOBODYS = {
    *("address_doubled", "mac_doubled", "machine_id_doubled", "path_doubled", "uuid_doubled", "volume_doubled"),
    *("master_attached", "volume_foreign", "pool_unusable", "provider_unlocked", "operation_stale"),
    *("arrival_left", "data_orphaned", "domain_orphaned", "reservation_orphaned", "staging_left"),
    *("volume_alien", "volume_orphaned"),
}
"""What is wrong whoever is at work, or with what no record tells of."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_else(name: str) -> None:
    spoil, kinds = FAULTS[name]
    site = Faulty()
    assert site.kinds() == []
    spoil(site)
    assert site.kinds() == kinds


def test_every_kind_is_tried() -> None:
    assert set(KINDS) == {kind for _spoil, kinds in FAULTS.values() for kind in kinds}


def test_a_large_healthy_site_raises_no_alarm() -> None:
    site = Faulty(servers=3334)
    assert sum(len(bodies) for bodies in site.records.values()) > 10_000
    assert find_all(site.scene()) == []


def test_what_somebody_is_at_work_on_is_not_judged() -> None:
    site = Faulty()
    a_domain_is_gone(site)
    site.busy.add(("clone", "web-server-v1-1"))
    assert site.kinds() == []
    assert "somebody is at work on them: clone web-server-v1-1" in "\n".join(describe_findings([], site.scene()))


@pytest.mark.parametrize("name", FAULTS)
def test_while_somebody_is_at_work_on_everything_only_what_is_nobodys_is_judged(name: str) -> None:
    spoil, kinds = FAULTS[name]
    site = Faulty()
    spoil(site)
    site.busy.update((kind, name) for kind, bodies in site.records.items() for name in bodies)
    assert site.kinds() == [kind for kind in kinds if kind in NOBODYS]


def test_what_was_not_reached_is_not_judged() -> None:
    site = Faulty()
    del site.seen["hv1"]
    assert site.kinds() == []
    assert "not looked at, because they were not reached: hv1" in describe_findings([], site.scene())


def test_a_shared_pool_belongs_to_all_who_reach_it() -> None:
    site = Faulty()
    site.records["pool"]["default"] = {"pool": "default", "shared": True}
    for seen in site.seen.values():
        seen["pools"][0]["shared"] = True
    both = {key: [*site.seen["hv1"][key], *site.seen["hv2"][key]] for key in ("volumes", "data")}
    for seen in site.seen.values():
        seen.update(both)
    assert site.kinds() == []
    del site.seen["hv1"]
    assert site.kinds() == []
    site.seen["hv2"].update(volumes=[], data=[])
    assert site.kinds() == ["data_missing", "volume_missing"]


def test_the_gravest_comes_first_and_says_what_to_do() -> None:
    site = Faulty()
    a_volume_is_nobodys(site)
    a_master_was_written_to(site)
    found = find_all(site.scene())
    assert [finding.kind for finding in found] == ["master_changed", "volume_orphaned"]
    assert count_severities(found) == {"critical": 1, "error": 0, "warning": 1}
    record = found[1].to_record()
    assert record["remains"] == {"type": "directory", "path": "/pool/clones/web-server-v1-9"}
    lines = describe_findings(found, site.scene())
    assert lines[0].startswith("2 findings in ")
    assert "critical: master web-server-v1 on hv2: its image" in lines[1]
    assert all(finding.to_record()["remedy"] for finding in found)

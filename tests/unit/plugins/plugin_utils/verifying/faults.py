# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that goes wrong on a site, and what verify shall find then."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.encompass.images.plugins.plugin_utils._planning.addresses import AddressBook
from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.verifying.faulty_site import (
    BASE,
    CATALOG,
    Faulty,
    make_master,
)

FAULTS: dict[str, tuple[t.Callable[[Faulty], t.Any], list[str]]] = {}


def fault(*kinds: str) -> t.Callable[[t.Callable[[Faulty], t.Any]], t.Callable[[Faulty], t.Any]]:
    """Note a way to spoil a site, and what verify shall find then."""

    def note(function: t.Callable[[Faulty], t.Any]) -> t.Callable[[Faulty], t.Any]:
        FAULTS[function.__name__] = (function, sorted(kinds))
        return function

    return note


# Two at one thing


@fault("domain_doubled")
def a_machine_runs_twice(site: Faulty) -> None:
    site.seen["hv2"]["domains"].append({**site.domain, "disks": []})


@fault("volume_doubled", "domain_disks_differ")
def two_machines_have_one_volume(site: Faulty) -> None:
    site.seen["hv1"]["domains"].append(
        {**site.domain, "name": "web-9", "uuid": "9", "machine_metadata": {"catalog": "x"}, "macs": []}
    )
    site.domain["disks"].append("/pool/elsewhere.qcow2")


@fault("volume_doubled", "volume_foreign")
def somebody_else_has_our_volume(site: Faulty) -> None:
    site.seen["hv1"]["domains"].append(
        {"name": "theirs", "uuid": "9", "active": False, "disks": [site.volume["path"]], "machine_metadata": None}
    )


@fault("master_attached")
def a_domain_writes_to_a_master(site: Faulty) -> None:
    site.seen["hv1"]["domains"].append(
        {"name": "theirs", "uuid": "9", "active": True, "disks": [BASE], "machine_metadata": None}
    )


@fault("path_doubled")
def two_records_claim_a_file(site: Faulty) -> None:
    site.records["volume"]["web-1.x"] = {**site.records["volume"]["web-1.db"]}


@fault("uuid_doubled", "domain_foreign")
def two_machines_have_one_uuid(site: Faulty) -> None:
    site.machine["uuid"] = site.records["machine"]["web-2"]["uuid"]
    site.domain["machine_metadata"]["catalog"] = "another"


@fault("mac_doubled", "domain_macs_differ", "reservation_taken")
def two_cards_have_one_mac(site: Faulty) -> None:
    site.machine["nics"][0]["mac"] = site.records["machine"]["web-2"]["nics"][0]["mac"]
    site.holders[0] = {**site.holders[0], "mac": "52:54:00:99:99:99"}


@fault("address_doubled", "reservation_missing")
def two_cards_have_one_address(site: Faulty) -> None:
    site.machine["nics"][0]["address"] = site.records["machine"]["web-2"]["nics"][0]["address"]


@fault("machine_id_doubled")
def two_servers_are_one(site: Faulty) -> None:
    site.clone["machine_id"] = site.records["clone"]["web-server-v1-2"]["machine_id"]


# Volumes


@fault("volume_missing")
def a_volume_is_gone(site: Faulty) -> None:
    site.seen["hv1"]["volumes"].clear()


@fault("volume_unreadable")
def a_volume_is_broken(site: Faulty) -> None:
    site.volume.update(format=None, virtual_bytes=0, backing_path="")


@fault("volume_differs")
def a_volume_was_resized(site: Faulty) -> None:
    site.volume["virtual_bytes"] = 101


@fault("volume_rebased")
def a_volume_is_based_on_another_file(site: Faulty) -> None:
    site.volume["backing_path"] = "/tmp/other.qcow2"


@fault("volume_unknown")
def a_directory_holds_more(site: Faulty) -> None:
    site.seen["hv1"]["volumes"].append({**site.volume, "path": "/pool/clones/web-server-v1-1/old.qcow2"})


@fault("volume_left")
def a_clone_left_its_volume(site: Faulty) -> None:
    site.seen["hv2"]["volumes"].append(copy.deepcopy(site.volume))


@fault("volume_orphaned")
def a_volume_is_nobodys(site: Faulty) -> None:
    path = "/pool/clones/web-server-v1-9/root.qcow2"
    site.seen["hv1"]["volumes"].append({**site.volume, "clone": "web-server-v1-9", "path": path})


@fault("clone_unfinished", "domain_running")
def a_clone_was_forgotten(site: Faulty) -> None:
    site.clone.update(stage="planned", volumes=[])
    site.domain["disks"] = ["/pool/data/web-1/db.qcow2"]


@fault("clone_unfinished")
def a_clone_has_volumes_before_it_is_made(site: Faulty) -> None:
    site.clone["stage"] = "planned"
    site.seen["hv1"]["domains"].clear()


@fault("volume_alien")
def a_volume_is_another_catalogs(site: Faulty) -> None:
    path = "/pool/clones/foreign-v1-9/root.qcow2"
    site.seen["hv1"]["volumes"].append({**site.volume, "clone": "foreign-v1-9", "path": path})
    entry = {"path": "/pool/.staging/clone~foreign~arrival", "kind": "clone", "name": "foreign", "state": "arrival"}
    site.seen["hv1"]["staging"] = [entry]


@fault("data_missing")
def data_are_gone(site: Faulty) -> None:
    site.seen["hv1"]["data"].clear()


@fault("data_differs")
def data_have_another_size(site: Faulty) -> None:
    site.seen["hv1"]["data"][0]["virtual_bytes"] = 49


@fault("data_unknown", "data_orphaned", "domain_disks_differ")
def data_have_no_record(site: Faulty) -> None:
    del site.records["volume"]["web-1.db"]


@fault("data_left")
def data_were_left(site: Faulty) -> None:
    site.seen["hv2"]["data"].append({**site.seen["hv1"]["data"][0]})


@fault("staging_left")
def a_killed_run_left_a_file(site: Faulty) -> None:
    entry = {"path": "/pool/.staging/clone~c~x", "kind": "clone", "name": "c", "state": "left"}
    site.seen["hv1"]["staging"] = [entry, {**entry, "state": "working"}]


@fault("arrival_left")
def something_arrived_that_nobody_sent(site: Faulty) -> None:
    entry = {"path": "/pool/.staging/data~web-2~arrival", "kind": "data", "name": "web-2", "state": "arrival"}
    site.seen["hv1"]["staging"] = [entry, {**entry, "kind": "clone", "name": "web-server-v1-2"}]


# Masters


@fault("master_changed")
def a_master_was_written_to(site: Faulty) -> None:
    site.seen["hv2"]["masters"][0]["fingerprint"] = "1:2:4"


@fault("master_missing")
def a_masters_file_is_gone(site: Faulty) -> None:
    site.seen["hv2"]["masters"].clear()


@fault("master_unreachable")
def a_master_is_nowhere(site: Faulty) -> None:
    site.records["master"]["web-server-v1"]["replicas"] = []


@fault("master_unfinished")
def an_import_was_cut_off(site: Faulty) -> None:
    site.records["master"]["web-server-v2"] = {
        **make_master(),
        "version": 2,
        "state": "importing",
        "volumes": [],
        "replicas": [],
    }


@fault("master_orphaned")
def a_masters_file_is_nobodys(site: Faulty) -> None:
    path = f"/pool/masters/{'b' * 64}.qcow2"
    site.seen["hv1"]["masters"].append({"digest": "b" * 64, "path": path, "fingerprint": "1", "pool": "default"})


# Domains


@fault("domain_missing")
def a_domain_is_gone(site: Faulty) -> None:
    site.seen["hv1"]["domains"].clear()


@fault("domain_stopped")
def a_domain_is_off(site: Faulty) -> None:
    site.domain["active"] = False


@fault("domain_running")
def a_domain_was_started(site: Faulty) -> None:
    site.clone["stage"] = "attached"


@fault("domain_left")
def a_domain_was_left(site: Faulty) -> None:
    site.clone["stage"] = "assigned"
    site.domain["active"] = False


@fault("domain_foreign")
def a_domain_took_the_name(site: Faulty) -> None:
    site.domain.update(uuid="9", machine_metadata=None, disks=[])


@fault("domain_of_other_clone")
def a_domain_serves_another_clone(site: Faulty) -> None:
    site.domain["machine_metadata"]["clone"] = "web-server-v1-7"


@fault("domain_unmarked")
def a_domain_does_not_say_whose_it_is(site: Faulty) -> None:
    site.domain["machine_metadata"] = None


@fault("domain_disks_differ")
def a_domain_lacks_a_disk(site: Faulty) -> None:
    site.domain["disks"].pop()


@fault("domain_size_differs")
def a_domain_has_more_memory(site: Faulty) -> None:
    site.domain["memory_mib"] = 512


@fault("domain_macs_differ")
def a_domain_has_another_card(site: Faulty) -> None:
    site.domain["macs"] = ["52:54:00:00:00:99"]


@fault("domain_elsewhere")
def a_domain_is_still_defined(site: Faulty) -> None:
    site.seen["hv2"]["domains"].append({**site.domain, "active": False})


@fault("domain_orphaned")
def a_domain_is_nobodys(site: Faulty) -> None:
    site.seen["hv1"]["domains"].append({**site.domain, "name": "web-9", "uuid": "9", "disks": [], "active": False})


# Networks


@fault("network_missing")
def a_network_is_down(site: Faulty) -> None:
    site.seen["hv1"]["networks"][0]["active"] = False


@fault("reservation_missing")
def an_address_is_not_held(site: Faulty) -> None:
    site.holders.clear()


@fault("reservation_taken")
def an_address_is_held_for_another(site: Faulty) -> None:
    site.holders[0] = {**site.holders[0], "mac": "52:54:00:99:99:99"}


@fault("reservation_left")
def an_address_is_held_twice(site: Faulty) -> None:
    site.seen["hv2"]["networks"][0]["dhcp_hosts"].append({**site.holders[0]})


@fault("reservation_orphaned")
def an_address_is_held_for_nobody(site: Faulty) -> None:
    mac = AddressBook({}).allocate_mac(CATALOG, "web-9", "10.0.0.99")
    site.holders.append({"mac": mac, "address": "10.0.0.99", "name": "web-9"})
    site.holders.append({"mac": "52:54:00:12:34:56", "address": "10.0.0.98", "name": "theirs"})


# Records


@fault("clone_without_master")
def a_master_has_no_record(site: Faulty) -> None:
    site.clone["master"] = "web-server-v7"


@fault("clone_without_machine")
def a_machine_has_no_record(site: Faulty) -> None:
    site.records["clone"]["web-server-v1-8"] = {
        **site.clone,
        "machine": "web-8",
        "machine_id": "8",
        "stage": "assigned",
        "volumes": [],
    }


@fault("machine_without_clone", "volume_orphaned")
def a_clone_has_no_record(site: Faulty) -> None:
    del site.records["clone"]["web-server-v1-1"]


@fault("machine_of_other_clone")
def a_clone_is_for_another_machine(site: Faulty) -> None:
    site.clone["machine"] = "web-2"


@fault("machine_without_deployment")
def a_deployment_has_no_record(site: Faulty) -> None:
    site.records["deployment"].clear()


@fault("machine_surplus")
def a_server_is_not_wanted(site: Faulty) -> None:
    site.records["deployment"]["web"]["members"].remove("web-2")


@fault("deployment_short")
def a_server_is_not_there(site: Faulty) -> None:
    site.records["deployment"]["web"]["members"].append("web-3")


@fault("machine_midway")
def a_machine_stays_on_its_way(site: Faulty) -> None:
    site.machine["moving_to"] = "hv2"


@fault("function_without_master")
def a_function_follows_nothing(site: Faulty) -> None:
    site.records["function"]["web-server"]["current"] = 3


@fault("provider_unknown")
def a_provider_has_no_record(site: Faulty) -> None:
    del site.records["provider"]["hv2"]


@fault("provider_unlocked")
def nothing_locks_disks(site: Faulty) -> None:
    site.seen["hv1"]["provider"]["lock_manager"] = None


@fault("pool_unusable")
def a_pool_is_gone(site: Faulty) -> None:
    site.seen["hv1"].update(volumes=[], data=[], masters=[])
    site.seen["hv1"]["pools"][0].update(usable=False, problem="/pool is not a directory")


@fault("operation_stale")
def nobody_leads_an_operation(site: Faulty) -> None:
    site.stale.append("deploy by root")


@fault("failed")
def something_failed(site: Faulty) -> None:
    site.clone["last_error"] = {"msg": "clone web-server-v1-1: it could not be made"}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt driver and the modules on it, against real libvirt daemons and guests on lab hosts."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

import pytest

from tests.contract.module_process import is_unchanged
from tests.contract.provider import NETWORK, Provider
from tests.lab import images
from tests.lab.hosts import LabHosts

MISSING = "52:54:00:00:00:99"


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabHosts]:
    """Two hosts, which share /srv/shared."""
    with LabHosts(2) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def providers(lab: LabHosts) -> list[Provider]:
    """Return both hosts as prepared providers."""
    made = [Provider(host, images.ensure_image("mini")) for host in lab.hosts]
    for provider in made:
        provider.prepare()
    return made


@pytest.fixture
def provider(providers: list[Provider]) -> t.Iterator[Provider]:
    """Return one provider, without any machine before and after."""
    yield providers[0]
    providers[0].clean()


def open_libvirt(uri: str, timeout_s: float = 20.0) -> t.Any:
    from ansible_collections.encompass.images.plugins.module_utils._drivers.libvirt import open_host

    return open_host(uri, timeout_s=timeout_s)


def read_golden(name: str) -> t.Any:
    from ansible_collections.encompass.images.plugins.module_utils._core.domain import read_domain
    from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.golden import read_case

    return read_domain(read_case("domain_xml", name))


def read_net(**options: t.Any) -> t.Any:
    from ansible_collections.encompass.images.plugins.module_utils._core.network import read_network

    return read_network({"mode": "nat", **options})


# The driver: what is performed is what is then observed, on libvirt's own test driver and on a real host


@pytest.fixture(params=["test", "qemu"])
def driver(request: pytest.FixtureRequest) -> t.Iterator[t.Any]:
    uri = "test:///default" if request.param == "test" else request.getfixturevalue("provider").host.uri
    with open_libvirt(uri) as host:
        yield host


def test_a_domain_is_observed_as_it_was_defined(driver: t.Any) -> None:
    wanted = read_golden("sata_seed")
    assert wanted.name not in driver.observe_domains()
    assert driver.observe_power([wanted.name]) == {wanted.name: None}
    for domain in (wanted, wanted, dataclasses.replace(wanted, cpus=3)):
        driver.define_domain(domain)
        seen = driver.observe_domains()[wanted.name]
        assert (seen.domain, seen.active, seen.persistent) == (domain, False, True)
    assert driver.observe_power([wanted.name])[wanted.name].power.value == "off"


def test_a_network_is_observed_as_it_was_defined(provider: Provider) -> None:
    """On a real host only: the test driver cannot tell a network's definition from what runs."""
    from ansible_collections.encompass.images.plugins.module_utils._core.network import list_network_differences

    wanted = read_net(name="contract", subnet="10.211.0.0/24", dhcp_range=["10.211.0.9", "10.211.0.99"], domain="x.org")
    with open_libvirt(provider.host.uri) as driver:
        assert "contract" not in driver.observe_networks()
        for network in (wanted, wanted, dataclasses.replace(wanted, mode="route")):
            driver.define_network(network)
            seen = driver.observe_networks()["contract"]
            assert list_network_differences(network, seen.network) == ()
            assert not seen.active
        driver.undefine_network("contract")
        assert "contract" not in driver.observe_networks()


def test_a_pool_is_observed_as_it_was_defined(driver: t.Any) -> None:
    driver.define_pool("contract", "/tmp")
    seen = driver.observe_pools()["contract"]
    assert (seen.type, seen.path, seen.active, seen.autostart) == ("dir", "/tmp", False, False)
    driver.start_pool("contract")
    seen = driver.observe_pools()["contract"]
    assert (seen.active, seen.autostart) == (True, True)


def test_what_is_not_there_is_named(driver: t.Any) -> None:
    from ansible_collections.encompass.images.plugins.module_utils._core.errors import NotFound

    with pytest.raises(NotFound, match="machine nobody: the provider has no such domain"):
        driver.start("nobody")
    with pytest.raises(NotFound, match="network nothing: the provider has no such network"):
        driver.start_network("nothing")
    with pytest.raises(NotFound, match="pool nowhere: the provider has no such pool"):
        driver.start_pool("nowhere")


def test_a_host_is_described(provider: Provider) -> None:
    with open_libvirt(provider.host.uri) as host:
        seen = host.describe_host()
        guests = host.describe_guests("x86_64", "qemu")
    assert (seen.arch, seen.cpus > 0, seen.memory_mib > 500) == ("x86_64", True, True)
    assert guests.emulator.startswith("/usr/bin/qemu")
    assert guests.firmwares == ("bios", "uefi")


# A daemon that is gone or hangs


def test_a_daemon_that_is_not_there_is_named(tmp_path: Path) -> None:
    from ansible_collections.encompass.images.plugins.module_utils._core.errors import ToolFailed

    with (
        pytest.raises(ToolFailed, match="libvirt does not listen at"),
        open_libvirt(f"qemu+unix:///system?socket={tmp_path}/none"),
    ):
        pass


def test_a_daemon_that_hangs_is_given_up(provider: Provider) -> None:
    from ansible_collections.encompass.images.plugins.module_utils._core.errors import ToolFailed

    with open_libvirt(provider.host.uri, timeout_s=1) as host:
        host.observe_domains()
        provider.host.exec("sh", "-c", "kill -STOP $(cat /run/libvirtd.pid)")
        try:
            started = time.monotonic()
            for _again in range(3):
                with pytest.raises(ToolFailed, match="did not answer within 1 s"):
                    host.observe_domains()
            with pytest.raises(ToolFailed, match="did not answer"), open_libvirt(provider.host.uri, timeout_s=1):
                pass
            assert time.monotonic() - started < 15
        finally:
            provider.host.exec("sh", "-c", "kill -CONT $(cat /run/libvirtd.pid)")


# Pools and networks


def test_a_pool_runs_four_times(provider: Provider) -> None:
    pools = [{"name": "extra", "path": "/srv/local/extra"}]
    planned = provider.module("pool", pools=pools, check_mode=True)
    assert not (provider.host.local / "extra").exists()
    done = provider.module("pool", pools=pools)
    again = provider.module("pool", pools=pools)
    checked = provider.module("pool", pools=pools, check_mode=True)
    assert [run["changed"] for run in (planned, done, again, checked)] == [True, True, False, False]
    assert planned["objects"][0]["steps"] == done["objects"][0]["steps"]
    assert (provider.host.local / "extra/masters").stat().st_mode & 0o777 == 0o711
    elsewhere = provider.module("pool", pools=[{"name": "extra", "path": "/srv/local/other"}])
    assert "has a pool of this name of type dir at /srv/local/extra" in elsewhere["msg"]


def test_a_network_runs_four_times_and_is_removed(provider: Provider) -> None:
    networks = [{"name": "four", "subnet": "10.212.0.0/24", "bridge": "br-four"}]
    planned = provider.module("network", networks=networks, check_mode=True)
    assert "four" not in provider.virsh("net-list", "--all", "--name").split()
    done = provider.module("network", networks=networks)
    again = provider.module("network", networks=networks)
    checked = provider.module("network", networks=networks, check_mode=True)
    assert [run["changed"] for run in (planned, done, again, checked)] == [True, True, False, False]
    assert "br-four" in provider.host.exec("ip", "-o", "link").stdout
    changed = provider.module("network", networks=[{**networks[0], "mode": "route"}])
    assert changed["objects"][0]["steps"][1].startswith("redefine (mode)")
    removed = provider.module("network", state="absent", networks=[{"name": "four"}])
    assert removed["changed"]
    assert is_unchanged(provider.module("network", state="absent", networks=[{"name": "four"}]))


def test_a_subnet_that_is_taken_is_refused(provider: Provider) -> None:
    item = provider.item("network", networks=[{"name": "twice", "subnet": provider.host.guest_subnet}])
    assert item["failed"]
    assert "its subnet is already in use by the interface virbr" in item["msg"]
    provider.module("network", state="absent", networks=[{"name": "twice"}])


def test_a_network_that_is_in_use_is_left_alone(provider: Provider) -> None:
    machine = provider.machine(1)
    provider.item("attach", machines=[machine])
    changes = {"name": NETWORK, "mode": "open", "subnet": provider.host.guest_subnet}
    refused = provider.item("network", state="absent", networks=[{"name": NETWORK}])
    assert "cannot be removed, but it is used by machine-1" in refused["msg"]
    provider.item("activate", machines=[provider.activation(machine, ready=None)])
    refused = provider.item("network", networks=[changes])
    assert "would have to be restarted (mode), but it is used by machine-1" in refused["msg"]


# Addresses


def test_an_address_runs_four_times_and_is_released(provider: Provider) -> None:
    machines = [provider.assignment(1)]
    planned = provider.module("assign", machines=machines, check_mode=True)
    assert provider.mac(1) not in provider.virsh("net-dumpxml", NETWORK)
    done = provider.module("assign", machines=machines)
    again = provider.module("assign", machines=machines)
    checked = provider.module("assign", machines=machines, check_mode=True)
    assert [run["changed"] for run in (planned, done, again, checked)] == [True, True, False, False]
    assert planned["objects"][0]["record"] == done["objects"][0]["record"]
    for flags in ((), ("--inactive",)):
        assert provider.mac(1) in provider.virsh("net-dumpxml", NETWORK, *flags)
    assert is_unchanged(provider.module("assign", state="unassigned", machines=machines))
    assert provider.module("assign", state="unassigned", release=True, machines=machines)["changed"]
    assert is_unchanged(provider.module("assign", state="unassigned", release=True, machines=machines))
    assert provider.mac(1) not in provider.virsh("net-dumpxml", NETWORK, "--inactive")


def test_an_address_that_holds_only_now_is_made_to_last(provider: Provider) -> None:
    entry = f"<host mac='{provider.mac(2)}' name='machine-2' ip='{provider.address(2)}'/>"
    provider.virsh("net-update", NETWORK, "add", "ip-dhcp-host", entry, "--live")
    machines = [provider.assignment(2)]
    assert provider.module("assign", machines=machines)["changed"]
    assert provider.mac(2) in provider.virsh("net-dumpxml", NETWORK, "--inactive")
    assert is_unchanged(provider.module("assign", machines=machines))
    provider.module("assign", state="unassigned", release=True, machines=machines)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mac": MISSING}, "the address {address} is reserved on network guests for machine-3"),
        ({"address": "10.1.1.1"}, "10.1.1.1 is not an address for a host in the subnet"),
        ({"network": "nowhere"}, "the provider has no network nowhere"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(provider: Provider, changes: dict[str, str], says: str) -> None:
    provider.module("assign", machines=[provider.assignment(3)])
    before = provider.virsh("net-dumpxml", NETWORK)
    item = provider.item("assign", machines=[{**provider.assignment(3, **changes), "name": "other"}])
    assert says.format(address=provider.address(3)) in item["msg"]
    assert provider.virsh("net-dumpxml", NETWORK) == before
    provider.module("assign", state="unassigned", release=True, machines=[provider.assignment(3)])


def test_many_addresses_are_reserved_at_once(provider: Provider) -> None:
    machines = [provider.assignment(number) for number in range(10, 18)]
    assert not provider.module("assign", machines=machines)["failed"]
    assert is_unchanged(provider.module("assign", machines=machines))
    assert not provider.module("assign", state="unassigned", release=True, machines=machines)["failed"]


# Machines


def test_a_machine_lives(provider: Provider) -> None:
    """Assign, attach, activate, and back: each step once, then nothing is left to do."""
    machine = provider.machine(1)
    provider.item("assign", machines=[provider.assignment(1)])

    planned = provider.item("attach", machines=[machine], check_mode=True)
    assert provider.virsh("list", "--all", "--name") == ""
    attached = provider.item("attach", machines=[machine])
    assert (planned["changed"], attached["changed"], attached["failed"]) == (True, True, False)
    assert planned["record"] == attached["record"]
    assert is_unchanged(provider.item("attach", machines=[machine]))
    grown = {**machine, "memory_mib": 128}
    assert provider.item("attach", machines=[grown])["steps"][0].startswith("redefine (memory_mib)")

    activation = provider.activation(machine)
    planned = provider.item("activate", machines=[activation], check_mode=True)
    assert provider.virsh("list", "--name") == ""
    active = provider.item("activate", machines=[activation])
    assert not active["failed"], active
    assert planned["steps"] == active["steps"]
    assert active["record"]["answered"]["status"] == 200
    again = provider.item("activate", machines=[activation])
    assert (again["changed"], again["record"]["stage"]) == (False, "active")
    owner = provider.host.exec("stat", "--format", "%U %a", provider.master).stdout.strip()
    assert owner == "root 444"  # the guest's hypervisor must not own what all clones are made of

    refused = provider.item("attach", machines=[machine])
    assert "it is running, and its definition would have to change (memory_mib). Deactivate it first." in refused["msg"]
    refused = provider.item("attach", state="detached", machines=[machine])
    assert "it is running and cannot be detached. Deactivate it first." in refused["msg"]

    stopped = provider.item("activate", state="inactive", machines=[activation])
    assert stopped["record"] == {"stage": "attached", "answered": None, "stopped": "shut down"}
    assert is_unchanged(provider.item("activate", state="inactive", machines=[activation]))
    assert provider.item("attach", state="detached", machines=[grown])["changed"]
    assert is_unchanged(provider.item("attach", state="detached", machines=[grown]))
    assert provider.virsh("list", "--all", "--name") == ""
    provider.module("assign", state="unassigned", release=True, machines=[provider.assignment(1)])


def test_a_guest_without_ears_is_switched_off_and_its_neighbour_is_not(provider: Provider) -> None:
    provider.item("assign", machines=[provider.assignment(1)])
    good, deaf = provider.machine(1), {**provider.machine(2), "nics": []}
    provider.host.exec("qemu-img", "create", "-q", "-f", "raw", f"{provider.pool}/clones/empty.raw", "1M")
    deaf["disks"] = [{"path": f"{provider.pool}/clones/empty.raw", "format": "raw"}]
    assert not provider.module("attach", machines=[good, deaf])["failed"]
    activations = [provider.activation(good), provider.activation(deaf, ready=None)]
    assert not provider.module("activate", machines=activations)["failed"]
    stops = [{**activation, "stop_timeout_s": 8} for activation in activations]
    result = provider.module("activate", state="inactive", machines=stops)
    assert [item["record"]["stopped"] for item in result["objects"]] == ["shut down", "destroyed"]
    provider.module("assign", state="unassigned", release=True, machines=[provider.assignment(1)])


def test_a_server_that_does_not_answer_says_where_to_look(provider: Provider) -> None:
    provider.item("assign", machines=[provider.assignment(1)])
    machine = provider.machine(1)
    provider.item("attach", machines=[machine])
    activation = provider.activation(machine, ready={"port": 81, "timeout_s": 15})
    failed = provider.item("activate", machines=[activation])
    assert f"{provider.address(1)} port 81 did not answer within 15 s (" in failed["msg"]
    log = "/var/log/libvirt/qemu/machine-1-console.log"
    assert log in failed["msg"]
    assert "udhcpc: started" in provider.host.exec("cat", log).stdout
    assert provider.virsh("domstate", "machine-1") == "running"
    provider.module("assign", state="unassigned", release=True, machines=[provider.assignment(1)])


def test_a_machine_that_is_not_attached_cannot_start(provider: Provider) -> None:
    options = {"name": "machine-9", "ready": None}
    assert not provider.item("activate", machines=[options], check_mode=True)["failed"]
    assert "the provider has no such domain. Attach it first." in provider.item("activate", machines=[options])["msg"]


def test_a_uefi_machine_leaves_no_variables_behind(provider: Provider) -> None:
    machine = {**provider.machine(1), "firmware": "uefi", "memory_mib": 256}
    assert not provider.item("attach", machines=[machine])["failed"]
    assert is_unchanged(provider.item("attach", machines=[machine]))
    assert not provider.item("activate", machines=[provider.activation(machine, ready=None)])["failed"]
    stores = provider.host.exec("ls", "/var/lib/libvirt/qemu/nvram").stdout
    assert "machine-1" in stores
    assert is_unchanged(provider.item("attach", machines=[machine]))
    provider.virsh("destroy", "machine-1")
    assert not provider.item("attach", state="detached", machines=[machine])["failed"]
    assert "machine-1" not in provider.host.exec("ls", "/var/lib/libvirt/qemu/nvram").stdout


# Whose domain, whose volume


def test_a_foreign_domain_is_never_touched(provider: Provider) -> None:
    machine = provider.machine(1)
    provider.item("attach", machines=[machine])
    definition = provider.virsh("dumpxml", "--inactive", "machine-1")
    foreign = definition.replace("urn:encompass-images:machine:1", "urn:somebody:else")
    provider.virsh("undefine", "machine-1")
    provider.host.exec("virsh", "define", "/dev/stdin", stdin=foreign)
    before = provider.virsh("dumpxml", "--inactive", "machine-1")
    for state in ("attached", "detached"):
        item = provider.item("attach", state=state, machines=[machine])
        assert "has a domain of this name that was not made by encompass.images" in item["msg"]
    assert provider.virsh("dumpxml", "--inactive", "machine-1") == before


def test_a_volume_of_another_domain_is_refused(provider: Provider) -> None:
    one, two = provider.machine(1), provider.machine(2)
    provider.item("attach", machines=[one])
    item = provider.item("attach", machines=[{**two, "disks": one["disks"]}])
    assert f"the volume {one['disks'][0]['path']} is used by domain machine-1" in item["msg"]


def test_two_guests_never_write_one_volume(provider: Provider) -> None:
    """Even when somebody defines the second one behind our back, its start is refused and names the first."""
    machine = provider.machine(1)
    provider.item("attach", machines=[machine])
    provider.item("activate", machines=[provider.activation(machine, ready=None)])
    twin = provider.virsh("dumpxml", "--inactive", "machine-1").replace("machine-1", "machine-2")
    other = provider.machine(2)["uuid"]
    twin = twin.replace(machine["uuid"], other).replace(provider.mac(1), provider.mac(2))
    provider.host.exec("virsh", "define", "/dev/stdin", stdin=twin)
    item = provider.item("activate", machines=[{"name": "machine-2", "uuid": other}])
    assert f"volume {machine['disks'][0]['path']} is in use by domain machine-1" in item["msg"]
    assert provider.virsh("list", "--name") == "machine-1"


def test_two_hosts_never_write_one_volume(providers: list[Provider]) -> None:
    """The lock of a volume on a shared file system holds on every host that reaches it."""
    first, second = providers
    disk = "/srv/shared/disk.raw"
    first.host.exec("qemu-img", "create", "-q", "-f", "raw", disk, "1M")
    machines = []
    try:
        for number, provider in enumerate(providers):
            machine = {**provider.machine(number), "nics": [], "disks": [{"path": disk, "format": "raw"}]}
            assert not provider.item("attach", machines=[machine])["failed"]
            machines.append({"name": machine["name"], "uuid": machine["uuid"]})
        assert not first.item("activate", machines=[machines[0]])["failed"]
        refused = second.item("activate", machines=[machines[1]])
        assert f"volume {disk} is in use by another host or program" in refused["msg"]
        first.virsh("destroy", machines[0]["name"])
        assert not second.item("activate", machines=[machines[1]])["failed"]
    finally:
        for provider in providers:
            provider.clean()


# What a provider has


def test_a_provider_is_discovered(provider: Provider) -> None:
    machine = provider.machine(1)
    provider.item("attach", machines=[machine])
    provider.item("assign", machines=[provider.assignment(1)])
    pools = [{"name": "default", "path": provider.pool}, {"name": "gone", "path": "/srv/local/gone"}]
    seen = provider.module("discover", pools=pools, networks=[{"name": NETWORK}])
    assert is_unchanged(seen)
    about = seen["provider"]
    assert (about["virt_type"], about["virt_reason"]) == ("qemu", "/dev/kvm is not there")
    assert (about["lock_manager"], about["arch"], about["firmwares"]) == ("lockd", "x86_64", ["bios", "uefi"])
    assert [pool["problem"] for pool in seen["pools"]] == [None, "libvirt has no pool of this name"]
    assert seen["pools"][0]["available_bytes"] > 0
    assert seen["networks"][0]["subnet"] == provider.host.guest_subnet
    entry = {"mac": provider.mac(1), "address": provider.address(1), "name": "machine-1"}
    assert entry in seen["networks"][0]["dhcp_hosts"]
    [domain] = seen["domains"]
    told = {"catalog": "test-catalog", "machine": "machine-1", "server": "machine-1", "clone": "clone-1"}
    assert (domain["machine_metadata"], domain["active"]) == (told, False)
    assert domain["disks"] == [volume["path"] for volume in seen["volumes"]] == [machine["disks"][0]["path"]]
    assert [master["path"] for master in seen["masters"]] == [provider.master]
    provider.module("assign", state="unassigned", release=True, machines=[provider.assignment(1)])


def test_a_demand_for_kvm_where_there_is_none_fails(provider: Provider) -> None:
    seen = provider.module("discover", virt_type="kvm")
    assert seen["failed"]
    assert "KVM does not work here: /dev/kvm is not there" in seen["msg"]


def test_a_real_kernel_proves_acceleration(tmp_path: Path) -> None:
    """With emulation in KVM's place, since only the machine decides whether its KVM works."""
    from ansible_collections.encompass.images.plugins.module_utils._drivers import virt_probe

    if virt_probe.find_kernel(virt_probe.BOOT) is None or not virt_probe.DEVICE.exists():
        pytest.skip("this machine has no kernel in /boot, or no /dev/kvm")
    emulator = tmp_path / "qemu"
    emulator.write_text(
        '#!/bin/sh\nfor word do shift; [ "$word" = kvm ] && word=tcg; set -- "$@" "$word"; done\n'
        'exec qemu-system-x86_64 "$@"\n'
    )
    emulator.chmod(0o755)
    proof = virt_probe.prove_kvm(str(emulator), limit_s=60)
    assert proof.works, proof.reason
    real = virt_probe.prove_kvm("qemu-system-x86_64")
    assert real.works or real.reason.startswith("/dev/kvm is there, but")

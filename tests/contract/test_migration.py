# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module migrate between two real libvirt daemons whose pools lie at different places."""

from __future__ import annotations

import typing as t

import pytest

from tests.contract.module_process import is_unchanged
from tests.contract.provider import NETWORK, Provider
from tests.lab import images
from tests.lab.hosts import LabHosts

OTHER = "/srv/local/other"


@pytest.fixture(scope="module")
def pair() -> t.Iterator[tuple[Provider, Provider]]:
    """Two providers; the second has another pool with the same master in it."""
    with LabHosts(2, share_guests=True) as lab:
        here, there = (Provider(host, images.ensure_image("mini")) for host in lab.hosts)
        here.prepare()
        there.prepare()
        assert not there.module("pool", pools=[{"name": "other", "path": OTHER}])["failed"]
        there.host.exec("cp", there.master, f"{OTHER}/masters/mini.qcow2")
        yield here, there


@pytest.fixture
def guest(pair: tuple[Provider, Provider]) -> t.Iterator[dict[str, t.Any]]:
    """Return a machine that is defined on the first provider; its clone has two volumes, and a file beside them."""
    here, there = pair
    machine = here.machine(1)
    second = machine["disks"][0]["path"].replace("root", "srv")
    here.host.exec("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", here.master, second)
    here.host.exec("chmod", "600", second)
    machine["disks"].append({**machine["disks"][0], "path": second})
    here.host.exec("sh", "-c", f"mkdir {here.pool}/clones/clone-1/undo; echo x >{here.pool}/clones/clone-1/undo/j")
    assert not here.item("attach", machines=[machine])["failed"]
    yield machine
    here.clean()
    there.clean()
    there.host.exec("sh", "-c", f"rm -rf {OTHER}/clones/* {OTHER}/.staging/*")


def moving(here: Provider, machine: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    clone = {"name": "clone-1", "pool_path": here.pool, "target_pool_path": OTHER, "served": True}
    clone["volumes"] = [
        {
            "name": name,
            "format": "qcow2",
            "virtual_bytes": 96 << 20,
            "path": disk["path"],
            "backing": disk["backing"][0],
        }
        for name, disk in zip(("root", "srv"), machine["disks"])
    ]
    return {"name": machine["name"], "uuid": machine["uuid"], "to": "there", "clones": [clone], **changes}


def run(provider: Provider, peer: Provider, state: str, item: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    uris = {"there": f"qemu+ssh://root@{peer.host.address}/system?no_tty=1"}
    return provider.item("migrate", state=state, uris=uris, machines=[item], **options)


def test_a_stopped_machines_files_arrive_whole_or_not_at_all(
    pair: tuple[Provider, Provider], guest: dict[str, t.Any]
) -> None:
    here, there = pair
    item = moving(here, guest)
    there.host.exec("mkdir", "-p", f"{OTHER}/clones/clone-1")  # stale, from an earlier try
    assert run(here, there, "sent", item)["changed"]
    assert is_unchanged(run(here, there, "sent", item))
    arrival = f"{OTHER}/.staging/clone~clone-1~arrival"
    there.host.exec("sh", "-c", f"cp {arrival}/root.qcow2 /tmp/whole; printf x >>{arrival}/root.qcow2")
    spoilt = run(there, here, "received", item)
    assert "is not what was sent" in spoilt["msg"]
    there.host.exec("cp", "/tmp/whole", f"{arrival}/root.qcow2")
    assert run(there, here, "received", item)["changed"]
    assert is_unchanged(run(there, here, "received", item))
    for name in ("root", "srv"):
        volume = f"{OTHER}/clones/clone-1/{name}.qcow2"
        assert f"{OTHER}/masters/mini.qcow2" in there.host.exec("qemu-img", "info", "-f", "qcow2", volume).stdout
        there.host.exec("qemu-img", "check", "-q", "-f", "qcow2", volume)
    assert there.host.exec("cat", f"{OTHER}/clones/clone-1/undo/j").stdout == "x\n"
    assert there.host.exec("ls", f"{OTHER}/.staging").stdout == ""
    assert there.virsh("pool-list", "--name").split() == ["default", "other"]


@pytest.mark.parametrize(
    "left",
    ["rm {0}/manifest.json", "truncate -s 0 {0}/manifest.json && truncate -s 99 {0}/manifest.json", "rm -r {0}"],
    ids=["a receiver was killed", "a sender was killed", "somebody tidied up"],
)
def test_what_an_earlier_run_left_of_a_shipment_is_sent_again(
    pair: tuple[Provider, Provider], guest: dict[str, t.Any], left: str
) -> None:
    here, there = pair
    item = moving(here, guest)
    assert run(here, there, "sent", item)["changed"]
    there.host.exec("sh", "-c", left.format(f"{OTHER}/.staging/clone~clone-1~arrival"))
    assert run(here, there, "sent", item)["changed"]
    assert run(there, here, "received", item)["changed"]
    there.host.exec("qemu-img", "check", "-q", "-f", "qcow2", f"{OTHER}/clones/clone-1/root.qcow2")
    assert there.virsh("pool-list", "--name").split() == ["default", "other"]


def test_a_running_machine_is_taken_back_or_goes_on_there(
    pair: tuple[Provider, Provider], guest: dict[str, t.Any]
) -> None:
    here, there = pair
    assert not here.item("activate", machines=[here.activation(guest, ready=None)])["failed"]
    item = moving(here, guest, live=True)
    run(here, there, "sent", item)
    run(there, here, "received", item)
    late = run(here, there, "migrated", item, bandwidth_mib_s=1, limit_s=3)
    assert "could not be migrated within 3 s, and goes on where it was" in late["msg"]
    assert here.virsh("domstate", guest["name"]) == "running"
    assert there.virsh("list", "--all", "--name") == ""
    done = run(here, there, "migrated", item)
    assert done["changed"], done
    assert here.virsh("list", "--all", "--name") == ""
    assert there.virsh("domstate", guest["name"]) == "running"
    assert is_unchanged(run(here, there, "migrated", item))
    running, defined = (there.virsh("dumpxml", *words, guest["name"]) for words in ([], ["--inactive"]))
    for text in (running, defined):
        assert f"{OTHER}/clones/clone-1/root.qcow2" in text
        assert f"{OTHER}/clones/clone-1/srv.qcow2" in text
        assert f"{OTHER}/masters/mini.qcow2" in text
        assert here.pool not in text.replace(OTHER, "")
    left = {key: value for key, value in item.items() if key in ("name", "uuid")}
    clones = [{"name": "clone-1", "pool_path": here.pool, "target_pool_path": here.pool}]
    left.update(clones=clones, nics=[{"network": NETWORK, "mac": here.mac(1), "address": here.address(1)}])
    assert run(here, there, "vacated", left)["changed"]
    assert here.host.exec("ls", f"{here.pool}/clones").stdout == ""
    refused = run(there, here, "vacated", left)
    assert "its domain is not off here" in refused["msg"]

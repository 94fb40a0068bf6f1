# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy site as the catalog and discover tell it, into which a test puts faults."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.encompass.images.plugins.plugin_utils._planning.addresses import AddressBook
from ansible_collections.encompass.images.plugins.plugin_utils._verifying.scene import Scene
from ansible_collections.encompass.images.plugins.plugin_utils._verifying.verify import find_all

CATALOG = "8c4f0b1e-0000-4000-8000-000000000001"
DIGEST = "a" * 64
BASE = f"/pool/masters/{DIGEST}.qcow2"


class Faulty:
    """A healthy site of two providers, into which a test puts a fault."""

    def __init__(self, servers: int = 2) -> None:
        self.records: dict[str, dict[str, dict[str, t.Any]]] = {
            "master": {"web-server-v1": make_master()},
            "function": {"web-server": {"current": 1}},
            "deployment": {"web": {"members": [f"web-{number}" for number in range(1, servers + 1)]}},
            "provider": {"hv1": {}, "hv2": {}},
            "pool": {f"{name}:default": {"pool": "default", "shared": False} for name in ("hv1", "hv2")},
            "clone": {},
            "machine": {},
            "volume": {},
        }
        self.seen = {name: _make_seen(name) for name in ("hv1", "hv2")}
        self.busy: set[tuple[str, str]] = set()
        self.stale: list[str] = []
        book = AddressBook({})
        first = ipaddress.ip_address("10.0.0.10")
        for number in range(1, servers + 1):
            self._add(number, str(first + number), book)

    def _add(self, number: int, address: str, book: AddressBook) -> None:
        name, clone, provider = f"web-{number}", f"web-server-v1-{number}", ("hv1", "hv2")[(number - 1) % 2]
        path, data = f"/pool/clones/{clone}/root.qcow2", f"/pool/data/{name}/db.qcow2"
        nic = {"network": "encompass", "mac": book.allocate_mac(CATALOG, name, address), "address": address}
        image = {"path": path, "format": "qcow2", "virtual_bytes": 100}
        self.records["machine"][name] = {
            "server": name,
            "deployment": "web",
            "clone": clone,
            "provider": provider,
            "uuid": f"{number:08d}-0000-4000-8000-0",
            "nics": [nic],
            "cpus": 1,
            "memory_mib": 256,
            "data": ["db"],
        }
        self.records["clone"][clone] = {
            "master": "web-server-v1",
            "machine": name,
            "machine_id": f"{number:032x}",
            "provider": provider,
            "pool": "default",
            "stage": "active",
            "seed": None,
            "volumes": [{"name": "root", **image, "backing": {"path": BASE}}],
            "last_error": None,
        }
        self.records["volume"][f"{name}.db"] = {
            "server": name,
            "provider": provider,
            "pool": "default",
            "path": data,
            "virtual_bytes": 50,
            "stage": "available",
        }
        seen = self.seen[provider]
        seen["volumes"].append({"clone": clone, "name": "root", **image, "backing_path": BASE})
        seen["data"].append({"name": f"{name}.db", "path": data, "virtual_bytes": 50})
        seen["networks"][0]["dhcp_hosts"].append({**nic, "name": name})
        seen["domains"].append(
            {
                "name": name,
                "uuid": f"{number:08d}-0000-4000-8000-0",
                "active": True,
                "cpus": 1,
                "memory_mib": 256,
                "disks": [path, data],
                "macs": [nic["mac"]],
                "machine_metadata": {"catalog": CATALOG, "machine": name, "clone": clone},
            }
        )

    @property
    def machine(self) -> dict[str, t.Any]:
        return self.records["machine"]["web-1"]

    @property
    def clone(self) -> dict[str, t.Any]:
        return self.records["clone"]["web-server-v1-1"]

    @property
    def domain(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.seen["hv1"]["domains"][0])

    @property
    def volume(self) -> dict[str, t.Any]:
        """What was seen of the first clone's volume."""
        return t.cast("dict[str, t.Any]", self.seen["hv1"]["volumes"][0])

    @property
    def holders(self) -> list[dict[str, t.Any]]:
        """What the first provider reserves."""
        return t.cast("list[dict[str, t.Any]]", self.seen["hv1"]["networks"][0]["dhcp_hosts"])

    def scene(self) -> Scene:
        return Scene(CATALOG, self.records, self.seen, frozenset(self.busy), self.stale, self._remembers)

    def _remembers(self, key: tuple[str, str]) -> bool:
        return "foreign" not in key[1]

    def kinds(self) -> list[str]:
        return sorted({finding.kind for finding in find_all(self.scene())})


def make_master() -> dict[str, t.Any]:
    """Return the record of an available master."""
    replica = {"pool": "default", "volumes": {"root": {"path": BASE, "fingerprint": "1:2:3"}}}
    return {
        "function": "web-server",
        "version": 1,
        "state": "available",
        "volumes": [{"name": "root", "digest": DIGEST}],
        "replicas": [{**replica, "provider": name} for name in ("hv1", "hv2")],
    }


def _make_seen(name: str) -> dict[str, t.Any]:
    return {
        "provider": {"lock_manager": "lockd"},
        "pools": [{"name": "default", "path": "/pool", "shared": False, "usable": True, "problem": None}],
        "networks": [{"name": "encompass", "active": True, "dhcp_hosts": []}],
        "domains": [],
        "volumes": [],
        "data": [],
        "masters": [{"digest": DIGEST, "path": BASE, "fingerprint": "1:2:3", "pool": "default"}],
        "staging": [],
    }

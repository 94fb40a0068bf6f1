# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab host as a provider for contract tests: modules run on it, one mini guest at a time."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import typing as t
import uuid
from pathlib import Path

from tests.lab.commands import wait_until
from tests.lab.hosts import LabHost
from tests.tools.collection_path import link_checkout

_MODULE_PROCESS = Path(__file__).with_name("module_process.py")
NETWORK = "guests"


class Provider:
    """One lab host, prepared with a network and a pool by our own modules."""

    def __init__(self, host: LabHost, master: Path) -> None:
        self.host = host
        self._master = master
        self.pool = "/srv/local/pool"
        self.master = f"{self.pool}/masters/mini.qcow2"

    def module(self, name: str, *, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run a module on the host; return its result, a failure as well."""
        arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": True}
        argv = [sys.executable, _MODULE_PROCESS, link_checkout(), name]
        done = self.host.exec(*argv, stdin=json.dumps(arguments), timeout_s=180, check=False)
        assert done.stdout.strip().startswith("{"), done.stderr
        result: dict[str, t.Any] = json.loads(done.stdout)
        return result

    def item(self, name: str, **options: t.Any) -> dict[str, t.Any]:
        """Run a module on one item; return that item's result."""
        result = self.module(name, **options)
        assert "objects" in result, result
        [item] = result["objects"]
        return t.cast("dict[str, t.Any]", item)

    def prepare(self) -> None:
        """Switch the lock manager on, and make the network and the pool with the master in it."""
        self.host.exec("sh", "-c", "echo 'lock_manager = \"lockd\"' >> /etc/libvirt/qemu.conf")
        self.restart_libvirtd()
        pools = [{"name": "default", "path": self.pool}]
        assert not self.module("pool", pools=pools)["failed"]
        networks = [{"name": NETWORK, "mode": "route", "subnet": self.host.guest_subnet}]
        assert not self.module("network", networks=networks)["failed"]
        master = self.host.local / "pool/masters/mini.qcow2"
        shutil.copy(self._master, master)
        master.chmod(0o444)

    def restart_libvirtd(self) -> None:
        """End libvirtd and start it again; guests go on."""
        self.host.exec("sh", "-c", "kill $(cat /run/libvirtd.pid)")
        wait_until(lambda: not self._is_up(), timeout_s=20, what="end of libvirtd")
        wait_until(self._start_libvirtd, timeout_s=20, what="start of libvirtd")

    def _is_up(self) -> bool:
        return self.host.exec("pgrep", "-x", "libvirtd", check=False).returncode == 0

    def _start_libvirtd(self) -> bool:
        if not self._is_up():
            self.host.exec("/usr/sbin/libvirtd", "-d", check=False)
        return self.virsh("uri", check=False) == "qemu:///system"

    def virsh(self, *words: str, check: bool = True) -> str:
        """Run virsh on the host."""
        return self.host.exec("timeout", "20", "virsh", "--quiet", *words, check=check).stdout.strip()

    def machine(self, number: int, *, master: str | None = None) -> dict[str, t.Any]:
        """Return what attach is told of a machine whose clone was just made as an overlay."""
        name = f"machine-{number}"
        directory = f"{self.pool}/clones/clone-{number}"
        path = f"{directory}/root.qcow2"
        base = master or self.master
        self.host.exec("mkdir", "-p", "-m", "0711", directory)
        self.host.exec("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path)
        self.host.exec("chmod", "600", path)
        return {
            "name": name,
            "clone": f"clone-{number}",
            "server": name,
            "catalog": "test-catalog",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.host.name}/{name}")),
            "arch": "x86_64",
            "firmware": "bios",
            "cpus": 1,
            "memory_mib": 96,
            "virt_type": "qemu",
            "nics": [{"network": NETWORK, "mac": self.mac(number), "address": self.address(number)}],
            "disks": [{"path": path, "format": "qcow2", "backing": [{"path": base, "format": "qcow2"}]}],
        }

    def mac(self, number: int) -> str:
        return f"52:54:00:00:00:{number:02x}"

    def address(self, number: int) -> str:
        return f"{self.host.guest_subnet.rsplit('.', 1)[0]}.{100 + number}"

    def assignment(self, number: int, **changes: t.Any) -> dict[str, t.Any]:
        """Return what assign is told of a machine."""
        nic = {"network": NETWORK, "mac": self.mac(number), "address": self.address(number)}
        return {"name": f"machine-{number}", "nics": [{**nic, "hostname": f"machine-{number}", **changes}]}

    def activation(self, machine: t.Mapping[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        """Return what activate is told of a machine."""
        ready = {"url": "http://{address}/", "timeout_s": 90}
        address = machine["nics"][0]["address"] if machine["nics"] else None
        return {"name": machine["name"], "uuid": machine["uuid"], "address": address, "ready": ready, **changes}

    def clean(self) -> None:
        """Remove all domains, clones and reservations of a test."""
        for name in self.virsh("list", "--name").split():
            with contextlib.suppress(Exception):
                self.virsh("destroy", name)
        for name in self.virsh("list", "--all", "--name").split():
            self.virsh("undefine", "--nvram", name)
        self.host.exec("sh", "-c", f"rm -rf {self.pool}/clones/*")

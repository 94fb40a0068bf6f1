# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A moment of a site to come back to, much sooner than by doing again what led to it."""

from __future__ import annotations

import re
import shutil
import typing as t
from pathlib import Path

from tests.integration.site import POOL
from tests.integration.test_migrate import SpanningSite
from tests.lab.commands import run
from tests.lab.hosts import LabHost

_MASTERS = "masters"
_SAVED = "/srv/local/saved"
_NETWORK = "encompass"


class Domain(t.NamedTuple):
    """A guest as it was."""

    name: str
    definition: str
    is_running: bool


class Checkpoint:
    """The catalog, the pools' files, the domains with their memory, and the DHCP entries of a site."""

    def __init__(self, site: SpanningSite) -> None:
        """Look at the site; its guests stand still meanwhile."""
        self._lab, self._controller = site.lab, site.controller
        self._folder = site.lab.directory / "checkpoint"
        self._pools = {"shared": site.lab.shared / "pool"}
        self._pools.update({host.name: host.local / Path(POOL).name for host in site.lab.hosts})
        self._domains = {host.name: list(_save_domains(host)) for host in site.lab.hosts}
        self._reservations = {host.name: _list_reservations(host) for host in site.lab.hosts}
        for name, pool in self._pools.items():
            _copy(pool, self._folder / name)
        for path in self._controller.directory.glob(f"{self._controller.catalog.name}*"):
            shutil.copy(path, self._folder / path.name)
        self.restore()

    def restore(self) -> None:
        """Make the site what it was; nobody may be at work on it."""
        for host in self._lab.hosts:
            _remove_domains(host)
            _forget_arrivals(host)
        for name, pool in self._pools.items():
            _copy(self._folder / name, pool)
        for path in self._controller.directory.glob("*.sqlite*"):
            path.unlink()
        for path in self._folder.glob(f"{self._controller.catalog.name}*"):
            shutil.copy(path, self._controller.directory)
        for host in self._lab.hosts:
            _set_reservations(host, self._reservations[host.name])
            for domain in self._domains[host.name]:
                host.exec("virsh", "-q", "define", "/dev/stdin", stdin=domain.definition)
                if domain.is_running:
                    host.exec("virsh", "-q", "restore", f"{_SAVED}/{domain.name}")


def _copy(source: Path, target: Path) -> None:
    """Make a pool's folder the copy of another one; masters are known by their inodes, and nobody writes to them."""
    target.mkdir(parents=True, exist_ok=True)
    run("find", target, "-mindepth", "1", "-delete")
    for entry in source.iterdir():
        run("cp", "-al" if entry.name == _MASTERS else "-a", "--sparse=always", entry, target)


def _save_domains(host: LabHost) -> t.Iterator[Domain]:
    """Stop the guests, keep their memory, and return how to have them again."""
    host.exec("mkdir", "-p", _SAVED)
    running = _list_domains(host, "--state-running")
    for name in _list_domains(host, "--all"):
        yield Domain(name, host.exec("virsh", "dumpxml", "--inactive", name).stdout, name in running)
        if name in running:
            host.exec("virsh", "-q", "save", name, f"{_SAVED}/{name}")


def _remove_domains(host: LabHost) -> None:
    for name in _list_domains(host, "--all"):
        host.exec("virsh", "-q", "destroy", name, check=False)
        host.exec("virsh", "-q", "undefine", name, "--managed-save", "--nvram", "--checkpoints-metadata")


def _forget_arrivals(host: LabHost) -> None:
    """Have libvirt forget what a killed migration opened: its files are about to go."""
    for name in host.exec("virsh", "-q", "pool-list", "--name").stdout.split():
        if name.startswith("encompass-arrival-"):
            host.exec("virsh", "-q", "pool-destroy", name)


def _list_domains(host: LabHost, state: str) -> list[str]:
    return host.exec("virsh", "-q", "list", state, "--name").stdout.split()


def _list_reservations(host: LabHost) -> set[str]:
    return set(re.findall("<host .*/>", host.exec("virsh", "-q", "net-dumpxml", _NETWORK).stdout))


def _set_reservations(host: LabHost, wanted: set[str]) -> None:
    found = _list_reservations(host)
    for command, entries in (("delete", found - wanted), ("add", wanted - found)):
        for entry in sorted(entries):
            host.exec("virsh", "-q", "net-update", _NETWORK, command, "ip-dhcp-host", entry, "--live", "--config")

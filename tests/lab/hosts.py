# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisor hosts for tests: several on one machine, each with its own namespaces, root, sshd and libvirtd.

    with LabHosts(2) as lab:
        lab.hosts[0].exec("virsh", "list")

A lab has a /16 of its own, 10.<100+number>.0.0/16: its hosts live in subnet 0 on a bridge; subnet i belongs to the
guests of host i and is routed to that host, so that this machine reaches guests by their addresses. Guests of hosts
that share them live in subnet 255, on a bridge that each host has a port into. A keeper process takes the lab away when
its owner dies, however it dies; `python -m tests.lab.hosts clean` does the same when the keeper was killed as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.lab import labstate
from tests.lab.commands import LabError, ProcessId, run, wait_until
from tests.lab.host_root import PATH, HostPlan

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
# KVM may be present and still hang every guest, and libguestfs would try it first
ENVIRONMENT = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
MAX_HOSTS = 40
SHARED_SUBNET = 255
SHARED_PORT = "eth1"


class LabHost:
    """One hypervisor host. `address` is its own, `guest_subnet` is where its guests live."""

    def __init__(self, lab: LabHosts, index: int) -> None:
        self.lab = lab
        self.index = index
        self.name = f"{lab.name}h{index}"
        self.directory = lab.directory / self.name
        self.address = str(lab.network[10 + index])
        self.guest_subnet = f"{lab.network[256 * index]}/24"
        self.shared_gateway = str(lab.network[256 * SHARED_SUBNET + index])
        self.private_key = lab.private_key
        self._launcher: subprocess.Popen[str] | None = None
        self._init: ProcessId | None = None

    def __repr__(self) -> str:
        return f"<LabHost {self.name} {self.address}>"

    @property
    def pid(self) -> int:
        """The pid of the host's init, as this machine sees it."""
        if self._init is None or not self._init.is_alive():
            raise LabError(f"host {self.name} is not running")
        return self._init.pid

    @property
    def local(self) -> Path:
        """The host's /srv/local as this machine sees it; outlives a crash."""
        return self.directory / "local"

    @property
    def root(self) -> Path:
        """The root of the running host as this machine sees it."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def uri(self) -> str:
        """A libvirt URI that reaches the host's libvirtd from here, whatever the network does."""
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    def exec(
        self, *argv: str | os.PathLike[str], stdin: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as root, without ssh."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"]
        settings = [f"{name}={value}" for name, value in {"PATH": PATH, "HOME": "/root", **ENVIRONMENT}.items()]
        return run(*enter, *settings, *argv, stdin=stdin, timeout_s=timeout_s, check=check)

    def start(self) -> None:
        """Power the host on; its disks, /etc and /var are as they were before a crash. Returns when it is usable."""
        self.directory.mkdir(exist_ok=True)
        key = self.directory / "ssh_host_ed25519_key"
        if not key.exists():
            make_key(key, comment=self.name)
        self._launch()
        wait_until(self._answers, timeout_s=60, what=f"start of host {self.name} (see {self.directory}/boot.log)")

    def _launch(self) -> None:
        """Start the namespaces; their first process waits for its plan until its end is on record."""
        enter = ["nsenter", f"--mount=/proc/{self.lab.keeper_pid}/ns/mnt", f"--wdns={PROJECT}"]
        namespaces = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        with (self.directory / "boot.log").open("a", encoding="utf-8") as log:
            launcher = subprocess.Popen(
                [*enter, *namespaces, PYTHON, "-m", "tests.lab.host_root"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._launcher = launcher
        labstate.record_process(self.lab.directory, f"{self.name}-launcher", ProcessId.of(launcher.pid))
        assert launcher.stdin and launcher.stdout
        try:
            first_line = launcher.stdout.readline().strip()
            if not first_line:
                raise LabError(f"host {self.name} did not start: {self._boot_log()}")
            self._init = ProcessId.of(int(first_line))
            labstate.record_process(self.lab.directory, self.name, self._init)
            self._plug_in()
            json.dump(asdict(self._plan()), launcher.stdin)
        finally:
            # the end of the plan, or its absence, lets the host's first process go on
            launcher.stdin.close()
            launcher.stdout.close()

    def _boot_log(self) -> str:
        return (self.directory / "boot.log").read_text(encoding="utf-8", errors="replace").strip()[-2000:]

    def _plug_in(self) -> None:
        bridge = labstate.bridge_of(self.lab.name)
        lines = [f"link add {self.name} type veth peer name eth0 netns {self.pid}"]
        lines += [f"link set {self.name} master {bridge} up"]
        lines += [f"route replace {self.guest_subnet} via {self.address} dev {bridge}"]
        if self.lab.shares_guests:
            lines += [f"link add {self.name}g type veth peer name {SHARED_PORT} netns {self.pid}"]
            lines += [f"link set {self.name}g master {labstate.guest_bridge_of(self.lab.name)} up"]
        run("ip", "-batch", "-", stdin="\n".join(lines))

    def _plan(self) -> HostPlan:
        digest = hashlib.md5(f"{self.lab.directory} {self.name}".encode(), usedforsecurity=False)
        others = [host for host in self.lab.hosts if host is not self]
        return HostPlan(
            name=self.name,
            directory=str(self.directory),
            layer=str(self.lab.directory / labstate.COW / self.name),
            shared=str(self.lab.shared),
            public_key=self.lab.public_key,
            address=self.address,
            prefix_length=24,
            gateway=self.lab.gateway,
            routes={host.guest_subnet: host.address for host in others},
            names={host.name: host.address for host in self.lab.hosts},
            machine_id=digest.hexdigest(),
            host_uuid=str(uuid.UUID(digest.hexdigest(), version=4)),
            environment=ENVIRONMENT,
            kvm=self.lab.kvm,
            shared_port=SHARED_PORT if self.lab.shares_guests else "",
        )

    def _answers(self) -> bool:
        if self._launcher is not None and self._launcher.poll() is not None:
            raise LabError(f"host {self.name} ended: {self._boot_log()}")
        # libvirtd takes connections when its drivers are ready, so a first answer means that it works
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), timeout=1) as ssh:
            return ssh.recv(4) == b"SSH-" and run("virsh", "-q", "-c", self.uri, "uri", check=False).returncode == 0
        return False

    def crash(self) -> None:
        """Cut the host's power: every process of it, guests included, is gone at once."""
        if self._init is not None:
            self._init.kill()
        if self._launcher is not None:
            self._launcher.wait(timeout=15)
        for link in (self.name, f"{self.name}g"):
            run("ip", "link", "delete", link, check=False)
        for name in (self.name, f"{self.name}-launcher"):
            labstate.forget_process(self.lab.directory, name)
        self._init = self._launcher = None

    def partition(self) -> None:
        """Pull the network cables; the host and its guests go on running, out of reach. `heal` plugs them in again."""
        self._switch_cables("down")

    def _switch_cables(self, state: str) -> None:
        for link in (self.name, *([f"{self.name}g"] if self.lab.shares_guests else [])):
            run("ip", "link", "set", link, state)

    def heal(self) -> None:
        self._switch_cables("up")
        run("ip", "route", "replace", self.guest_subnet, "via", self.address, "dev", labstate.bridge_of(self.lab.name))


class LabHosts:
    """A lab of `count` hosts as a context manager. `kvm` shows them the machine's /dev/kvm.

    With `share_guests` the hosts also have a port into one network for the guests of all of them, and root of each may
    log in on the others.
    """

    def __init__(self, count: int, *, kvm: bool = False, share_guests: bool = False) -> None:
        if not 1 <= count <= MAX_HOSTS:
            raise LabError(f"a lab has 1 to {MAX_HOSTS} hosts, not {count}")
        if os.geteuid() != 0:
            raise LabError("the lab makes namespaces and mounts: run the tests as root")
        self.kvm = kvm
        self.shares_guests = share_guests
        labstate.clean_abandoned()
        self.directory, number = labstate.claim_lab()
        self.name = self.directory.name
        self.network = labstate.network_of(number)
        self.gateway = str(self.network[1])
        self.shared_guest_subnet = f"{self.network[256 * SHARED_SUBNET]}/24"
        self.shared = self.directory / "shared"
        self.private_key = self.directory / "id_ed25519"
        self.known_hosts = self.directory / "known_hosts"
        self.hosts = [LabHost(self, index) for index in range(1, count + 1)]
        self._keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> LabHosts:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def keeper_pid(self) -> int:
        if self._keeper is None:
            raise LabError(f"lab {self.name} is not up")
        return self._keeper.pid

    @property
    def public_key(self) -> str:
        return Path(f"{self.private_key}.pub").read_text(encoding="ascii")

    def up(self) -> None:
        self._start_keeper()
        self.shared.mkdir(exist_ok=True)
        make_key(self.private_key, comment=self.name)
        bridge = labstate.bridge_of(self.name)
        lines = [f"link add {bridge} type bridge stp_state 0 forward_delay 0", f"link set {bridge} up"]
        lines += [f"addr add {self.gateway}/24 dev {bridge}"]
        if self.shares_guests:
            guests = labstate.guest_bridge_of(self.name)
            lines += [f"link add {guests} type bridge stp_state 0 forward_delay 0", f"link set {guests} up"]
            lines += [f"addr add {self.network[256 * SHARED_SUBNET + 254]}/24 dev {guests}"]
        # what is sent to a host or guest that is not there must never leave this machine by its default route
        lines += [f"route add unreachable {self.network}"]
        run("ip", "-batch", "-", stdin="\n".join(lines))
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(LabHost.start, self.hosts))
        keys = ((host.directory / "ssh_host_ed25519_key.pub").read_text(encoding="ascii") for host in self.hosts)
        lines = [f"{host.address} {key}" for host, key in zip(self.hosts, keys)]
        self.known_hosts.write_text("".join(lines), encoding="ascii")
        if self.shares_guests:
            for host in self.hosts:
                self._trust_others(host)

    def _trust_others(self, host: LabHost) -> None:
        key, known_hosts = self.private_key.read_text("ascii"), self.known_hosts.read_text("ascii")
        for name, content in {"id_ed25519": key, "known_hosts": known_hosts}.items():
            host.exec("sh", "-c", f"umask 077; cat >/root/.ssh/{name}", stdin=content)

    def _start_keeper(self) -> None:
        """Start the process that holds the hosts' writable layers and takes the lab away when we are gone."""
        own_mounts = ["unshare", "--mount", "--propagation", "private"]
        keeper = subprocess.Popen(
            [*own_mounts, PYTHON, "-m", "tests.lab.hosts", "keep", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=PROJECT,
        )
        self._keeper = keeper
        assert keeper.stdout
        if keeper.stdout.readline().strip() != "ready":
            raise LabError(f"the keeper of lab {self.name} did not start")
        labstate.record_process(self.directory, "keeper", ProcessId.of(keeper.pid))

    def down(self) -> None:
        """Take the lab away; what remains undone by the keeper is done here."""
        if self._keeper is not None:
            assert self._keeper.stdin and self._keeper.stdout
            self._keeper.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(timeout=30)
            self._keeper.stdout.close()
            self._keeper = None
        if self.directory.exists():
            labstate.tear_down(self.directory)
        for host in self.hosts:
            if host._launcher is not None:
                host._launcher.wait(timeout=15)

    def inventory(self, **variables: t.Any) -> dict[str, t.Any]:
        """Return an Ansible inventory with the hosts as `encompass_providers`; `variables` go to the group."""
        ssh = f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.private_key),
            "ansible_ssh_common_args": ssh,
            "ansible_python_interpreter": PYTHON,
            **variables,
        }
        hosts = {
            host.name: {
                "ansible_host": host.address,
                "lab_guest_subnet": host.guest_subnet,
                "lab_shared_gateway": host.shared_gateway,
            }
            for host in self.hosts
        }
        return {"encompass_providers": {"hosts": hosts, "vars": common}}

    def write_inventory(self, path: Path, **variables: t.Any) -> Path:
        """Write the inventory as a file (JSON, which is YAML as well)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.inventory(**variables), indent=2), encoding="utf-8")
        return path


def make_key(path: Path, *, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def keep(directory: Path) -> None:
    """Hold the writable layers until the owner closes our standard input or dies, then take the lab away."""
    layers = directory / labstate.COW
    layers.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=50%,mode=711", "tmpfs", layers)
    print("ready", flush=True)
    sys.stdin.read()
    labstate.tear_down(directory)


def main(arguments: list[str]) -> None:
    """Understand `clean` and, for the lab itself, `keep DIRECTORY`."""
    if arguments == ["clean"]:
        for name in labstate.clean_abandoned():
            print(f"removed abandoned lab {name}")
    elif len(arguments) == 2 and arguments[0] == "keep":
        keep(Path(arguments[1]))
    else:
        raise SystemExit("usage: python -m tests.lab.hosts clean")


if __name__ == "__main__":
    main(sys.argv[1:])

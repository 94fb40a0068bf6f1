# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first process of a lab host: make the host's private root, then become its init.

It runs inside new mount, pid, net, uts and ipc namespaces, as root, with the plan (JSON, see HostPlan) on standard
input. The root is an overlay of the machine's own root with a writable layer of the host's own, so that a host has
every package of the machine and may change any file without anybody else seeing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Where libguestfs keeps root's appliance. Building one takes as long as starting it, and all hosts' are the same.
APPLIANCE = Path("/var/tmp/.guestfs-0")

# /dev is made by hand: only these nodes of the machine are seen by a host
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun")

# The daemons run as on a machine without systemd. Then pid 1 only reaps: libvirtd and qemu leave their children to it.
INIT = """\
#!/bin/sh
exec </dev/null >>/var/log/lab-init.log 2>&1
mkdir -p /run/sshd /run/libvirt
/usr/sbin/sshd
/usr/sbin/virtlogd -d
/usr/sbin/virtlockd -d
/usr/sbin/libvirtd -d
while :; do sleep 3600 & wait $!; done
"""

SSHD = """\
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
HostKey /etc/ssh/ssh_host_ed25519_key
Subsystem sftp internal-sftp
MaxSessions 100
MaxStartups 100:30:200
"""

# The host shares the machine's kernel: AppArmor and cgroups are not its to manage, and its /dev is no devtmpfs.
QEMU = """\
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""


# What a site does whose hosts have a port into a network of guests: libvirt's own hook joins its bridge to it.
HOOK = """\
#!/bin/sh
# libvirt calls it with: network, event, stage
if [ "$1 $2 $3" = "encompass started begin" ]; then /sbin/ip link set {port} master {bridge}; fi
"""
SHARED_BRIDGE = "guests0"


@dataclass(frozen=True)
class HostPlan:
    """All that a host needs to know about itself; paths are the machine's."""

    name: str
    directory: str  # the host's folder: local/, home/, ssh_host_ed25519_key, root/ (the mount point)
    layer: str  # the folder of the writable layer, which outlives a crash
    shared: str
    public_key: str
    address: str
    prefix_length: int
    gateway: str
    routes: dict[str, str]  # guest subnet of another host -> that host's address
    names: dict[str, str]  # host name -> address, for /etc/hosts
    machine_id: str
    host_uuid: str
    environment: dict[str, str]
    kvm: bool
    shared_port: str  # the interface into the network that the guests of all hosts share; empty without one


def main() -> None:
    # /proc is still the machine's, so this is the pid by which the outside knows us
    print(Path("/proc/self").readlink(), flush=True)
    text = sys.stdin.read()
    if not text:
        raise SystemExit("the lab's owner is gone")
    plan = HostPlan(**json.loads(text))
    connect(plan)
    root = Path(plan.directory, "root")
    mount_root(plan, root)
    if not (root / "etc/encompass-lab-host").exists():
        write_identity(plan, root)
        write_libvirt_settings(plan, root)
    enter(plan, root)


def call(*argv: str | os.PathLike[str], stdin: str | None = None) -> None:
    subprocess.run([os.fspath(word) for word in argv], check=True, input=stdin, text=True, timeout=30)


def connect(plan: HostPlan) -> None:
    """Set up the network of the namespace; the interface was put into it by the lab."""
    lines = ["link set lo up", f"addr add {plan.address}/{plan.prefix_length} dev eth0", "link set eth0 up"]
    lines += [f"route add default via {plan.gateway}"]
    lines += [f"route add {subnet} via {address}" for subnet, address in plan.routes.items()]
    lines += [f"link set {plan.shared_port} up"] if plan.shared_port else []
    call("ip", "-batch", "-", stdin="\n".join(lines))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")


def mount_root(plan: HostPlan, root: Path) -> None:
    layer = Path(plan.layer)
    for folder in (layer / "upper", layer / "work", root, Path(plan.directory, "local")):
        folder.mkdir(parents=True, exist_ok=True)
    call("mount", "--make-rprivate", "/")
    options = f"lowerdir=/,upperdir={layer / 'upper'},workdir={layer / 'work'}"
    call("mount", "-t", "overlay", "-o", options, "overlay", root)
    call("mount", "-t", "proc", "proc", root / "proc")
    call("mount", "-t", "sysfs", "sysfs", root / "sys")
    # /var/tmp is hidden as well: it is where the labs themselves live
    for name, mode in {"run": "755", "tmp": "1777", "var/tmp": "1777", "dev": "755"}.items():
        call("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", root / name)
    (root / "run/lock").mkdir(mode=0o1777)
    APPLIANCE.mkdir(exist_ok=True)
    (root / APPLIANCE.relative_to("/")).mkdir()
    call("mount", "--bind", APPLIANCE, root / APPLIANCE.relative_to("/"))
    # nothing of what the machine's root does at each login
    home = Path(plan.directory, "home")
    home.mkdir(mode=0o700, exist_ok=True)
    call("mount", "--bind", home, root / "root")
    if not (root / PROJECT.relative_to("/") / "galaxy.yml").exists():  # the checkout itself lies below one of them
        (root / PROJECT.relative_to("/")).mkdir(parents=True)
        call("mount", "--bind", PROJECT, root / PROJECT.relative_to("/"))
    for name, source in {"local": f"{plan.directory}/local", "shared": plan.shared}.items():
        mount_point = root / "srv" / name
        mount_point.mkdir(parents=True, exist_ok=True)
        call("mount", "--bind", source, mount_point)
    fill_dev(root / "dev", kvm=plan.kvm)


def fill_dev(dev: Path, *, kvm: bool) -> None:
    for name in (*DEVICES, *(["kvm"] if kvm else [])):
        node = dev / name
        if Path("/dev", name).exists():
            node.parent.mkdir(exist_ok=True)
            node.touch()
            call("mount", "--bind", Path("/dev", name), node)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    call("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", dev / "pts")
    call("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", dev / "shm")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for link, destination in links.items():
        (dev / link).symlink_to(destination)


def write_identity(plan: HostPlan, root: Path) -> None:
    """Give the host a name, ids and keys of its own."""
    for stale in (root / "etc/ssh").glob("ssh_host_*"):
        stale.unlink()
    for suffix in ("", ".pub"):
        key = Path(plan.directory, f"ssh_host_ed25519_key{suffix}")
        write(root / "etc/ssh" / key.name, key.read_text(encoding="ascii"), mode=0o600)
    environment = [f"{name}={value}" for name, value in plan.environment.items()]
    write(root / "etc/ssh/sshd_config", SSHD + f"SetEnv {' '.join(environment)}\n")
    write(root / "etc/environment", "".join(f"{line}\n" for line in environment))
    write(root / "etc/hostname", f"{plan.name}\n")
    write(root / "etc/machine-id", f"{plan.machine_id}\n")
    names = "".join(f"{address} {name}\n" for name, address in plan.names.items())
    write(root / "etc/hosts", f"127.0.0.1 localhost\n{names}")
    write(root / "etc/encompass-lab-host", f"{plan.name}\n")
    (root / "root/.ssh").mkdir(mode=0o700)
    write(root / "root/.ssh/authorized_keys", plan.public_key, mode=0o600)


def write_libvirt_settings(plan: HostPlan, root: Path) -> None:
    """Forget what the machine's own libvirt knows; a host starts as a freshly installed one."""
    for folder in ("etc/libvirt/qemu", "etc/libvirt/storage", "var/lib/libvirt", "var/log/libvirt"):
        call("rm", "-rf", root / folder)
    for folder in ("etc/libvirt/qemu/networks", "var/log/libvirt/qemu"):
        (root / folder).mkdir(parents=True)
    for folder in ("boot", "dnsmasq", "images", "qemu"):
        (root / "var/lib/libvirt" / folder).mkdir(parents=True)
    call("chown", "libvirt-qemu:libvirt-qemu", root / "var/lib/libvirt/qemu")
    write(root / "etc/libvirt/libvirtd.conf", f'host_uuid = "{plan.host_uuid}"\nlog_outputs = "3:stderr"\n')
    write(root / "etc/libvirt/qemu.conf", QEMU)
    if plan.shared_port:
        hook = HOOK.format(port=plan.shared_port, bridge=SHARED_BRIDGE)
        write(root / "etc/libvirt/hooks/network", hook, mode=0o755)


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def enter(plan: HostPlan, root: Path) -> t.NoReturn:
    """Change into the new root, let go of the old one and become init."""
    call("hostname", plan.name)
    write(root / "sbin/lab-init", INIT, mode=0o755)
    old = root / ".old"
    old.mkdir(exist_ok=True)
    os.chdir(root)
    call("pivot_root", ".", ".old")
    os.chdir("/")
    call("umount", "--lazy", "/.old")
    os.execve("/bin/sh", ["lab-init", "/sbin/lab-init"], {"PATH": PATH, "HOME": "/root", **plan.environment})


if __name__ == "__main__":
    main()

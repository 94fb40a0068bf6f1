# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""20 small servers on two lab hosts by one `deploy`, against the raw tools that do the same by hand.

The raw tools, per host: `qemu-img create` for each overlay, one libguestfs appliance that gives every clone its
files, `virsh define` and `virsh start` for each. Neither side waits for the servers to answer.
``.venv/bin/python -m tests.bench.bench_deploy [COUNT]``
"""

from __future__ import annotations

import concurrent.futures
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.site import POOL, Site, make_web
from tests.lab import images
from tests.lab.controller import Controller
from tests.lab.hosts import LabHost, LabHosts

ROUNDS = 2

EDIT = """
import guestfs, json, sys
clones = json.load(sys.stdin)
g = guestfs.GuestFS(python_return_dict=True)
for clone in clones:
    g.add_drive_opts(clone["path"], format="qcow2", cachemode="unsafe")
g.launch()
for device, clone in zip(g.list_devices(), clones):
    g.mount(device + "1", "/")
    for path, text in clone["files"].items():
        g.write(path, text)
    g.umount_all()
g.shutdown()
g.close()
"""

DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/><apic/></features>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>
<target dev='vda' bus='virtio'/></disk><controller type='usb' model='none'/>
<interface type='network'><source network='encompass'/><model type='virtio'/></interface>
<serial type='pty'/></devices></domain>"""


def make_raw(host: LabHost, names: list[str], master: str) -> float:
    """Make the servers of one host with the raw tools; return the seconds."""
    started = time.monotonic()
    host.exec("mkdir", "-p", "/srv/local/raw")
    clones = []
    for name in names:
        path = f"/srv/local/raw/{name}.qcow2"
        host.exec("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", master, path)
        files = {"/etc/hostname": f"{name}\n", "/etc/machine-id": f"{abs(hash(name)):032x}\n"}
        files.update({"/var/www/index.html": f"hello from {name}\n", "/etc/token": "\n", "/etc/first": "#!/bin/sh\n"})
        clones.append({"path": path, "files": files})
    host.exec("/usr/bin/python3", "-c", EDIT, stdin=json.dumps(clones), timeout_s=300)
    for name in names:
        definition = DOMAIN.format(name=name, path=f"/srv/local/raw/{name}.qcow2")
        host.exec("virsh", "-q", "define", "/dev/stdin", stdin=definition)
        host.exec("virsh", "-q", "start", name)
    return time.monotonic() - started


def remove_raw(host: LabHost, names: list[str]) -> None:
    for name in names:
        host.exec("virsh", "-q", "destroy", name)
        host.exec("virsh", "-q", "undefine", name)
    host.exec("rm", "-r", "/srv/local/raw")


def time_raw(site: Site, count: int) -> tuple[float, float]:
    """Return (seconds with both hosts at work at the same time, seconds of both added up)."""
    digest = site.find("master")["web-server-v1"]["volumes"][0]["digest"]
    master = f"{POOL}/masters/{digest}.qcow2"
    share = {host: [f"raw-{host.index}-{n}" for n in range(count // 2)] for host in site.lab.hosts}
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(lambda host: make_raw(host, share[host], master), share))
    wall = time.monotonic() - started
    for host, names in share.items():
        remove_raw(host, names)
    return wall, sum(taken)


def main() -> None:
    """Measure both in turn, the best of each counts; print the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    image = images.ensure_image("mini")
    with tempfile.TemporaryDirectory(prefix="encompass-bench-") as scratch, LabHosts(2) as lab:
        site = Site(lab, Controller(Path(scratch) / "controller", lab=lab))
        site.prepare(image)
        ours, walls, sums = [], [], []
        for _round in range(ROUNDS):
            ours.append(site.deploy(make_web(count=count, ready=None)).require_success().seconds)
            site.retire("web").require_success()
            wall, total = time_raw(site, count)
            walls.append(wall)
            sums.append(total)
        print(
            f"deploy: {count} servers on 2 hosts {min(ours):.1f} s, raw tools {min(walls):.1f} s with both hosts at "
            f"work ({min(sums):.1f} s added up), ratio {min(ours) / min(walls):.2f} "
            f"({min(ours) / min(sums):.2f}; goal <= 2.0)"
        )


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab leaves on the machine, recorded before it is made, and the one way to take it away again.

Each lab has a folder under STATE_ROOT with one record per process; its network follows from its name. Whoever ends a
lab (its keeper, its owner, or the janitor) does it from these only, by exact names, process ids and paths.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.lab.commands import LabError, ProcessId, run, wait_until

STATE_ROOT = Path(os.environ.get("ENCOMPASS_LAB_ROOT", "/var/tmp/encompass-labs"))
MAX_LABS = 100
COW = "cow"


def network_of(number: int) -> ipaddress.IPv4Network:
    """Return the lab's own /16: subnet 0 holds the hosts, subnet i the guests of host i."""
    return ipaddress.IPv4Network(f"10.{100 + number}.0.0/16")


def bridge_of(lab: str) -> str:
    return f"{lab}br"


def guest_bridge_of(lab: str) -> str:
    return f"{lab}gbr"


def claim_lab() -> tuple[Path, int]:
    """Take the first lab number whose name and subnet are free; return its folder and the number."""
    STATE_ROOT.mkdir(mode=0o711, parents=True, exist_ok=True)
    used = used_networks()
    for number in range(MAX_LABS):
        directory = STATE_ROOT / f"enc{number:02d}"
        if directory.exists() or any(network_of(number).overlaps(network) for network in used):
            continue
        if claim_directory(directory):
            return directory, number
    raise LabError(f"all {MAX_LABS} lab numbers are taken; see {STATE_ROOT} and: python -m tests.lab.hosts clean")


def claim_directory(directory: Path) -> bool:
    """Make the folder with its owner recorded in it, in one atomic step; False when somebody else was faster."""
    unborn = Path(tempfile.mkdtemp(prefix=".unborn-", dir=STATE_ROOT))
    unborn.chmod(0o711)
    record_process(unborn, "owner", ProcessId.of(os.getpid()))
    try:
        unborn.rename(directory)
    except OSError:
        shutil.rmtree(unborn)
        return False
    return True


def used_networks() -> list[ipaddress.IPv4Network]:
    """List the IPv4 networks that this machine routes, without the default route."""
    routes = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all").stdout or "[]")
    return [ipaddress.IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]


def record_process(directory: Path, name: str, process: ProcessId) -> None:
    """Write the process's record; atomic, because the janitor may read at any time."""
    partial = directory / f".{name}.process"
    partial.write_text(json.dumps(asdict(process)), encoding="utf-8")
    partial.rename(directory / f"{name}.process")


def read_process(directory: Path, name: str) -> ProcessId | None:
    try:
        return ProcessId(**json.loads((directory / f"{name}.process").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def forget_process(directory: Path, name: str) -> None:
    (directory / f"{name}.process").unlink(missing_ok=True)


def is_abandoned(directory: Path) -> bool:
    """Tell whether the process that made this lab is certainly gone."""
    owner = read_process(directory, "owner")
    return owner is None or not owner.is_alive()


def tear_down(directory: Path) -> None:
    """Take a lab away; may be repeated, and called by several processes at once."""
    number = int(directory.name[3:])
    names = process_names(directory)
    processes = [process for name in names if (process := read_process(directory, name))]
    for process in processes:
        process.kill()
    for process in processes:
        wait_until(functools.partial(has_ended, process), timeout_s=15, what=f"end of process {process.pid}")
    # the kernel would do it too when it clears the hosts' networks away, but perhaps when the next lab has the names
    cables = [f"{name}{suffix}" for name in names for suffix in ("", "g") if not name.endswith("-launcher")]
    for link in (*cables, bridge_of(directory.name), guest_bridge_of(directory.name)):
        run("ip", "link", "delete", link, check=False)
    run("ip", "route", "delete", "unreachable", str(network_of(number)), check=False)
    # inside the keeper's own mount namespace the copy-on-write layer is still mounted; elsewhere this does nothing
    run("umount", "--lazy", str(directory / COW), check=False)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)


def has_ended(process: ProcessId) -> bool:
    return not process.is_alive()


def process_names(directory: Path) -> list[str]:
    """List the processes to kill: the hosts; never the owner, and the keeper leaves by itself."""
    names = (path.name.removesuffix(".process") for path in directory.glob("*.process"))
    return sorted(name for name in names if not name.startswith(".") and name not in {"owner", "keeper"})


def clean_abandoned() -> list[str]:
    """Tear down every lab whose owner is dead; return their names."""
    cleaned = []
    for directory in sorted(STATE_ROOT.glob("enc[0-9][0-9]")):
        if is_abandoned(directory):
            keeper = read_process(directory, "keeper")
            tear_down(directory)
            if keeper:
                keeper.kill()
            cleaned.append(directory.name)
    for unborn in STATE_ROOT.glob(".unborn-*"):
        # a claim takes milliseconds; one that is a minute old lost its maker before the owner was written
        if time.time() - unborn.stat().st_mtime > 60 and is_abandoned(unborn):
            shutil.rmtree(unborn, ignore_errors=True)
    return cleaned

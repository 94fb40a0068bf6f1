# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a server is silent while it is updated, rolled back or reassigned, against a plain stop and start of it.

All servers are asked ten times a second; one of them changes at a time, so that boots do not compete.
``.venv/bin/python -m tests.bench.bench_update [COUNT]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import typing as t
from pathlib import Path

from tests.integration.site import Site, make_web
from tests.lab import images
from tests.lab.commands import wait_until
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts
from tests.lab.watcher import Watcher


def measure(site: Site, servers: list[str], work: t.Callable[[], object]) -> float:
    """Return the mean over the servers of their longest silence while the work goes on."""
    with Watcher({name: site.address_of(name) for name in servers}) as watcher:
        work()
        for name in servers:
            await_answer(site, name)
    return statistics.mean(seen.longest_s for seen in watcher.seen.values())


def restart(site: Site, name: str) -> None:
    """Stop and start a server by hand."""
    host = site.host_of(name)
    host.exec("virsh", "-q", "shutdown", name)
    wait_until(lambda: "shut off" in host.exec("virsh", "domstate", name).stdout, timeout_s=120, what="a stop")
    host.exec("virsh", "-q", "start", name)
    await_answer(site, name)


def await_answer(site: Site, name: str) -> None:
    wait_until(lambda: answers(site, name), timeout_s=60, what=f"an answer of {name}", every_s=0.1)


def answers(site: Site, name: str) -> bool:
    try:
        return bool(site.fetch(name))
    except OSError:
        return False


def main() -> None:
    """Measure all in one run; print the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    image = images.ensure_image("mini")
    with tempfile.TemporaryDirectory(prefix="encompass-bench-") as scratch, LabHosts(2) as lab:
        site = Site(lab, Controller(Path(scratch) / "controller", lab=lab))
        site.prepare(image)
        web = make_web(count=count)

        def run(scenario: str, **variables: t.Any) -> None:
            arguments = {"encompass_deployments": [web], **variables}
            site.controller.run(f"encompass.images.{scenario}", timeout_s=900, **arguments).require_success()

        run("deploy")
        servers = sorted(site.find("machine"))
        site.add_master(version=2)
        site.add_master(function="night")
        plain = measure(site, servers, lambda: [restart(site, name) for name in servers])
        updated = measure(site, servers, lambda: run("update", encompass_update_waves=[1]))
        back = {"encompass_rollback": ["web"], "encompass_rollback_waves": [1]}
        rolled_back = measure(site, servers, lambda: run("rollback", **back))
        night = {"encompass_reassign": [{"machines": servers[:1], "function": "night"}]}
        reassigned = measure(site, servers[:1], lambda: run("reassign", **night))
        site.retire("web").require_success()
    ratios = [f"{taken:.1f} s ({taken / plain:.2f})" for taken in (updated, rolled_back, reassigned)]
    print(
        f"silence of a server, {count} there: stop and start {plain:.1f} s, update {ratios[0]}, "
        f"rollback {ratios[1]}, reassign {ratios[2]}; goal <= 1.3 each"
    )


if __name__ == "__main__":
    main()

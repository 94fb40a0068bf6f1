# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many controllers that do valid things at random on one small site, while somebody looks on.

``MINUTES=10 .venv/bin/python -m tests.trials.burnin``, as root; ``SEED`` repeats what was drawn, though not who was
faster. The last line holds the figures.
"""

from __future__ import annotations

import collections
import os
import random
import re
import sys
import tempfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.site import MASTER, Site, make_web
from tests.lab.controller import Controller, PlaybookRun
from tests.tools.collection_path import link_checkout
from tests.trials.observer import Observer

CONTROLLERS = 8
SIZES = {"red": 2, "blue": 2, "green": 1}
"""The most servers that a deployment may have."""
DATA: dict[str, list[dict[str, t.Any]]] = {
    "red": [{"name": "db", "size_mib": 8, "pool": "shared"}],
    "blue": [{"name": "log", "size_mib": 8, "format": "raw"}],
}
"""Data volumes: one that both providers reach, one that goes along with its machine."""
RUN_LIMIT_S = 1200

# What a run may be told when another one was faster, or took away what it was about (a migration that goes on deletes
# what a rollback would go back to); anything else is a finding, also of a master, a provider or the catalog.
EXPECTED = re.compile(
    r"(machine|clone|deployment|volume) \S+: (is busy: |was changed by |does not exist\b)"
    r"|server \S+: the clone \S+, which it would go back to, is not in the catalog any more"
    r"|deployment \S+: the catalog has no deployment of this name"
    r"|machine \S+: no deployment has a machine of this name"
    r"|deployment \S+: it was never updated, so there is nothing"
    r"|(directory|domain|reservation) .+: it belongs to (clone|machine) .+\. Verify again"
)


@dataclass(frozen=True)
class Operation:
    """One run: a playbook and its variables."""

    playbook: str
    variables: dict[str, t.Any]
    check: bool = False

    def describe(self) -> str:
        """Return the operation as a line."""
        return f"{self.playbook}{' --check' if self.check else ''} {self.variables}"


@dataclass
class Burnin:
    """Controllers at one site, until the time is up or each has done so many operations."""

    site: Site
    seed: int
    controllers: int = CONTROLLERS
    minutes: float = 0.0
    operations: int = 0
    findings: list[str] = field(default_factory=list)
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    def run(self) -> list[str]:
        """Let them loose; return what did not hold."""
        self._lock = threading.Lock()
        self._end = time.monotonic() + self.minutes * 60
        with Observer(self.site) as observer, ThreadPoolExecutor(self.controllers) as pool:
            list(pool.map(self._play, range(self.controllers)))
        self.counts.update(looks=observer.looks, digest_looks=observer.digest_looks)
        return [*self.findings, *observer.findings, *self._close()]

    def _play(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        done = 0
        while done < self.operations or time.monotonic() < self._end:
            name = sorted(SIZES)[number % len(SIZES)]  # each is deployed before anything else
            operation = (
                self._draw(chance) if done else Operation("deploy", {"encompass_deployments": [declare(name, 1)]})
            )
            done += 1
            with self._lock:  # runs are numbered
                started = self.site.controller.start(
                    f"encompass.images.{operation.playbook}",
                    *(["--check"] if operation.check else []),
                    **operation.variables,
                )
            self._judge(operation, started.wait(timeout_s=RUN_LIMIT_S))

    def _draw(self, chance: random.Random) -> Operation:
        """Draw an operation that is valid for what is there now; somebody else may change that before it runs."""
        name = chance.choice(sorted(SIZES))
        declared = {"encompass_deployments": [declare(name, chance.randint(1, SIZES[name]))]}
        found = self.site.find("machine").items()
        machines = sorted(machine for machine, body in found if body["deployment"] == name)
        machine = chance.choice(machines) if machines else None
        wholly = chance.random() < 0.5
        version = {"encompass_update": [name], "encompass_update_version": chance.randint(1, 2)}
        kinds: dict[str, tuple[int, dict[str, t.Any] | None]] = {
            "deploy": (4, declared),
            "update": (2, {**declared, **version} if machines else None),
            "rollback": (1, {"encompass_rollback": [name]} if self._can_go_back(name) else None),
            "reassign": (2, self._reassign(chance, machine)),
            "migrate": (2, {"encompass_migrate": [{"machines": [machine]}]} if machine else None),
            "retire": (1, {"encompass_retire": [name], "encompass_retire_data": wholly} if machines else None),
            "verify": (2, {"encompass_verify_fail_on": "warning", "encompass_verify_repair": wholly}),
        }
        possible = {kind: (weight, given) for kind, (weight, given) in kinds.items() if given is not None}
        kind = chance.choices(list(possible), [weight for weight, _given in possible.values()])[0]
        return Operation(kind, possible[kind][1], check=chance.random() < 0.2)

    def _can_go_back(self, name: str) -> bool:
        machines = self.site.find("machine")
        served = {body["clone"] for body in machines.values()}
        clones = self.site.find("clone").items()
        spare = {body["machine"] for clone, body in clones if clone not in served and body["stage"] != "planned"}
        return any(body["deployment"] == name and machine in spare for machine, body in machines.items())

    @staticmethod
    def _reassign(chance: random.Random, machine: str | None) -> dict[str, t.Any] | None:
        if machine is None:
            return None
        function = chance.choice(["web-server", "night-watch"])
        return {"encompass_reassign": [{"machines": [machine], "function": function}]}

    def _judge(self, operation: Operation, run: PlaybookRun) -> None:
        messages = [message for failure in run.failures for message in list_messages(failure["result"])]
        outcome = "done" if run.returncode == 0 else "refused"
        if run.returncode and not (messages and all(EXPECTED.match(message) for message in messages)):
            outcome = "failed"
            self.findings.append(f"{operation.describe()}: {messages or run.stderr[-500:]}")
        with self._lock:
            self.counts[outcome] += 1
            total = sum(self.counts.values())
        print(f"{total:4} {outcome:8} {run.seconds:4.0f} s  {operation.describe()[:110]}", flush=True)
        for message in messages:
            print(f"{'':16}{message[:160]}", flush=True)

    def _close(self) -> list[str]:
        """Let everything come to rest, and take it away; return what is wrong with it then."""
        site, found = self.site, []
        for playbook, variables in (
            ("deploy", {"encompass_deployments": [declare(name, 1) for name in SIZES]}),
            ("verify", {"encompass_verify_fail_on": "warning"}),
            ("retire", {"encompass_retire": list(SIZES), "encompass_retire_data": True}),
        ):
            run = site.controller.run(f"encompass.images.{playbook}", timeout_s=RUN_LIMIT_S, **variables)
            if run.returncode:
                found.append(f"in the end, {playbook}: {[event['result'].get('msg') for event in run.failures]}")
        left = [*site.orphans(), *(f"volume {name}" for name in site.find("volume")), *sorted(site.data())]
        return [*found, *(f"left over: {thing}" for thing in left)]


def list_messages(result: t.Mapping[str, t.Any]) -> list[str]:
    """Return what a failed task says, one problem each."""
    return [str(problem) for problem in result.get("problems") or [result.get("msg")]]


def declare(name: str, count: int) -> dict[str, t.Any]:
    """Return a deployment whose servers may take their time, on a machine that boots others."""
    ready = {"url": "http://{address}/", "timeout_s": 600}
    return make_web(name, count=count, data=DATA.get(name, []), ready=ready)


def prepare(site: Site, image: Path) -> None:
    """Make a site with two versions of a function, and another function."""
    page, *others = t.cast("list[dict[str, t.Any]]", MASTER["items"])
    site.prepare(image)
    site.controller.run("encompass.images.discover").require_success()  # now each knows of the other
    for changes in ({"version": 2}, {"function": "night-watch"}):
        site.add_master(**changes, items=[{**page, "mode": "0640"}, *others])


def main() -> int:
    """Burn in; return 1 when something did not hold."""
    sys.path.insert(0, str(link_checkout()))
    from tests.integration.test_migrate import SpanningSite
    from tests.lab import images
    from tests.lab.hosts import LabHosts

    minutes, seed = float(os.environ.get("MINUTES") or 10), int(os.environ.get("SEED") or random.randrange(10**6))
    started = time.monotonic()
    with LabHosts(2, share_guests=True) as lab, tempfile.TemporaryDirectory() as directory:
        site = SpanningSite(lab, Controller(Path(directory, "controller"), lab=lab))
        prepare(site, images.ensure_image("mini"))
        burnin = Burnin(site, seed, minutes=minutes)
        findings = burnin.run()
    for finding in findings:
        print(finding)
    counts = burnin.counts
    print(
        f"burnin: seed {seed}, {CONTROLLERS} controllers, {counts['done']} done, {counts['refused']} refused, "
        f"{counts['failed']} failed, {counts['looks']} looks, {counts['digest_looks']} at masters, "
        f"{time.monotonic() - started:.0f} s, {len(findings)} findings"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())

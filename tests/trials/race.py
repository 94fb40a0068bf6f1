# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many controllers that want the same at the same moment: one wins, and the others are told who.

First processes at the catalog, in a file and in a database, ``ROUNDS`` times for each prize; then owners that are
killed or frozen there, ``TAKEOVERS`` of them; then ansible-playbook, on two lab hosts.
``ROUNDS=1000 TAKEOVERS=20 .venv/bin/python -m tests.trials.race``, as root. The last line holds the figures.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from tests.lab.postgresql import PostgresqlServer
from tests.tools.collection_path import link_checkout

CROWDS = (2, 8, 32)
PLAYBOOKS = 4


def main() -> int:
    """Run all races; return 1 when something did not hold."""
    sys.path.insert(0, str(link_checkout()))
    rounds, seed = int(os.environ.get("ROUNDS") or 1000), int(os.environ.get("SEED") or random.randrange(10**6))
    takeovers = int(os.environ.get("TAKEOVERS") or 20)
    started = time.monotonic()
    findings = race_at_catalogs(rounds, seed)
    longest_s, found = take_over_at_catalogs(takeovers, seed)
    findings += found
    playbook_rounds = max(1, rounds // 50)
    findings += race_playbooks(playbook_rounds)
    for finding in findings[:50]:
        print(finding)
    print(
        f"race: seed {seed}, {rounds} rounds of {'/'.join(map(str, CROWDS))} for each prize and "
        f"{takeovers} takeovers at each catalog, the latest {longest_s:.2f} s after a lease's end, {playbook_rounds} "
        f"rounds of {PLAYBOOKS} playbooks for a deployment and for a master, {time.monotonic() - started:.0f} s, "
        f"{len(findings)} findings"
    )
    return 1 if findings else 0


@contextlib.contextmanager
def open_stores() -> t.Iterator[tuple[Path, PostgresqlServer]]:
    """Return a folder for catalogs and a server for others, whose password is where libpq looks for it."""
    with PostgresqlServer() as server, tempfile.TemporaryDirectory() as directory:
        os.environ["PGPASSFILE"] = str(server.passwords)
        yield Path(directory), server


def race_at_catalogs(rounds: int, seed: int) -> list[str]:
    """Race processes of this machine at both kinds of catalog; return what did not hold."""
    from tests.trials.contenders import Race

    found = []
    with open_stores() as (directory, server):
        for count in CROWDS:
            server.clear()
            for url in (f"sqlite://{directory}/{count}/catalog.sqlite", server.url):
                started = time.monotonic()
                with Race(url, count) as race:
                    found += race.run(rounds, seed)
                kind = url.partition(":")[0]
                print(f"{kind}: {rounds} rounds of {count} for each: {time.monotonic() - started:.0f} s", flush=True)
    return found


def take_over_at_catalogs(rounds: int, seed: int) -> tuple[float, list[str]]:
    """Kill and freeze owners at both kinds of catalog; return the longest delay and what did not hold."""
    from tests.trials.takeovers import race_takeovers

    longest_s, found = 0.0, []
    with open_stores() as (directory, server):
        server.clear()
        for url in (f"sqlite://{directory}/takeovers/catalog.sqlite", server.url):
            late_s, problems = race_takeovers(url, rounds, seed)
            longest_s = max(longest_s, late_s)
            found += [f"{url.partition(':')[0]}: {problem}" for problem in problems]
    return longest_s, found


def race_playbooks(rounds: int) -> list[str]:
    """Race runs of ansible-playbook for a deployment, then for a master; return what did not hold."""
    from tests.integration.site import Site
    from tests.lab import images
    from tests.lab.controller import Controller
    from tests.lab.hosts import LabHosts
    from tests.trials.runs import race_masters, race_runs

    found = []
    with LabHosts(2) as lab, tempfile.TemporaryDirectory() as directory:
        site = Site(lab, Controller(Path(directory, "controller"), lab=lab))
        site.prepare(images.ensure_image("mini"))
        for number in range(rounds):
            found += [f"round {number}: {problem}" for problem in race_runs(site, PLAYBOOKS)]
            site.retire("web").require_success()
            found += [f"round {number}: left over: {orphan}" for orphan in site.orphans()]
            found += [f"round {number}: {problem}" for problem in race_masters(site, PLAYBOOKS, number + 1)]
        print(f"playbooks: {rounds} rounds of {PLAYBOOKS}", flush=True)
    return found


if __name__ == "__main__":
    raise SystemExit(main())

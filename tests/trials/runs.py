# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook that want the same deployment, or the same master, at the same moment."""

from __future__ import annotations

import re

from tests.integration.site import POOL, Site, make_web, play_add_master
from tests.lab.controller import PlaybookRun, RunningPlaybook

MIB = 1 << 20
PRIZE = "prize"
"""The function of the masters that runs race for."""


def race_runs(site: Site, count: int) -> list[str]:
    """Deploy one server by so many runs at once; return what did not hold: one wins, and the others name it."""
    web = make_web(count=1)
    runs = [site.controller.start("encompass.images.deploy", encompass_deployments=[web]) for _number in range(count)]
    winner, ended, problems = _find_winner(runs)
    words = re.escape(f"deployment web: is busy: deploy by root (encompass.images.deploy, pid {winner} on ")
    return problems or _judge_losers(winner, ended, words)


def race_masters(site: Site, count: int, version: int) -> list[str]:
    """Add one master by so many runs at once, each with another image; return what did not hold.

    One wins: its image alone is registered, on all providers, and nothing is left of the others.
    """
    for number in range(count):
        image = f"{version} {number}".encode().ljust(MIB, b"\0")
        (site.lab.shared / f"{PRIZE}-{number}.raw").write_bytes(image)
    before = _list_masters(site)
    master = {"function": PRIZE, "version": version, "format": "raw", "inspect": False}
    runs = [
        site.controller.start(play_add_master({**master, "source": f"/srv/shared/{PRIZE}-{number}.raw"}))
        for number in range(count)
    ]
    winner, ended, problems = _find_winner(runs)
    if problems:
        return problems
    name = f"{PRIZE}-v{version}"
    # By the first provider, when the winner has been there, else by the catalog.
    problems = _judge_losers(winner, ended, f"master {name}: it (was made of other bytes|is registered with another) ")
    (volume,) = site.find("master")[name]["volumes"]
    number = [run.process.pid for run in runs].index(winner)
    if volume["source"]["path"] != f"/srv/shared/{PRIZE}-{number}.raw":
        problems.append(f"run {number} won, and {volume['source']['path']} is registered")
    for provider, files in _list_masters(site).items():
        if files - before[provider] != {f"{volume['digest']}.qcow2"}:
            problems.append(f"{provider} has {sorted(files - before[provider])} of it, not {volume['digest']}")
    return problems


def _list_masters(site: Site) -> dict[str, set[str]]:
    """Return the names of the masters' files by provider."""
    return {name: set(host.exec("ls", f"{POOL}/masters").stdout.split()) for name, host in site.providers.items()}


def _find_winner(runs: list[RunningPlaybook]) -> tuple[int, dict[int, PlaybookRun], list[str]]:
    """Wait for all runs; return the pid of the one that won, how each ended, and a problem unless one won."""
    ended = {run.process.pid: run.wait() for run in runs}
    winners = [pid for pid, run in ended.items() if run.returncode == 0]
    if len(winners) == 1:
        return winners[0], ended, []
    said = [failure["result"].get("msg") for run in ended.values() for failure in run.failures]
    return 0, ended, [f"{len(winners)} of {len(runs)} runs won: {said}"]


def _judge_losers(winner: int, ended: dict[int, PlaybookRun], words: str) -> list[str]:
    """Return what losers were told, unless it is one message that begins as this expression says."""
    refusals = {pid: [failure["result"].get("msg", "") for failure in run.failures] for pid, run in ended.items()}
    return [
        f"a run was told {messages}"
        for pid, messages in refusals.items()
        if pid != winner and not (len(messages) == 1 and re.match(words, messages[0]))
    ]

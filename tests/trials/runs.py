# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook that want the same deployment at the same moment."""

from __future__ import annotations

from tests.integration.site import Site, make_web


def race_runs(site: Site, count: int) -> list[str]:
    """Deploy one server by so many runs at once; return what did not hold: one wins, and the others name it."""
    web = make_web(count=1)
    runs = [site.controller.start("encompass.images.deploy", encompass_deployments=[web]) for _number in range(count)]
    ended = {run.process.pid: run.wait() for run in runs}
    winners = [pid for pid, run in ended.items() if run.returncode == 0]
    if len(winners) != 1:
        said = [failure["result"].get("msg") for run in ended.values() for failure in run.failures]
        return [f"{len(winners)} of {count} runs won: {said}"]
    refusals = {pid: [failure["result"].get("msg", "") for failure in run.failures] for pid, run in ended.items()}
    name = f"deployment web: is busy: deploy by root (encompass.images.deploy, pid {winners[0]} on "
    return [
        f"a run was told {messages}"
        for pid, messages in refusals.items()
        if pid not in winners and not (len(messages) == 1 and messages[0].startswith(name))
    ]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the servers, or the masters."""

from __future__ import annotations

import collections
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ..module_utils._core.activation import Answer, read_probe
from ..module_utils._core.errors import InvalidRequest
from ..module_utils._core.pool_layout import format_bytes
from ..module_utils._drivers.readiness import ask_all
from ..plugin_utils._actions.base import CatalogAction
from ..plugin_utils._catalog.objects import Body, Row
from ..plugin_utils._planning.table import format_table
from ..plugin_utils._planning.versions import find_current

COLUMNS = ("server", "function", "master", "machine", "provider", "address", "state", "answer")
MASTER_COLUMNS = ("function", "version", "current", "state", "os", "size", "clones", "providers")
ANSWER_S = 5.0


class ActionModule(CatalogAction):
    """Prints one line for each server, and asks the active ones whether they answer; or one for each master."""

    only_reads = True

    def perform(self) -> dict[str, t.Any]:
        """Show the table and return its rows."""
        shows = {"servers": self._show_servers, "masters": self._show_masters}
        about = str(self._task.args.get("about", "servers"))
        if about not in shows:
            raise InvalidRequest("option about", f"it is {about!r}, not one of {', '.join(shows)}")
        rows, lines = shows[about]()
        for line in lines:
            Display().display(line)
        return {"changed": False, about: rows}

    def _show_servers(self) -> tuple[list[dict[str, t.Any]], list[str]]:
        wanted = [str(name) for name in self.get_list("deployments")]
        machines = self.catalog.find("machine", **({"deployment": wanted} if wanted else {}))
        clones = {row.name: row.body for row in self.catalog.find("clone")}
        servers = [_describe(row, clones) for row in machines if row.body.get("server")]
        if boolean(self._task.args.get("probe", True)):
            self._ask(servers, {row.name: _choose_ready(row.body, clones) for row in machines})
        return servers, format_table(servers, COLUMNS) if servers else ["There are no servers."]

    def _show_masters(self) -> tuple[list[dict[str, t.Any]], list[str]]:
        masters = {row.name: row.body for row in self.catalog.find("master")}
        functions = {row.name: row.body for row in self.catalog.find("function")}
        clones = collections.Counter(row.body["master"] for row in self.catalog.find("clone"))
        wanted = [str(name) for name in self.get_list("functions")]
        rows = [
            _describe_master(name, body, clones[name], find_current(body["function"], masters, functions))
            for name, body in sorted(masters.items(), key=lambda one: (one[1]["function"], one[1]["version"]))
            if not wanted or body["function"] in wanted
        ]
        shown = [_show_master(row) for row in rows]
        return rows, format_table(shown, MASTER_COLUMNS) if rows else ["There are no masters."]

    def _ask(self, servers: t.Sequence[dict[str, t.Any]], ready: t.Mapping[str, t.Any]) -> None:
        active = [server for server in servers if server["state"] == "active" and server["address"]]
        probes = {
            server["machine"]: read_probe(server["machine"], server["address"], ready[server["machine"]])
            for server in active
            if ready[server["machine"]]
        }
        answers = ask_all({name: probe for name, probe in probes.items() if probe}, limit_s=ANSWER_S)
        for server in servers:
            if server["machine"] in answers:
                server["answer"] = _show_answer(answers[server["machine"]])


def _choose_ready(machine: Body, clones: t.Mapping[str, Body]) -> t.Any:
    return clones.get(str(machine.get("clone")), {}).get("ready") or machine.get("ready")


def _describe(row: Row, clones: t.Mapping[str, Body]) -> dict[str, t.Any]:
    body = row.body
    clone = clones.get(str(body.get("clone")), {})
    nics = body["nics"]
    return {
        "server": body["server"],
        "function": str(clone.get("master")).rpartition("-v")[0] or body.get("function"),
        "master": clone.get("master"),
        "machine": row.name,
        "provider": body["provider"],
        "address": nics[0]["address"] if nics else None,
        "state": clone.get("stage"),
        "answer": None,
    }


def _describe_master(name: str, body: t.Mapping[str, t.Any], clones: int, current: int | None) -> dict[str, t.Any]:
    software = body.get("software") or {}
    return {
        "name": name,
        "function": body["function"],
        "version": body["version"],
        "current": body["version"] == current,
        "state": body["state"],
        "delete_when_unused": bool(body.get("delete_when_unused")),
        "os": software.get("product"),
        "allocated_bytes": sum(volume["allocated_bytes"] or 0 for volume in body.get("volumes") or ()),
        "clones": clones,
        "providers": sorted({replica["provider"] for replica in body.get("replicas") or ()}),
    }


def _show_master(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        **row,
        "current": "yes" if row["current"] else "no",
        "state": f"{row['state']}, to be deleted" if row["delete_when_unused"] else row["state"],
        "size": format_bytes(row["allocated_bytes"]),
        "providers": ", ".join(row["providers"]),
    }


def _show_answer(answer: Answer | None) -> str:
    if answer is None:
        return "none"
    return "connected" if answer.status is None else f"HTTP {answer.status}"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control node for tests: runs the real ansible-playbook with a catalog, a home and an inventory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.commands import LabError
from tests.lab.hosts import LabHosts
from tests.tools.collection_path import link_checkout

CALLBACKS = Path(__file__).parent / "callback_plugins"

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SETTINGS = """\
[defaults]
collections_path = {collections}
inventory = {inventory}
fact_caching = encompass.images.catalog
fact_caching_connection = {catalog}
callback_plugins = {callbacks}
callbacks_enabled = record
retry_files_enabled = false
interpreter_python = auto_silent
forks = 10
timeout = 20

[ssh_connection]
pipelining = true
control_path_dir = {sockets}
ssh_args = -o ControlMaster=auto -o ControlPersist=15s
"""


@dataclass
class PlaybookRun:
    """What a finished run said. `events` are the lines of the record callback."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    events: list[dict[str, t.Any]] = field(default_factory=list)

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Return host -> {ok, changed, failures, unreachable, skipped, rescued, ignored}; empty when no play ran."""
        return next((event["hosts"] for event in self.events if event["status"] == "recap"), {})

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items()}

    @property
    def failures(self) -> list[dict[str, t.Any]]:
        """Return the results of tasks that failed or could not reach their host."""
        return [event for event in self.events if event["status"] in {"failed", "unreachable"}]

    def results(self, **wanted: str) -> list[dict[str, t.Any]]:
        """Return the results of the tasks whose `action`, `task` (name), `host` and `status` match, in order."""
        tasks = (event for event in self.events if "result" in event)
        return [event["result"] for event in tasks if all(event[key] == value for key, value in wanted.items())]

    def require_success(self) -> PlaybookRun:
        if self.returncode:
            words = f"{self.stdout[-6000:]}\n{self.stderr[-2000:]}"
            raise AssertionError(f"ansible-playbook ended with {self.returncode}\n{words}")
        return self

    def require_unchanged(self) -> PlaybookRun:
        self.require_success()
        if any(self.changed.values()):
            tasks = (event for event in self.events if event.get("changed"))
            done = [f"{event['host']}: {event['task'] or event['action']}" for event in tasks]
            raise AssertionError(f"changed: {self.changed}: {done}")
        return self


class RunningPlaybook:
    """A run under way, for tests that start several at once or interrupt one."""

    def __init__(self, argv: list[str], *, directory: Path, environment: dict[str, str], record: Path) -> None:
        self._record = record
        self._started = time.monotonic()
        self._output = record.with_suffix(".out").open("w+", encoding="utf-8")
        self._errors = record.with_suffix(".err").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
        )

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends it to the whole group."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the run and its workers without a word."""
        self._signal(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> t.Iterator[None]:
        """Return a context in which the run, its workers and their connections stand still."""
        family = [self.process.pid]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
            family += list_children(pid)
        try:
            yield
        finally:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self, *, timeout_s: float = 600) -> PlaybookRun:
        try:
            self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait(timeout=15)
            said = self._read(self._output)[-4000:]
            raise LabError(f"the playbook did not end within {timeout_s:g} s:\n{said}") from None
        events = self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []
        with self._output, self._errors:
            return PlaybookRun(
                self.process.returncode,
                self._read(self._output),
                self._read(self._errors),
                time.monotonic() - self._started,
                [json.loads(event) for event in events],
            )

    @staticmethod
    def _read(stream: t.TextIO) -> str:
        stream.seek(0)
        return stream.read()


def list_children(pid: int) -> list[int]:
    """List the processes that a process has started; workers lead sessions of their own."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text(encoding="ascii").split())
    return found


class Controller:
    """A control node in a private folder. `inventory` is a folder: add files to it with `write`."""

    def __init__(
        self, directory: Path, *, lab: LabHosts | None = None, tools: Path | None = None, **provider_variables: t.Any
    ) -> None:
        """Make the folder; `tools` holds the commands of another ansible-core than the project's own."""
        self.directory = directory
        self.inventory = directory / "inventory"
        self.catalog = directory / "catalog.sqlite"
        self._runs: list[RunningPlaybook] = []
        for folder in (self.inventory, directory / "home"):
            folder.mkdir(parents=True)
        sockets = lab.directory / "ssh" if lab else directory / "ssh"
        settings = SETTINGS.format(
            collections=link_checkout(),
            inventory=self.inventory,
            catalog=self.catalog,
            callbacks=CALLBACKS,
            sockets=sockets,
        )
        (directory / "ansible.cfg").write_text(settings, encoding="utf-8")
        if lab:
            lab.write_inventory(self.inventory / "providers.json", **provider_variables)
        self.environment = {
            "PATH": f"{tools or Path(sys.executable).parent}:{SYSTEM_PATH}",
            "HOME": str(directory / "home"),
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def write(self, name: str, content: t.Any) -> Path:
        """Write a file below the control node's folder: text as it is, anything else as JSON, which YAML contains."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
        return path

    def start(self, playbook: str | t.Sequence[t.Any], *arguments: str, **variables: t.Any) -> RunningPlaybook:
        """Start `ansible-playbook`; a playbook is a name (FQCN), a path, or plays; `variables` become extra vars."""
        number = len(self._runs) + 1
        name = playbook if isinstance(playbook, str) else str(self.write(f"play-{number}.yml", playbook))
        record = self.directory / f"run-{number}.jsonl"
        extra = ["-e", json.dumps(variables)] if variables else []
        run = RunningPlaybook(
            ["ansible-playbook", name, *arguments, *extra],
            directory=self.directory,
            environment={**self.environment, "ENCOMPASS_TEST_RECORD": str(record)},
            record=record,
        )
        self._runs.append(run)
        return run

    def end_runs(self) -> None:
        """Kill what a failed test left running, and print what it said; later tests would find everything busy."""
        for run in self._runs:
            if run.process.poll() is None:
                run.kill()
                print(f"still running:\n{run.wait().stdout}")

    def run(
        self, playbook: str | t.Sequence[t.Any], *arguments: str, timeout_s: float = 600, **variables: t.Any
    ) -> PlaybookRun:
        """Run `ansible-playbook` to its end, whatever that is."""
        return self.start(playbook, *arguments, **variables).wait(timeout_s=timeout_s)

    def command(self, *argv: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another program of Ansible (ansible-inventory, ansible-doc, ...) in the same settings."""
        return subprocess.run(
            argv,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

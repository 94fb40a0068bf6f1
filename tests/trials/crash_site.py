# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site on which somebody dies at a chosen point, and what is to be the same afterwards as if nobody had."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import typing as t
from pathlib import Path

from tests.integration.site import MASTER, POOL, SHARED, play_add_master
from tests.integration.test_migrate import SpanningSite
from tests.lab.commands import run, wait_until
from tests.lab.controller import PlaybookRun, RunningPlaybook
from tests.lab.hosts import LabHost
from tests.trials.disk_content import describe_clones
from tests.trials.hooks import crash_hook
from tests.trials.hooks.crash_hook import Point
from tests.trials.observer import read_catalog

COUNT_ONLY = 0
EXTRA = "/srv/local/extra"
"""The place of a pool that is no part of the site."""
_START = "import pathlib, crash_hook; crash_hook.install(pathlib.Path({folder!r}))\n"
_PACKAGES = "usr/lib/python3/dist-packages"
_KINDS = ("master", "function", "profile", "clone", "machine", "deployment", "volume")
_AGAIN = "to end and run again"
"""What every error says of an earlier run's work that goes on without it."""
_PATIENCE_S = 120.0

# What no two runs have in common; clones are numbered through.
_OWN = {
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "UUID",
    r"<serial>[0-9a-f]{20}<": "<serial>SERIAL<",
    r"\b[0-9a-f]{64}\b": "SHA256",
    r"\b[0-9a-f]{32}\b": "ID",
    r"\bSHA256:[\w+/]{43}": "KEY",
    r"\b\d+:\d{15,}:\d+\b": "FINGERPRINT",
    r"\b(\w[\w-]*-v\d+)-\d+\b": r"\1-N",
}
_TIMES = re.compile(r".*_(s|at|bytes)|answered|since|random_seed_sha256")


class Step(t.NamedTuple):
    """A point that was passed: by whom, and what is about to change or has just changed."""

    who: str
    what: str


class CrashSite(SpanningSite):
    """A site whose Python processes take notes, and kill when they are told to."""

    def prepare(self, image: Path, **changes: t.Any) -> None:
        """Make the site with the first version; the image of the next one is there too."""
        super().prepare(image, **changes)
        self.controller.run("encompass.images.discover").require_success()  # now each provider knows of the other
        shutil.copy(image, self.lab.shared / "next.qcow2")
        run("qemu-img", "resize", "-q", "-f", "qcow2", self.lab.shared / "next.qcow2", "+1M")
        self._put_hooks()

    def _put_hooks(self) -> None:
        self.trial.mkdir()
        hooks = self.controller.directory / "hooks"
        self._put_hook(hooks, "sitecustomize.py", self.trial)
        self.controller.environment["PYTHONPATH"] = str(hooks)
        for host in self.lab.hosts:
            self._put_hook(host.root / _PACKAGES, "crash_hook.pth", Path("/srv/shared/trial"))

    @staticmethod
    def _put_hook(folder: Path, start: str, trial: Path) -> None:
        """Have every Python that looks into the folder at its start do as the orders in the trial's folder say."""
        folder.mkdir(exist_ok=True)
        shutil.copy(str(crash_hook.__file__), folder / "crash_hook.py")
        (folder / start).write_text(_START.format(folder=str(trial)), encoding="utf-8")

    @property
    def trial(self) -> Path:
        """The folder in which orders lie and notes are taken; every process of the site sees it."""
        return self.lab.shared / "trial"

    def watch(self, start: t.Callable[[], RunningPlaybook], *points: Point) -> tuple[PlaybookRun, list[Step]]:
        """Run something under an order; return the run, and what those who were watched passed."""
        trace, order = self.trial / "trace", self.trial / "order"
        trace.write_text("", encoding="utf-8")
        order.write_text(json.dumps([point._asdict() for point in points]), encoding="utf-8")
        try:
            done = start().wait()
        finally:
            order.unlink()
            self.restart_libvirtd()
        return done, [Step(*line.split(" ", 1)) for line in trace.read_text(encoding="utf-8").splitlines()]

    def finish(self, start: t.Callable[[], RunningPlaybook]) -> int:
        """Run something until it has succeeded; return how often. Only work that still goes on excuses a failure."""
        runs = 0

        def succeed() -> bool:
            nonlocal runs
            runs += 1
            done = start().wait()
            if done.returncode and not any(_AGAIN in str(failure["result"]) for failure in done.failures):
                done.require_success()
            return not done.returncode

        wait_until(succeed, timeout_s=_PATIENCE_S, what="the end of what the killed run began", every_s=1)
        return runs

    def restart_libvirtd(self) -> None:
        """Start libvirtd wherever it does not run."""
        for host in self.lab.hosts:
            if not _answers(host):
                host.exec("/usr/sbin/libvirtd", "-d")
                wait_until(lambda host=host: _answers(host), timeout_s=60, what="libvirtd")  # type: ignore[misc]

    def bring_catalog_back(self) -> None:
        """Take the catalog back from where it was moved to."""
        moved = self.controller.directory / "moved.sqlite"
        for path in self.controller.directory.glob(f"{self.controller.catalog.name}*"):
            path.unlink()
        variables: dict[str, t.Any] = {
            "encompass_catalog_source": str(moved),
            "encompass_catalog_target": str(self.controller.catalog),
        }
        self.controller.run("encompass.images.move_catalog", **variables).require_success()
        for path in self.controller.directory.glob(f"{moved.name}*"):
            path.unlink()

    def forget_extra_pool(self) -> None:
        """Take the pool away that is no part of the site."""
        for host in self.lab.hosts:
            host.exec("virsh", "-q", "pool-destroy", "extra", check=False)
            host.exec("virsh", "-q", "pool-undefine", "extra", check=False)
            host.exec("rm", "-rf", EXTRA)

    def find_faults(self) -> list[str]:
        """Return what is wrong whatever was done: operations without an end, remains, gaps in histories."""
        faults = [f"operation {verb} has no end" for verb in self._list_running()]
        return [*faults, *self.left_in_staging(), *read_catalog(self).gaps]

    def verify(self) -> list[str]:
        """Return what verify finds."""
        found = self.controller.run("encompass.images.verify", encompass_verify_fail_on="warning")
        return [found.stdout[-1500:]] if found.returncode or any(found.changed.values()) else []

    def _list_running(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(f"file:{self.controller.catalog}?mode=ro", uri=True)) as store:
            return [verb for (verb,) in store.execute("select verb from operation where state = 'running'")]

    def left_in_staging(self) -> list[str]:
        """Return what nobody cleared away."""
        places = {path.split("/.staging/")[1] for path in self._list_files() if "/.staging/" in path}
        return [f"{place} is left in staging" for place in sorted(places)]

    def describe(self) -> list[str]:
        """Return all that there is in lines, without what no two runs have in common."""
        parts = [
            f"{kind} {json.dumps(_leave_out(body), sort_keys=True, indent=1)}"
            for kind in _KINDS
            for body in self.find(kind).values()
        ]
        parts += [text for host in self.lab.hosts for text in _list_domains(host)]
        parts += re.findall("<host .*/>", "".join(self.reservations().values()))
        parts += self._list_files()
        parts += [line for host in self.lab.hosts for line in describe_clones(host, POOL)]
        parts += [line for host in self.lab.hosts for line in _list_pools(host)]
        return "\n".join(sorted(map(_make_anonymous, parts))).splitlines()

    def _list_files(self) -> list[str]:
        listed = []
        for host in self.lab.hosts:
            there = host.exec("find", POOL, SHARED, "-type", "f", "-path", "*/*/*", "-printf", f"{host.name} %p %m\\n")
            listed += there.stdout.splitlines()
        return listed


def _answers(host: LabHost) -> bool:
    return run("virsh", "-q", "-c", host.uri, "uri", check=False).returncode == 0


def _list_domains(host: LabHost) -> t.Iterator[str]:
    """Return each domain with its power and its definition."""
    for name in host.exec("virsh", "-q", "list", "--all", "--name").stdout.split():
        power = host.exec("virsh", "-q", "domstate", name).stdout.strip()
        definition = host.exec("virsh", "-q", "dumpxml", "--inactive", name).stdout
        yield f"domain {name} on {host.name} is {power}\n{definition}"


def _list_pools(host: LabHost) -> t.Iterator[str]:
    """Return each pool with its state; those into which files arrive come and go."""
    for line in host.exec("virsh", "-q", "pool-list", "--all").stdout.splitlines():
        if not line.split()[0].startswith("encompass-arrival-"):
            yield f"pool on {host.name}: {' '.join(line.split())}"


def _leave_out(value: t.Any) -> t.Any:
    """Return a record without times and measures."""
    if isinstance(value, dict):
        return {key: _leave_out(part) for key, part in value.items() if not _TIMES.fullmatch(key)}
    return [_leave_out(part) for part in value] if isinstance(value, list) else value


def _make_anonymous(text: str) -> str:
    for pattern, word in _OWN.items():
        text = re.sub(pattern, word, text)
    return text


def make_next(**changes: t.Any) -> list[dict[str, t.Any]]:
    """Return the play that adds the next version, or another function."""
    return play_add_master({**MASTER, "version": 2, "source": "/srv/shared/next.qcow2", **changes})

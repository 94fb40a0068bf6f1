# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's project with the catalog as its fact cache, and Ansible's own commands in it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

_CONFIG = """
[defaults]
fact_caching = encompass.images.catalog
fact_caching_connection = state/catalog.sqlite
inventory = inventory
localhost_warning = false
interpreter_python = {python}
stdout_callback = ansible.builtin.default
"""
TIMEOUT_S = 120


@dataclasses.dataclass(frozen=True)
class Project:
    """The directory with ansible.cfg, inventory and state."""

    path: Path

    @classmethod
    def make(cls, path, **options):
        """Make a project with two local hosts and the catalog as a second inventory source."""
        project = cls(path)
        for name in ("inventory", "home"):
            (path / name).mkdir(parents=True)
        (path / "ansible.cfg").write_text(_CONFIG.format(python=sys.executable))
        (path / "inventory" / "hosts").write_text("h1 ansible_connection=local\nh2 ansible_connection=local\n")
        project.write_inventory(**options)
        return project

    @property
    def url(self):
        """Return where the catalog is."""
        return f"sqlite://{self.path}/state/catalog.sqlite"

    def write_inventory(self, **options):
        """Write the inventory plugin's file; YAML is a superset of JSON."""
        text = json.dumps({"plugin": "encompass.images.catalog", **options})
        (self.path / "inventory" / "catalog.yml").write_text(text)

    def start(self, command, *args, **environ):
        """Start one of Ansible's commands."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(command)), *args],
            cwd=self.path,
            env={**os.environ, "HOME": str(self.path / "home"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command, *args, succeeds=True, **environ):
        """Return the output of one of Ansible's commands."""
        process = self.start(command, *args, **environ)
        try:
            output, _none = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
        assert (process.returncode == 0) is succeeds, output
        return output

    def write_play(self, tasks, name="play.yml", hosts="h1"):
        """Write a playbook of one play."""
        text = textwrap.indent(textwrap.dedent(tasks).strip(), "    ")
        (self.path / name).write_text(f"- hosts: {hosts}\n  gather_facts: false\n  tasks:\n{text}\n")
        return name

    def play(self, tasks, *args, hosts="h1", **options):
        """Run a playbook of one play."""
        return self.run("ansible-playbook", self.write_play(tasks, hosts=hosts), *args, **options)

    def list_inventory(self, *args, **options):
        """Return what ``ansible-inventory --list`` gives."""
        return json.loads(self.run("ansible-inventory", "--list", *args, **options))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the collection on the newest ansible-core that a Python of this machine can hold: sanity, units, a short play."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.tools.collection_path import PROJECT, link_checkout
from tests.tools.core_venv import make_core_venv
from tests.tools.pythons import find_pythons

PLAYBOOK = PROJECT / "tests/smoke/smoke.yml"


def main() -> int:
    version, python = list(find_pythons().items())[-1]
    venv = make_core_venv("newest", python)
    about = subprocess.check_output([venv / "bin/ansible", "--version"], text=True)
    print(f"{about.splitlines()[0]} on Python {version}", flush=True)
    ansible_test = (str(PROJECT / ".venv/bin/python"), "-m", "tests.tools.ansible_test", "--core", str(venv))
    codes = [
        run(*ansible_test, "sanity", "--test", "import", "--test", "compile", "--python", version),
        run(*ansible_test, "units", "--python", version),
        play(venv),
    ]
    return 1 if any(codes) else 0


def run(*argv: str, **environment: str) -> int:
    print("$ " + " ".join(argv).replace(f"{PROJECT}/", ""), flush=True)
    settings = {**os.environ, **environment}
    return subprocess.run(argv, cwd=PROJECT, env=settings, stdin=subprocess.DEVNULL, check=False).returncode


def play(venv: Path) -> int:
    """Run the smoke playbook with a catalog of its own."""
    with tempfile.TemporaryDirectory(prefix="encompass-smoke-") as folder:
        config = Path(folder, "ansible.cfg")
        config.touch()
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": str(link_checkout()),
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_HOME": f"{folder}/ansible",
            "ANSIBLE_CACHE_PLUGIN": "encompass.images.catalog",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": f"{folder}/catalog.sqlite",
        }
        inventory = PLAYBOOK.with_name("catalog.yml")
        return run(f"{venv}/bin/ansible-playbook", "-i", str(inventory), str(PLAYBOOK), **settings)


if __name__ == "__main__":
    raise SystemExit(main())

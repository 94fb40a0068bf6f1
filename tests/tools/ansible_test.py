# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test on a copy of the checkout, in virtual environments, with nothing but the package index.

    python -m tests.tools.ansible_test sanity --test import
    python -m tests.tools.ansible_test --core .state/newest units

ansible-test insists on a folder named ansible_collections/encompass/images, fetches pip from a server of its own, and
keeps its state below the home directory: here all of that is below .state/.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools.export_tree import PROJECT, mirror
from tests.tools.pythons import link_pythons

STATE = PROJECT / ".state" / "ansible-test"


def main(arguments: list[str]) -> int:
    core = PROJECT / ".venv"
    if arguments[:1] == ["--core"]:
        core, arguments = Path(arguments[1]).resolve(), arguments[2:]
    collection = STATE / core.name / "ansible_collections" / "encompass" / "images"
    mirror(collection)
    link_pythons(STATE / "pythons")
    offer_pip(core)
    done = subprocess.run(
        [core / "bin/ansible-test", *arguments, "--venv", "--color", "no"],
        cwd=collection,
        env=environment(core),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode


def environment(core: Path) -> dict[str, str]:
    """Return our own environment, with a home for ansible-test and every Python of the machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    home = STATE / "home"
    for settings in (".config/pip/pip.conf", ".pip/pip.conf"):
        of_user = Path("~", settings).expanduser()
        if of_user.exists() and "PIP_CONFIG_FILE" not in clean:
            clean["PIP_CONFIG_FILE"] = str(of_user)
    paths = [str(core / "bin"), str(STATE / "pythons"), os.environ["PATH"]]
    return {**clean, "HOME": str(home), "PATH": os.pathsep.join(paths), "LC_ALL": "C.UTF-8"}


def offer_pip(core: Path) -> None:
    """Lay our stand-in and the wheel of pip where ansible-test looks before it fetches anything."""
    version = bundled_pip_version(core)
    cache = STATE / "home/.ansible/test/cache"
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    for stale in cache.glob("pip-*.whl"):
        stale.unlink()
    download = ["pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps", "--dest", str(cache)]
    subprocess.run([str(core / "bin/python"), "-m", *download, f"pip=={version}"], check=True, timeout=300)
    shutil.copy(Path(__file__).with_name("get_pip.py"), script)


def bundled_pip_version(core: Path) -> str:
    """Return the version of pip that this ansible-test asks for; it is written in its source only."""
    (source,) = core.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    found = re.search(r"pip='([\d.]+)'", source.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(f"{source}: no longer tells the version of pip; see tests/tools/ansible_test.py")
    return found[1]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

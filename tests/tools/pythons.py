# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Python interpreters of the machine, for the tests that want others than the project's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

VERSIONS = tuple(f"3.{minor}" for minor in range(9, 15))


def find_pythons() -> dict[str, Path]:
    """Return version -> interpreter, oldest first; one on the PATH goes before one of pyenv."""
    found = {}
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        of_pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
        for candidate in [*([Path(on_path)] if on_path else []), *of_pyenv]:
            if runs(candidate, version):
                found[version] = candidate
                break
    return found


def runs(python: Path, version: str) -> bool:
    """Tell whether it is that version and can make virtual environments: a shim of pyenv may be an empty shell."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode == 0 and done.stdout.strip() == version


def link_pythons(folder: Path) -> dict[str, Path]:
    """Fill a folder for the PATH with links to them."""
    pythons = find_pythons()
    folder.mkdir(parents=True, exist_ok=True)
    for link in folder.iterdir():
        link.unlink()
    for version, python in pythons.items():
        # a wrapper, because an interpreter of pyenv finds its library by the place it is called from
        wrapper = folder / f"python{version}"
        wrapper.write_text(f'#!/bin/sh\nexec {python} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
    return pythons

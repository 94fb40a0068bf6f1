# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments with other versions of ansible-core than the project's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tools.collection_path import PROJECT


def make_core_venv(name: str, python: Path) -> Path:
    """Return `.state/NAME` with what `tests/requirements/NAME.txt` asks for; made anew when that or Python changed."""
    venv = PROJECT / ".state" / name
    requirements = PROJECT / "tests/requirements" / f"{name}.txt"
    wanted = f"{python}\n{requirements.read_text(encoding='utf-8')}"
    mark = venv / ".made-of"
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        subprocess.run([python, "-m", "venv", "--clear", venv], check=True, timeout=120)
        pip = [f"{venv}/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", str(requirements)], check=True, timeout=600)
        mark.write_text(wanted, encoding="utf-8")
    return venv

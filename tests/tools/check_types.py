# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run mypy over the typed layers under the names they import each other by, then over the tests' own tools."""

from __future__ import annotations

import os
import subprocess

from tests.tools.collection_path import PROJECT, link_checkout

PACKAGES = ("module_utils", "plugin_utils")
TESTS = ("tests/lab", "tests/tools", "tests/integration", "tests/trials")


def main() -> int:
    mypy = str(PROJECT / ".venv/bin/mypy")
    packages = [word for name in PACKAGES for word in ("-p", f"ansible_collections.encompass.images.plugins.{name}")]
    environment = {**os.environ, "MYPYPATH": str(link_checkout())}
    codes = [
        subprocess.run([mypy, *packages], cwd=PROJECT, env=environment, check=False).returncode,
        subprocess.run([mypy, "--follow-imports=silent", *TESTS], cwd=PROJECT, env=environment, check=False).returncode,
    ]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())

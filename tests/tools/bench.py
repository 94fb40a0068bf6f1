# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every benchmark under tests/bench/, or those that are named; each prints its own ratios."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tools.collection_path import PROJECT, link_checkout

BENCH = PROJECT / "tests" / "bench"


def main(names: list[str]) -> int:
    chosen = [BENCH / f"bench_{name}.py" for name in names] or sorted(BENCH.glob("bench_*.py"))
    return max((run(script) for script in chosen), default=0)


def run(script: Path) -> int:
    print(f"\n=== {script.stem}", flush=True)
    collections = str(link_checkout())
    paths = {"PYTHONPATH": f"{PROJECT}:{collections}", "ANSIBLE_COLLECTIONS_PATH": collections}
    command = [sys.executable, "-m", f"tests.bench.{script.stem}"]
    return subprocess.run(command, cwd=PROJECT, env={**os.environ, **paths}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirror the files of the checkout into a folder of another name, as ansible-test and the build want it."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def list_files() -> list[Path]:
    """List what git tracks and what it would add, relative to the checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    paths = [Path(name) for name in listing.stdout.split("\0") if name]
    return [path for path in paths if (PROJECT / path).is_file()]


def mirror(target: Path) -> None:
    """Make `target` hold just those files; files that are the same already keep their time stamps."""
    wanted = list_files()
    for path in wanted:
        source, copy = PROJECT / path, target / path
        if not copy.exists() or not filecmp.cmp(source, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    # ansible-test keeps its results, and its state between runs, in tests/output
    kept = {target / path for path in wanted}
    spared = {target / "tests/output", target / ".git"}
    for path in target.rglob("*"):
        if path.is_file() and path not in kept and not spared.intersection(path.parents):
            path.unlink()
    if not (target / ".git").exists():
        # else ansible-test finds the checkout's own repository further up, which ignores this folder
        subprocess.run(["git", "init", "--quiet", target], check=True, timeout=60)

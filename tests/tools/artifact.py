# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection's artifact, install it, and make sure that it holds the collection and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.tools.export_tree import PROJECT, mirror

BUILD = PROJECT / ".state" / "build"
FOLDERS = {"changelogs", "meta", "playbooks", "plugins", "roles"}
FILES = {"CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "requirements.txt"}


def main() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    mirror(BUILD / "source")
    galaxy("build", str(BUILD / "source"), "--output-path", str(BUILD))
    (artifact,) = BUILD.glob("encompass-images-*.tar.gz")
    surplus = sorted(find_surplus(artifact))
    if surplus:
        raise SystemExit(f"artifact: build_ignore in galaxy.yml misses {', '.join(surplus)}")
    galaxy("install", "--offline", "--no-deps", "--collections-path", str(BUILD / "installed"), str(artifact))
    print(f"artifact: {artifact.name}, {artifact.stat().st_size // 1024} KiB")


def galaxy(*arguments: str) -> None:
    command = [str(PROJECT / ".venv/bin/ansible-galaxy"), "collection", *arguments]
    # in a folder without ansible.cfg, and with the path that is installed to, so that nothing is left to warn of
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "installed")}
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, cwd=BUILD, env=environment)


def find_surplus(artifact: Path) -> set[str]:
    """Return the top-level names that a user of the collection has no use for."""
    with tarfile.open(artifact) as archive:
        names = [Path(name).parts for name in archive.getnames()]
    folders = {parts[0] for parts in names if len(parts) > 1}
    files = {parts[0] for parts in names if len(parts) == 1}
    return (folders - FOLDERS) | (files - FILES - FOLDERS)


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of the collection in a process of its own, as its AnsiballZ package would; for tests alone."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

_THIS_FILE = Path(__file__).resolve()

# Where KVM hangs, libguestfs would only find out after its time limit.
_WITHOUT_KVM = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}


def start_module(name: str, options: dict, *, check_mode: bool = False) -> subprocess.Popen[str]:
    """Start a module; its result is what it prints."""
    arguments = {**options, "_ansible_check_mode": check_mode, "_ansible_diff": True}
    process = subprocess.Popen(
        [sys.executable, _THIS_FILE, os.environ["ANSIBLE_COLLECTIONS_PATH"], name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **_WITHOUT_KVM},
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    process.stdin = None
    return process


def finish_module(process: subprocess.Popen[str]) -> dict:
    """Return the result of a module that was started."""
    output, errors = process.communicate(timeout=120)
    assert output.strip().startswith("{"), errors
    return json.loads(output)


def run_module(name: str, options: dict, *, check_mode: bool = False) -> dict:
    """Run a module to its end; return its result."""
    return finish_module(start_module(name, options, check_mode=check_mode))


def is_unchanged(result: dict) -> bool:
    """Tell whether a module found nothing to do; what failed before it did anything has found that out of nothing."""
    return not result.get("failed") and not result["changed"]


def _main() -> None:
    sys.path.insert(0, sys.argv[1])
    from ansible.module_utils import basic

    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": json.load(sys.stdin)}).encode()
    basic._ANSIBLE_PROFILE = "legacy"  # how values are encoded, since ansible-core 2.19
    importlib.import_module(f"ansible_collections.encompass.images.plugins.modules.{sys.argv[2]}").main()


if __name__ == "__main__":
    _main()

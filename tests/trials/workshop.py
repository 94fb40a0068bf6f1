# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process in which `tests.trials.faults` has modules run: each task is a line on standard input, and a fork.

A fork is what makes it fast: starting Python and loading Ansible takes ten times as long as making a clone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import typing as t
from pathlib import Path

_COLLECTION = "ansible_collections.encompass.images.plugins"
_TASKS = "tests.trials.tasks"


def main(collections: str) -> None:
    """Do tasks until there are no more."""
    sys.path.insert(0, collections)
    importlib.import_module(_TASKS)
    importlib.import_module("ansible.module_utils.basic")
    locks: t.Any = importlib.import_module(f"{_COLLECTION}.module_utils._drivers.locks")
    with tempfile.TemporaryDirectory() as folder:
        locks.LOCK_FILE = Path(folder, "lock")  # ours alone: other tests have objects of the same names
        for line in sys.stdin:
            print(json.dumps(_do_aside(*json.loads(line))), flush=True)


def _do_aside(task: str, options: dict[str, t.Any]) -> tuple[int, str, str]:
    """Do a task in a child; return its exit code and what it printed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            _do_and_end(task, options)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for stream in (output, errors):
            stream.seek(0)
        return code, output.read().decode(errors="replace"), errors.read().decode(errors="replace")


def _do_and_end(task: str, options: dict[str, t.Any]) -> t.NoReturn:
    code = 1
    try:
        function = getattr(sys.modules[_TASKS], task, None)
        if function is not None:
            print(json.dumps(function(**options)))
        else:
            _run_module(task, options)
        code = 0
    except SystemExit as exc:
        code = int(exc.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_module(name: str, options: dict[str, t.Any]) -> None:
    from ansible.module_utils import basic

    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode()
    basic._ANSIBLE_PROFILE = "legacy"  # how values are encoded, since ansible-core 2.19
    importlib.import_module(f"{_COLLECTION}.modules.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1])

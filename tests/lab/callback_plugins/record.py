# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: record
type: aggregate
short_description: Write every task result of a run to a file, for the tests to read
description:
  - One JSON object per line; a last one holds the play recap.
requirements:
  - the environment variable E(ENCOMPASS_TEST_RECORD) with the file's path
"""

import json
import os
import typing as t
from pathlib import Path

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._path = Path(os.environ["ENCOMPASS_TEST_RECORD"])

    def _write(self, **event: t.Any) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, cls=AnsibleJSONEncoder) + "\n")

    def _result(self, status: str, result: t.Any) -> None:
        task = result._task
        # fields of the result that only core needs are dropped; the rest is what a user sees with -v
        fields = {key: value for key, value in result._result.items() if not key.startswith("_ansible")}
        self._write(
            status=status,
            host=result._host.get_name(),
            task=task.name,
            action=task.action,
            changed=bool(fields.get("changed")),
            result=fields,
        )

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._result("ok", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._result("unreachable", result)

    def v2_on_file_diff(self, result: t.Any) -> None:
        self._write(status="diff", host=result._host.get_name(), diff=result._result.get("diff"))

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._write(status="recap", hosts={host: stats.summarize(host) for host in stats.processed})

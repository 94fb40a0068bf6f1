# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of modules that only look. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import EncompassError


def run_query(argument_spec: dict[str, t.Any], query: t.Callable[[dict[str, t.Any]], dict[str, t.Any]]) -> None:
    """Run a module whose result is what ``query`` returns for its parameters."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    try:
        result = query(module.params)
    except EncompassError as exc:
        module.fail_json(**exc.to_record())
    module.exit_json(changed=False, **result)

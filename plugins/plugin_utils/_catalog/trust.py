# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from the store is never a template. Private to this collection; may change without notice."""

from __future__ import annotations

import re
import typing as t

_PLAIN = re.compile(r"[\w .,:;/@+=()-]*")  # none of the characters that any template needs


def _load_marks() -> tuple[t.Callable[[t.Any], t.Any], t.Callable[[str], str]]:
    try:
        from ansible.template import trust_as_template
    except ImportError:
        # Up to core 2.18 every string is a template unless marked: a guest could be named "{{ lookup('pipe', ...) }}".
        from ansible.utils.unsafe_proxy import wrap_var

        return wrap_var, str
    return lambda value: value, trust_as_template


mark_untrusted, _trust = _load_marks()
"""Return the value so that Ansible will not template it; since core 2.19 that is how values are unless marked."""


def mark_templates_untrusted(value: t.Any) -> t.Any:
    """Return the value so that Ansible will not template it, but with what cannot be a template left as it is.

    ``ansible-inventory --list`` writes untrusted strings as dictionaries, which those that read it may not understand.
    """
    if isinstance(value, dict):
        return {name: mark_templates_untrusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [mark_templates_untrusted(item) for item in value]
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return _trust(value)
    return mark_untrusted(value)

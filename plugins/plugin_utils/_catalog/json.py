# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boundary between Ansible's values and the store. Private to this collection; may change without notice.

Values of ansible-core 2.19 carry tags; some would be dangerous in a store (a value trusted as a template stays
trusted after a reload), one is a secret in clear text (a decrypted vault value is a string with a tag).
"""

from __future__ import annotations

import datetime
import json
import math
import typing as t
from collections.abc import Mapping

from ...module_utils._core.errors import InvalidRequest


def to_plain(value: t.Any, path: str = "") -> t.Any:
    """Return the value as plain JSON types without tags.

    Raises InvalidRequest, naming the key, for a vaulted value and for anything that JSON cannot hold.
    """
    if _is_vaulted(value):
        raise InvalidRequest(
            path or "the value",
            "holds a vaulted value, and the catalog stores no secrets",
            remedy="Mark the input secret, or leave it out.",
        )
    if isinstance(value, Mapping):
        return {
            _to_key(key, path): to_plain(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [to_plain(item, f"{path}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(item, path) for item in value)
    return _to_scalar(value, path)


def to_text(value: t.Any) -> str:
    """Return a plain value as the JSON text that is stored; equal values have equal texts."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def from_text(text: str) -> t.Any:
    """Return the value of a stored text."""
    return json.loads(text)


def _to_scalar(value: t.Any, path: str) -> t.Any:
    # The types' own methods are called because those of Ansible's subclasses return the subclass again.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__float__(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    raise InvalidRequest(
        path or "the value",
        f"is of type {type(value).__name__}, which the catalog cannot store",
        remedy="Use JSON types.",
    )


def _to_key(key: t.Any, path: str) -> str:
    plain = to_plain(key, path)
    return plain if isinstance(plain, str) else str(plain)


def _is_vaulted(value: t.Any) -> bool:
    # Up to core 2.18 the type says so, from 2.19 on a type or a tag does; __ENCRYPTED__ is how core itself tells.
    if isinstance(value, (bool, int, float)) or value is None:
        return False
    if getattr(type(value), "__ENCRYPTED__", False):
        return True
    return _get_ciphertext(value) is not None


def _load_ciphertext_reader() -> t.Callable[[t.Any], str | None]:
    try:
        from ansible.parsing.vault import VaultHelper
    except ImportError:  # core up to 2.18, or no ansible at all (the store's own tools)
        return lambda _value: None

    def read(value: t.Any) -> str | None:
        ciphertext: str | None = VaultHelper.get_ciphertext(value, with_tags=False)
        return ciphertext

    return read


_get_ciphertext = _load_ciphertext_reader()

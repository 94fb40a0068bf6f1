# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that lie about in an image: where, and of which kind, never what. Pure; private to this collection."""

from __future__ import annotations

import re
import typing as t

PLACES = ("/etc", "/root", "/home")
MOST_BYTES = 256 * 1024
"""What is larger is no file that people keep a secret in."""
MOST_FILES = 5000
SHADOW = "/etc/shadow"

_BY_NAME = {
    r"\.netrc": "password for a host (netrc)",
    r"\.git-credentials": "password for git",
    r"\.pgpass": "password for PostgreSQL",
    r"\.aws/credentials": "credentials for AWS",
}
_BY_CONTENT = {
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----": "private key",
    rb"(?i)\baws_secret_access_key\s*=\s*\S": "credentials for AWS",
    rb"\bAKIA[0-9A-Z]{16}\b": "credentials for AWS",
    rb"\bgh[oprsu]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{22}": "token for GitHub",
    rb"\bglpat-[A-Za-z0-9_-]{20}": "token for GitLab",
    rb"\bxox[abprs]-[A-Za-z0-9-]{10}": "token for Slack",
    rb'"auths?"\s*:\s*(?:\{\s*"|"[A-Za-z0-9+/=]{8})': "credentials for a container registry",
    rb"\bclient-key-data:\s*\S": "private key for Kubernetes",
}
_IN_HISTORY = re.compile(rb"(?i)(?:passw(?:or)?d|passphrase|secret|token)\s*[=: ]\s*\S")
_HISTORY = re.compile(r"/\.[^/]*hist[^/]*")


def is_worth_reading(size: int) -> bool:
    """Tell whether a file of this size can hold what is looked for."""
    return 0 < size <= MOST_BYTES


def find_secrets(path: str, content: bytes) -> list[str]:
    """Return the kinds of secrets in a file, sorted."""
    kinds = {kind for name, kind in _BY_NAME.items() if re.search(f"/{name}$", path) and content.strip()}
    kinds |= {kind for pattern, kind in _BY_CONTENT.items() if re.search(pattern, content)}
    if _HISTORY.search(path) and _IN_HISTORY.search(content):
        kinds.add("password in a shell's history")
    return sorted(kinds)


def count_password_hashes(shadow: bytes) -> int:
    """Return how many accounts of shadow(5) have a password."""
    fields = (line.split(b":") for line in shadow.splitlines())
    return sum(len(entry) > 1 and re.match(rb"[$_./A-Za-z0-9]{13}", entry[1]) is not None for entry in fields)


def describe_secrets(found: t.Sequence[t.Mapping[str, str]], *, most: int = 5) -> str:
    """Return what was found in words."""
    named = ", ".join(f"{entry['path']} ({entry['kind']})" for entry in found[:most])
    return f"{named} and {len(found) - most} more" if len(found) > most else named

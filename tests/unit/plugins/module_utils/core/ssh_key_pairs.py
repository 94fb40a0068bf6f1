# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files of OpenSSH's format that are no keys; for tests."""

from __future__ import annotations

import base64
import struct

from ansible_collections.encompass.images.plugins.module_utils._core.identity import KeyPair


def make_pair(number: int, *, kind: str = "ed25519", public_number: int | None = None, whole: bool = True) -> KeyPair:
    """Return a pair of files as ssh-keygen writes them; each number gives another fingerprint."""
    name = f"ssh-{kind}".encode()
    public = _string(name) + _string(bytes([number]) * 32)
    checks = b"1234" + (b"1234" if whole else b"9999")
    blob = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"") + struct.pack(">I", 1)
    blob += _string(public) + _string(checks + name + b"...")
    private = (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64.encodebytes(blob) + b"-----END OPENSSH PRIVATE KEY-----\n"
    )
    shown = number if public_number is None else public_number
    line = name + b" " + base64.b64encode(_string(name) + _string(bytes([shown]) * 32)) + b" root@test\n"
    return KeyPair(private, line)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSSH's key files, as far as telling whose they are. Pure; private to this collection.

Format of private keys: PROTOCOL.key of OpenSSH ("openssh-key-v1").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"


def fingerprint_public(line: bytes) -> str | None:
    """Return the fingerprint of a public key file as ``ssh-keygen -l`` prints it; None when it is none."""
    fields = line.split()
    if len(fields) < 2:
        return None
    try:
        blob = base64.b64decode(fields[1], validate=True)
        (name,) = _read_strings(blob, 1)
    except (binascii.Error, struct.error):
        return None
    return _fingerprint(blob) if name == fields[0] else None


def fingerprint_private(content: bytes) -> str | None:
    """Return the fingerprint of an unencrypted private key; None when the file is not whole."""
    before, _begin, rest = content.partition(_BEGIN)
    body, end, _after = rest.partition(_END)
    if before.strip() or not end:
        return None
    try:
        blob = base64.b64decode(b"".join(body.split()), validate=True)
        if not blob.startswith(_MAGIC):
            return None
        cipher, _kdf, _options, rest = _read_strings(blob[len(_MAGIC) :], 3, with_rest=True)
        (count,) = struct.unpack(">I", rest[:4])
        public, private = _read_strings(rest[4:], 2)
    except (binascii.Error, struct.error):
        return None
    is_whole = cipher == b"none" and count == 1 and len(private) >= 8 and private[:4] == private[4:8]
    return _fingerprint(public) if is_whole else None


def _read_strings(blob: bytes, count: int, *, with_rest: bool = False) -> list[bytes]:
    strings = []
    for _field in range(count):
        (length,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + length:
            raise struct.error("the string is cut off")
        strings.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return [*strings, blob] if with_rest else strings


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small packages (OVA), built byte by byte, each part open to be wrong."""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.encompass.images.tests.corpus.headers import vmdk

VMDK_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


def member(name: str, content: bytes, *, kind: bytes = b"0", **odd: t.Any) -> bytes:
    """Return one file of a tar archive."""
    head = bytearray(512)
    head[: len(name.encode()[:100])] = name.encode()[:100]
    head[100:108], head[108:116], head[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    head[124:136] = odd.get("size", b"%011o\0" % len(content))
    head[136:148] = b"00000000000\0"
    head[148:156] = b" " * 8
    head[156:157] = kind
    link = odd.get("link", b"")
    head[157 : 157 + len(link)] = link
    head[257:265] = odd.get("magic", b"ustar\x0000")
    prefix = odd.get("prefix", b"")
    head[345 : 345 + len(prefix)] = prefix
    head[148:156] = odd.get("checksum", b"%06o\0 " % sum(head))
    return bytes(head) + content + bytes(-len(content) % 512)


def describe(*disks: str, **odd: t.Any) -> bytes:
    """Return the description of a machine with these disks."""
    files = "".join(f'<File ovf:id="f{n}" ovf:href="{name}"{odd.get("file", "")}/>' for n, name in enumerate(disks))
    drives = "".join(
        f'<Disk ovf:diskId="d{n}" ovf:fileRef="f{n}" ovf:capacity="64" ovf:format="{odd.get("format", VMDK_FORMAT)}"'
        f"{odd.get('disk', '')}/>"
        for n in range(odd.get("drives", len(disks)))
    )
    return (
        f"{odd.get('before', '<?xml version=' + chr(34) + '1.0' + chr(34) + '?>')}"
        '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">'
        f"<References>{files}</References><DiskSection>{drives}</DiskSection>{odd.get('after', '')}</Envelope>"
    ).encode()


def write_manifest(files: dict[str, bytes], algorithm: str = "sha256") -> bytes:
    """Return the digests of files, as tools write them."""
    digests = {name: hashlib.new(algorithm, content).hexdigest() for name, content in files.items()}
    return "".join(f"{algorithm.upper()}({name})= {value}\n" for name, value in digests.items()).encode()


def ova(disks: dict[str, bytes] | None = None, *, description: bytes | None = None, **odd: t.Any) -> bytes:
    """Return a package: a description, its manifest, the disks; ``extra`` are members put before the end."""
    disks = {"disk.vmdk": vmdk()} if disks is None else disks
    files = {"machine.ovf": describe(*disks) if description is None else description, **disks}
    manifest = odd.get("manifest", write_manifest(files))
    order = [*files.items()][:1] + ([("machine.mf", manifest)] if manifest is not None else []) + [*files.items()][1:]
    return b"".join(member(name, content) for name, content in order) + odd.get("extra", b"") + bytes(1024)

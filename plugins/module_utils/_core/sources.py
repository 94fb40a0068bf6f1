# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is imported from, and what is demanded of it. Private to this collection."""

from __future__ import annotations

import dataclasses
import re

from .errors import ImageRefused, InvalidRequest
from .image_formats.facts import ImageHeader
from .image_header import refuse_image
from .pool_layout import FileSeen, format_bytes

PACKAGE_FORMAT = "ova"
DISK_FORMAT = "vmdk"
"""What the disk of a package has to be: the one format that packages are exchanged with."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Signature:
    """A detached signature of the source: its kind, its path or URL, and the path of the signer's public key."""

    type: str
    file: str
    key: str


@dataclasses.dataclass(frozen=True)
class WebAccess:
    """How sources are fetched; ``ca_path`` empty means: the host's own authorities."""

    allow_private: bool = False
    ca_path: str = ""


@dataclasses.dataclass(frozen=True)
class ImportLimits:
    """What an import may take: bytes of the source and of what it is converted to, and the disk's size to a guest."""

    max_bytes: int
    max_virtual_bytes: int


PUBLIC_WEB = WebAccess()
NO_LIMITS = ImportLimits(1 << 63, 1 << 63)


def is_url(source: str) -> bool:
    """Return whether a source is not a path."""
    return "://" in source and not source.startswith("/")


def show_source(source: str) -> str:
    """Return a source as it may be written down: the user and the query of a URL can be secrets."""
    if not is_url(source):
        return source
    scheme, _separator, rest = re.split(r"[?#]", source, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def refuse_user(subject: str, source: str) -> None:
    """Refuse a URL with a user; before a module is given it, since what a module is given can be seen."""
    if is_url(source) and "@" in re.split("[/?#]", source.partition("://")[2], maxsplit=1)[0]:
        raise InvalidRequest(subject, "its URL holds a user", remedy="Give a URL without user and password.")


def check_source(subject: str, source: str, sha256: str) -> None:
    """Refuse a path that is not absolute, a digest that is none, and a URL that nothing holds to its content."""
    if sha256 and not _SHA256.fullmatch(sha256):
        raise InvalidRequest(subject, "its sha256 is not a digest of 64 hexadecimal digits")
    if is_url(source):
        if not sha256:
            raise InvalidRequest(
                subject,
                f"its source {show_source(source)} is a URL, and its sha256 is not given",
                remedy="Give sha256: what a URL answers may change, what a version holds may not.",
            )
    elif source and not source.startswith("/"):
        raise InvalidRequest(subject, f"the path {source!r} of its source is not absolute")


def refuse_source(header: ImageHeader, declared_format: str, limits: ImportLimits, subject: str) -> None:
    """Raise :class:`ImageRefused` unless the image may be imported; the header of a package is that of its disk."""
    refuse_image(header, DISK_FORMAT if declared_format == PACKAGE_FORMAT else declared_format, subject)
    refuse_disk(header.virtual_bytes, limits, subject)


def refuse_file(header: ImageHeader, declared_format: str, limits: ImportLimits, *, file: FileSeen) -> None:
    """Raise :class:`ImageRefused` unless a file may be imported, as far as can be told before it is read whole."""
    subject = f"image {file.path}"
    refuse_source(header, declared_format, limits, subject)
    refuse_bytes(file.allocated_bytes, limits.max_bytes, "it takes", subject)
    # No image is longer than its disk and what may be stored of it; holes take no room, but hours to read.
    if file.size_bytes > limits.max_virtual_bytes + limits.max_bytes:
        raise ImageRefused(
            subject,
            f"its file is {file.size_bytes} bytes long ({format_bytes(file.size_bytes)}), nearly all of them holes",
            remedy="Raise max_virtual_gib if that is right.",
            reason="size",
        )


def refuse_disk(virtual_bytes: int, limits: ImportLimits, subject: str) -> None:
    """Raise :class:`ImageRefused` when a disk is larger, to a guest, than it may be."""
    if virtual_bytes > limits.max_virtual_bytes:
        raise ImageRefused(
            subject,
            f"its disk has {virtual_bytes} bytes ({format_bytes(virtual_bytes)}), at most "
            f"{format_bytes(limits.max_virtual_bytes)} are allowed",
            remedy="Raise max_virtual_gib if that is right.",
            reason="size",
        )


def refuse_bytes(count: int, max_bytes: int, what: str, subject: str) -> None:
    """Raise :class:`ImageRefused` when a file is, or would become, larger than it may be."""
    if count > max_bytes:
        raise ImageRefused(
            subject,
            f"{what} {count} bytes ({format_bytes(count)}), at most {format_bytes(max_bytes)} are allowed",
            remedy="Raise max_gib if that is right.",
            reason="size",
        )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description in a package (OVF): which files are its disks. Private to this collection. Source: DMTF's DSP0243."""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET

from .image_formats.facts import Malformed, require

_MARKUP = re.compile(r"<!(?!--|\[CDATA\[)")
_VMDK = re.compile(r"https?://www\.vmware\.com/(?:interfaces/)?specifications/vmdk\.html(?:#\w+)?")
_PLAIN_COMPRESSION = (None, "", "identity")


def find_disks(text: str, members: t.Collection[str]) -> list[str]:
    """Return the names of the files that are disks; raises :class:`Malformed` for what a single file cannot be.

    Document types are refused before anything is parsed: without them XML has no entities, inner or outer.
    """
    require("\0" not in text, "its description is not UTF-8")  # a parser would take it for UTF-16, and find other words
    require(not _MARKUP.search(text), "its description holds a document type")
    try:
        root = ET.fromstring(text, ET.XMLParser(encoding="utf-8"))  # noqa: S314 - there is no document type in it
    except ET.ParseError as exc:
        raise Malformed("its description cannot be read") from exc
    files = {_get(file, "id"): file for file in _find(root, "File")}
    for entry in files.values():
        name = _get(entry, "href")
        require(name in members, f"its description names the file {name!r:.60}, which is not in it")
        require(_get(entry, "compression") in _PLAIN_COMPRESSION, f"{name} in it is compressed")
        require(_get(entry, "chunkSize") is None, f"{name} in it is in pieces")
    disks = []
    for disk in _find(root, "Disk"):
        file = files.get(_get(disk, "fileRef"))
        if file is None:
            raise Malformed("a disk in its description has no file")
        require(_get(disk, "parentRef") is None, "a disk in it needs a parent")
        require(_VMDK.fullmatch(_get(disk, "format") or "") is not None, "a disk in it is not said to be VMDK")
        disks.append(t.cast(str, _get(file, "href")))
    return disks


def _find(root: ET.Element, tag: str) -> list[ET.Element]:
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == tag]


def _get(element: ET.Element, name: str) -> str | None:
    """Return an attribute, whatever its name space."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)

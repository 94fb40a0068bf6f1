# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML built and read as elements, so that a name from a user can never become markup. Private to this collection."""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET

from .errors import InvalidRequest, ToolFailed

# What XML 1.0 cannot hold, even escaped.
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def add_element(
    parent: ET.Element, tag: str, text: str | int | None = None, **attributes: str | int | None
) -> ET.Element:
    """Append an element; attributes that are None are left out."""
    given = {name: str(value) for name, value in attributes.items() if value is not None}
    element = ET.SubElement(parent, tag, given)
    if text is not None:
        element.text = str(text)
    return element


def render_document(root: ET.Element, *, subject: str) -> str:
    """Return an element as indented text; refuse characters that XML cannot hold."""
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True) + "\n"
    if _NOT_IN_XML.search(text):
        raise InvalidRequest(subject, "a name, path or address in it holds a control character")
    return text


def parse_document(text: str, *, subject: str) -> ET.Element:
    """Return the root of a document that the provider's own daemon made."""
    try:
        return ET.fromstring(text)  # noqa: S314 - the daemon that rules this host needs no tricks to harm it
    except ET.ParseError as exc:
        raise ToolFailed(subject, f"the provider described it in XML that cannot be read ({exc})") from exc


def require_child(parent: ET.Element, path: str, *, subject: str) -> ET.Element:
    """Return the element at a path below ``parent``."""
    found = parent.find(path)
    if found is None:
        raise ToolFailed(subject, f"the provider described it without <{path}>")
    return found


def attributes_at(parent: ET.Element, path: str) -> t.Mapping[str, str]:
    """Return the attributes of the element at a path; empty when it is not there."""
    found = parent.find(path)
    return {} if found is None else dict(found.attrib)

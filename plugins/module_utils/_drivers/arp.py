# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else is on a network segment, asked by ARP (RFC 826). Private to this collection; may change without notice."""

from __future__ import annotations

import socket
import struct
import time
import typing as t

_ETHERTYPE_ARP = 0x0806
_HEAD = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)  # Ethernet, IPv4, their lengths, request
_REPLY = 2
_BROADCAST = b"\xff" * 6
_ASK_EVERY_S = 0.3


def find_neighbours(interface: str, own_address: str, addresses: t.Sequence[str], *, wait_s: float = 1.5) -> list[str]:
    """Return which of these addresses answer on the interface's segment; none when it cannot be asked there."""
    missing = {socket.inet_aton(address) for address in addresses}
    if not missing:
        return []
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP)) as link:
            link.bind((interface, _ETHERTYPE_ARP))
            found = _ask(link, socket.inet_aton(own_address), missing, time.monotonic() + wait_s)
    except OSError:
        return []
    return sorted(socket.inet_ntoa(address) for address in found)


def _ask(link: socket.socket, own_address: bytes, wanted: set[bytes], deadline: float) -> set[bytes]:
    mac: bytes = link.getsockname()[4]
    found: set[bytes] = set()
    ask_at = 0.0
    while found < wanted and time.monotonic() < deadline:
        if time.monotonic() >= ask_at:
            ask_at = time.monotonic() + _ASK_EVERY_S
            for address in wanted - found:
                request = _HEAD + mac + own_address + b"\0" * 6 + address
                link.send(_BROADCAST + mac + struct.pack("!H", _ETHERTYPE_ARP) + request)
        link.settimeout(0.1)
        try:
            frame = link.recv(1500)
        except socket.timeout:
            continue
        if len(frame) >= 42 and frame[20:22] == struct.pack("!H", _REPLY):
            found |= {frame[28:32]} & wanted
    return found

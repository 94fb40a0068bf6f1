# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses of the web may be asked. Pure; private to this collection; may change without notice."""

from __future__ import annotations

import ipaddress
import typing as t
import urllib.parse

from .errors import InvalidRequest

MAX_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Where clouds tell their machines passwords, besides the addresses of the link: Azure, Oracle, Amazon, Google. The
# networks of the last two rows are reserved; Python's versions differ in what they say of them.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("168.63.129.16/32", "192.0.0.0/24", "fd00:ec2::254/128", "fd20:ce::254/128"),
        *("100.64.0.0/10", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
        *("fec0::/10", "100::/64", "2001:db8::/32"),
    )
)
_Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class WebPlace(t.NamedTuple):
    """One URL, taken apart; ``target`` is its path with the query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The host, with the port when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its query, which can hold a secret."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


def parse_url(url: str, subject: str) -> WebPlace:
    """Return the parts of a URL; refuse all but plain http and https. No error shows what may be a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidRequest(subject, "its URL cannot be understood") from exc
    if parts.scheme not in _PORTS:
        raise InvalidRequest(subject, f"its URL has the scheme {parts.scheme[:20]!r}", remedy="Give http or https.")
    if "@" in parts.netloc:
        raise InvalidRequest(subject, "its URL holds a user", remedy="Give a URL without user and password.")
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url or port == 0:
        raise InvalidRequest(subject, "its URL cannot be understood", remedy="Write it in plain ASCII, escaped.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebPlace(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], target)


def follow_redirect(place: WebPlace, location: str, subject: str) -> WebPlace:
    """Return where a redirect leads; refused when it gives up encryption."""
    url = urllib.parse.urljoin(f"{place.scheme}://{place.authority}{place.target}", location)
    following = parse_url(url, f"{subject}, redirected by {place.host}")
    if (place.scheme, following.scheme) == ("https", "http"):
        raise InvalidRequest(subject, f"{place.shown} leads from https to http", remedy="Give the final URL.")
    return following


def may_connect(address: str, *, allow_private: bool) -> bool:
    """Return whether an IP address may be asked, also when it hides in one of IPv6.

    Those of the link are never, nor others at which services tell a cloud's machines their passwords.
    """
    plain = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
    if plain.is_multicast or plain.is_unspecified or plain.is_link_local or any(plain in net for net in _NEVER):
        return False
    if plain.is_loopback or plain.is_private:
        return allow_private
    return plain.is_global and not plain.is_reserved


def _unwrap(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a provider: records, and libvirt's XML for them. Private to this collection."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t
import xml.etree.ElementTree as ET

from .errors import InvalidRequest
from .markup import add_element, attributes_at, parse_document, render_document

MODES = ("nat", "route", "open")
_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"
# Every provider's DHCP server hears every guest of a network that spans; each answers only those that it knows.
_ONLY_KNOWN = "dhcp-ignore=tag:!known"
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z")  # IFNAMSIZ leaves 15 characters for an interface
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")

ET.register_namespace("dnsmasq", _DNSMASQ)


@dataclasses.dataclass(frozen=True)
class Reservation:
    """An address that DHCP gives to one MAC only."""

    mac: str
    address: str
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Network:
    """All that we say about a network. Empty bridge, range or domain: the provider's own choice, and not compared.

    Without a range only reserved addresses are given out, so nobody else can hold one.
    """

    name: str
    mode: str
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    dhcp_range: tuple[str, ...] = ()
    domain: str = ""
    reservations: tuple[Reservation, ...] = ()
    spans: bool = False
    """Whether providers have it in common: one subnet, whose bridges the site joins."""

    @property
    def subject(self) -> str:
        """Return the network as errors name it."""
        return f"network {self.name}"


def read_network(options: t.Mapping[str, t.Any]) -> Network:
    """Return the network that the options ask for; refuse what no network can be."""
    subject = f"network {options['name']}"
    if not _NAME.match(options["name"]):
        raise InvalidRequest(subject, "its name must be letters, digits, '.', '_' and '-', at most 63")
    if not options.get("subnet"):
        raise InvalidRequest(subject, "it has no subnet", remedy="Give one, such as 10.45.0.0/24.")
    if options.get("bridge") and not _BRIDGE.match(options["bridge"]):
        raise InvalidRequest(subject, f"{options['bridge']!r} is no name for a bridge (at most 15 characters)")
    subnet = _read_subnet(subject, options["subnet"])
    gateway = options.get("gateway") or str(subnet.network_address + 1)
    dhcp_range = tuple(options.get("dhcp_range") or ())
    if len(dhcp_range) not in (0, 2):
        raise InvalidRequest(subject, "dhcp_range must be its first and its last address")
    for address in (gateway, *dhcp_range):
        require_host_address(subject, subnet, address)
    if options.get("spans"):
        _check_spanning(subject, options)
    return Network(
        name=options["name"],
        mode=options["mode"],
        subnet=str(subnet),
        gateway=gateway,
        bridge=options.get("bridge") or "",
        dhcp_range=dhcp_range,
        domain=options.get("domain") or "",
        spans=bool(options.get("spans")),
    )


def _check_spanning(subject: str, options: t.Mapping[str, t.Any]) -> None:
    if not options.get("gateway"):
        raise InvalidRequest(
            subject, "it spans providers and has no gateway", remedy="Give each provider an address of its own in it."
        )
    if options.get("dhcp_range"):
        raise InvalidRequest(
            subject,
            "it spans providers and has a dhcp_range, which each of them would give out",
            remedy="Leave dhcp_range out: machines get the addresses that are reserved for them.",
        )


def _read_subnet(subject: str, text: str) -> ipaddress.IPv4Network:
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise InvalidRequest(subject, f"{text!r} is not an IPv4 subnet ({exc})") from exc
    if subnet.prefixlen > 30:
        raise InvalidRequest(subject, f"the subnet {text} has no room for a gateway and a machine")
    return subnet


def require_host_address(subject: str, subnet: ipaddress.IPv4Network, text: str) -> None:
    """Raise :class:`InvalidRequest` unless a host of this subnet may have the address."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as exc:
        raise InvalidRequest(subject, f"{text!r} is not an IPv4 address") from exc
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidRequest(subject, f"{text} is not an address for a host in the subnet {subnet}")


def list_network_differences(wanted: Network, seen: Network) -> tuple[str, ...]:
    """Return the names of the fields that are asked for and differ; reservations are not a network's own business."""
    differing = []
    for field in dataclasses.fields(Network):
        asked = getattr(wanted, field.name)
        if field.name != "reservations" and asked and asked != getattr(seen, field.name):
            differing.append(field.name)
    return tuple(differing)


def complete_network(wanted: Network, seen: Network | None) -> Network:
    """Return what is to be defined: what is asked for, and what is there where nothing is asked."""
    if seen is None:
        return wanted
    asked = {
        field.name: getattr(wanted, field.name) or getattr(seen, field.name) for field in dataclasses.fields(Network)
    }
    return Network(**asked)


def render_network_xml(network: Network, *, uuid: str = "") -> str:
    """Return the definition that makes libvirt's network equal to ours; ``uuid`` is that of the one to be replaced."""
    root = ET.Element("network")
    add_element(root, "name", network.name)
    if uuid:
        add_element(root, "uuid", uuid)
    add_element(root, "forward", mode=network.mode)
    # Spanning tree would keep a new guest silent for its first seconds; there is no loop behind this bridge.
    add_element(root, "bridge", name=network.bridge or None, stp="off", delay=0)
    if network.domain:
        add_element(root, "domain", name=network.domain, localOnly="yes")
    subnet = ipaddress.IPv4Network(network.subnet)
    address = add_element(root, "ip", address=network.gateway, prefix=subnet.prefixlen)
    if network.dhcp_range or network.reservations:
        dhcp = add_element(address, "dhcp")
        if network.dhcp_range:
            add_element(dhcp, "range", start=network.dhcp_range[0], end=network.dhcp_range[1])
        for reservation in network.reservations:
            dhcp.append(_render_reservation(reservation))
    # Before every offer dnsmasq would ping the address for 3 s; the catalog knows better who has it.
    options = add_element(root, f"{{{_DNSMASQ}}}options")
    add_element(options, f"{{{_DNSMASQ}}}option", value="no-ping")
    if network.spans:
        add_element(options, f"{{{_DNSMASQ}}}option", value=_ONLY_KNOWN)
    return render_document(root, subject=network.subject)


def _render_reservation(reservation: Reservation) -> ET.Element:
    given = {"mac": reservation.mac, "name": reservation.name, "ip": reservation.address}
    return ET.Element("host", {name: value for name, value in given.items() if value})


def render_reservation_xml(reservation: Reservation) -> str:
    """Return a DHCP host entry as libvirt's network update takes it."""
    return render_document(_render_reservation(reservation), subject=f"address {reservation.address}")


def parse_network_xml(text: str) -> Network:
    """Return what a network's definition says in our own terms, whoever wrote it."""
    root = parse_document(text, subject="a network")
    mode = "isolated" if root.find("forward") is None else attributes_at(root, "forward").get("mode", "nat")
    address = next((ip for ip in root.iterfind("ip") if ip.get("family", "ipv4") == "ipv4"), ET.Element("ip"))
    bounds = attributes_at(address, "dhcp/range")
    return Network(
        name=root.findtext("name", ""),
        mode=mode,
        subnet=_parse_subnet(address),
        gateway=address.get("address", ""),
        bridge=attributes_at(root, "bridge").get("name", ""),
        dhcp_range=(bounds["start"], bounds["end"]) if bounds else (),
        domain=attributes_at(root, "domain").get("name", ""),
        reservations=tuple(_parse_reservation(host) for host in address.iterfind("dhcp/host")),
        spans=any(option.get("value") == _ONLY_KNOWN for option in root.iter(f"{{{_DNSMASQ}}}option")),
    )


def _parse_subnet(address: ET.Element) -> str:
    if not address.get("address"):
        return ""
    length = address.get("prefix") or address.get("netmask") or "24"
    return str(ipaddress.IPv4Interface(f"{address.get('address')}/{length}").network)


def _parse_reservation(host: ET.Element) -> Reservation:
    return Reservation(host.get("mac", "").lower(), host.get("ip", ""), host.get("name", ""))


def split_reservations(later: Network, now: Network) -> tuple[Network, tuple[Reservation, ...]]:
    """Return the network with the reservations that hold now and later, and apart those that do not."""
    everywhere = tuple(held for held in later.reservations if held in now.reservations)
    partial = (*later.reservations, *(held for held in now.reservations if held not in later.reservations))
    network = Network(**{**vars(later), "reservations": everywhere})
    return network, tuple(held for held in partial if held not in everywhere)

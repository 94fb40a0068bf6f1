# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and MACs that a machine keeps for life. Pure (netaddr only); private to this collection."""

from __future__ import annotations

import hashlib
import typing as t

from ...module_utils._core.errors import InvalidRequest, Unsupported

try:
    import netaddr
except ImportError:
    netaddr = None

# QEMU's prefix, locally administered, as libvirt itself hands it out.
_MAC_PREFIX = "52:54:00"


class AddressBook:
    """What is taken on the networks of all providers, and who took it; each answer is taken at once."""

    def __init__(self, taken: t.Mapping[str, str]) -> None:
        """``taken`` maps addresses and MACs (lower case) to their owners' names."""
        if netaddr is None:
            raise Unsupported(
                "the control node",
                "the Python library netaddr is not installed",
                remedy="Install the collection's requirements.txt for the Python that runs Ansible.",
            )
        self._owners = dict(taken)

    def allocate_mac(self, catalog_uuid: str, machine: str, address: str) -> str:
        """Return the MAC that goes with an address.

        A DHCP server gives an address that is still leased to one MAC to no other, however it is reserved. So whoever
        gets the address of a machine that is gone gets its MAC too.
        """
        for mac in _list_macs(catalog_uuid, address):
            if mac not in self._owners:
                self._owners[mac] = machine
                return mac
        raise InvalidRequest(f"machine {machine}", "no free MAC was found in 256 tries")

    def allocate_address(self, network: t.Mapping[str, t.Any], machine: str, wanted: str | None) -> str:
        """Return the address ``wanted`` when it is free, else the lowest free one outside the dynamic range.

        ``network`` is what discover tells of it: name, subnet, gateway, dhcp_range, dhcp_hosts.
        """
        subnet = netaddr.IPNetwork(require_subnet(network))
        foreign = {host["address"]: host for host in network.get("dhcp_hosts") or () if host.get("address")}
        if wanted is not None:
            self._check_wanted(network, machine, wanted, foreign)
            self._owners[wanted] = machine
            return wanted
        gateway = str(network.get("gateway"))
        dynamic = network.get("dhcp_range")
        in_dynamic = netaddr.IPRange(*dynamic) if dynamic else ()
        for candidate in subnet.iter_hosts():
            address = str(candidate)
            if (
                address != gateway
                and address not in self._owners
                and address not in foreign
                and candidate not in in_dynamic
            ):
                self._owners[address] = machine
                return address
        raise InvalidRequest(
            f"machine {machine}",
            f"network {network['name']} ({subnet}) has no free address",
            remedy="Use a larger subnet.",
        )

    def _check_wanted(
        self, network: t.Mapping[str, t.Any], machine: str, wanted: str, foreign: t.Mapping[str, t.Mapping[str, t.Any]]
    ) -> None:
        subnet = netaddr.IPNetwork(network["subnet"])
        problem = None
        try:
            if netaddr.IPAddress(wanted) not in subnet:
                problem = f"is outside the subnet {subnet} of network {network['name']}"
            elif wanted in (str(subnet.network), str(subnet.broadcast), str(network.get("gateway"))):
                problem = f"is the network's own in {subnet}"
        except (netaddr.AddrFormatError, ValueError):
            problem = "is not an IP address"
        owner = self._owners.get(wanted) or (
            foreign[wanted].get("name") or "an unknown host" if wanted in foreign else None
        )
        if problem is None and owner not in (None, machine):
            problem = f"belongs to {owner}"
        if problem is not None:
            raise InvalidRequest(f"machine {machine}", f"the address {wanted} {problem}", remedy="Choose a free one.")


def require_subnet(network: t.Mapping[str, t.Any]) -> str:
    """Return the network's subnet; refuse a network on which nobody hands out addresses."""
    subnet = network.get("subnet")
    if not subnet:
        raise InvalidRequest(
            f"network {network['name']}",
            "it has no subnet of its own, so no address can be reserved on it",
            remedy="Use a network of mode nat, route or open.",
        )
    return str(subnet)


def is_own_mac(catalog_uuid: str, mac: str, address: str) -> bool:
    """Tell whether a catalog gives this MAC with this address."""
    return mac.lower() in _list_macs(catalog_uuid, address)


def _list_macs(catalog_uuid: str, address: str) -> t.Iterator[str]:
    """Yield the MACs that go with an address, the first one first."""
    for attempt in range(256):
        digest = hashlib.sha256(f"{catalog_uuid}/{address}/{attempt}".encode()).hexdigest()
        yield ":".join((_MAC_PREFIX, digest[0:2], digest[2:4], digest[4:6]))

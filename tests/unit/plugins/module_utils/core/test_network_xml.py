# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks to libvirt's XML and back, against golden files."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.network import (
    Network,
    Reservation,
    list_network_differences,
    parse_network_xml,
    read_network,
    render_network_xml,
    render_reservation_xml,
)
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.golden import (
    DATA,
    check_golden,
    list_cases,
    read_case,
)

FOLDER = "network_xml"
CASES = list_cases(FOLDER)
SEEN = sorted(path.stem for path in (DATA / FOLDER / "seen").glob("*.xml"))


def network_of(case: str) -> Network:
    options = read_case(FOLDER, case)
    reservations = tuple(Reservation(*entry) for entry in options.get("reservations", ()))
    return dataclasses.replace(read_network(options), reservations=reservations)


@pytest.mark.parametrize("case", CASES)
def test_a_network_is_rendered_as_once_found_good(case: str) -> None:
    check_golden(FOLDER, f"{case}.xml", render_network_xml(network_of(case)))


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_parsed_to_the_same(case: str) -> None:
    network = network_of(case)
    assert parse_network_xml(render_network_xml(network)) == network


@pytest.mark.parametrize("case", SEEN)
def test_what_libvirt_adds_makes_no_difference(case: str) -> None:
    seen = parse_network_xml((DATA / FOLDER / "seen" / f"{case}.xml").read_text(encoding="utf-8"))
    assert list_network_differences(network_of(case), seen) == ()
    assert seen.reservations == network_of(case).reservations


def test_every_declared_field_is_touched_by_golden_files() -> None:
    networks = [network_of(case) for case in CASES]
    reservations = [held for network in networks for held in network.reservations]
    for record, found in ((Network, networks), (Reservation, reservations)):
        constant = [f.name for f in dataclasses.fields(record) if len({getattr(x, f.name) for x in found}) < 2]
        assert constant == []


def test_what_is_not_asked_for_is_not_compared() -> None:
    seen = network_of("everything")
    wanted = Network("public", "route", subnet=seen.subnet, gateway=seen.gateway)
    assert list_network_differences(wanted, seen) == ()
    assert list_network_differences(dataclasses.replace(wanted, bridge="br1"), seen) == ("bridge",)


def test_names_never_become_markup() -> None:
    held = Reservation("52:54:00:00:00:01", "192.0.2.5", "a'/><x>&\"")
    network = dataclasses.replace(network_of("plain"), domain="<&>", reservations=(held,))
    assert parse_network_xml(render_network_xml(network)) == network
    assert "<x>" not in render_reservation_xml(held)


def test_networks_of_others_are_understood() -> None:
    bridged = parse_network_xml("<network><name>lan</name><forward mode='bridge'/><bridge name='br0'/></network>")
    assert (bridged.mode, bridged.subnet, bridged.bridge) == ("bridge", "", "br0")
    isolated = parse_network_xml("<network><name>x</name><ip address='10.1.2.1' netmask='255.255.0.0'/></network>")
    assert (isolated.mode, isolated.subnet, isolated.gateway) == ("isolated", "10.1.0.0/16", "10.1.2.1")
    only_v6 = parse_network_xml("<network><name>x</name><ip family='ipv6' address='fd00::1' prefix='64'/></network>")
    assert only_v6.subnet == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "a b"}, "its name must be"),
        ({"subnet": None}, "has no subnet"),
        ({"subnet": "10.45.0.1/24"}, "is not an IPv4 subnet"),
        ({"subnet": "fd00::/64"}, "is not an IPv4 subnet"),
        ({"subnet": "10.45.0.0/31"}, "no room"),
        ({"gateway": "10.46.0.1"}, "is not an address for a host in the subnet"),
        ({"gateway": "10.45.0.0"}, "is not an address for a host in the subnet"),
        ({"gateway": "10.45.0.255"}, "is not an address for a host in the subnet"),
        ({"gateway": "here"}, "is not an IPv4 address"),
        ({"bridge": "a-name-for-a-bridge"}, "at most 15 characters"),
        ({"dhcp_range": ["10.45.0.2"]}, "its first and its last address"),
        ({"spans": True}, "spans providers and has no gateway"),
        (
            {"spans": True, "gateway": "10.45.0.1", "dhcp_range": ["10.45.0.2", "10.45.0.9"]},
            "each of them would give out",
        ),
        ({"dhcp_range": ["10.45.0.2", "10.45.1.2"]}, "is not an address for a host in the subnet"),
    ],
)
def test_what_no_network_can_be_is_refused(changes: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_network({**read_case(FOLDER, "plain"), **changes})

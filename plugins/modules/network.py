#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and remove networks of a provider."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Make and remove networks of a provider
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Defines and starts libvirt networks whose DHCP gives every machine its own reserved address; see
    M(encompass.images.assign).
  - A network that is there is compared in what is asked for only, and it keeps its reservations. When it has to
    change, it is restarted, which is refused while a running machine is on it.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.libvirt
options:
  state:
    description:
      - V(present) makes the networks, and has them started with the host.
      - V(absent) removes them. It is refused while any machine, running or not, has a card on one.
    type: str
    choices: [present, absent]
    default: present
  networks:
    description: The networks, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The network's name.
        type: str
        required: true
      mode:
        description:
          - V(nat) hides the machines behind the host's address; they reach out, and only the host reaches in.
          - V(route) lets others reach the machines, if they have a route to the subnet over this host.
          - V(open) is the same without any firewall rules.
        type: str
        choices: [nat, route, open]
        default: nat
      subnet:
        description: The IPv4 subnet, such as V(10.45.0.0/24). Needed to make a network.
        type: str
      gateway:
        description: The host's own address in it; by default the first one.
        type: str
      bridge:
        description: The name of the host's bridge, at most 15 characters; by default libvirt chooses one.
        type: str
      dhcp_range:
        description:
          - The first and the last address that are given to machines without a reservation.
          - Without it only machines with a reservation get an address.
        type: list
        elements: str
      domain:
        description: The DNS domain of the network.
        type: str
      spans:
        description:
          - Whether other providers have the same network, so that a machine may move between them with its address.
          - All of them give it the same name and subnet, and each an O(networks[].gateway) of its own. Joining their
            bridges (O(networks[].bridge)) is up to the site, for example by a VLAN or VXLAN interface that a hook of
            libvirt puts into the bridge whenever the network starts.
          - Each provider gives addresses only to the machines that it has.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: A network behind the host's address
  encompass.images.network:
    networks:
      - name: encompass
        mode: nat
        subnet: 10.45.0.0/24

- name: A network that others can reach, with room for machines of other people
  encompass.images.network:
    networks:
      - name: public
        mode: route
        subnet: 192.0.2.0/24
        bridge: br-public
        dhcp_range: [192.0.2.200, 192.0.2.250]

- name: A network that this provider has in common with others
  encompass.images.network:
    networks:
      - name: servers
        mode: open
        subnet: 198.51.100.0/24
        gateway: 198.51.100.2
        bridge: br-servers
        spans: true

- name: Remove a network
  encompass.images.network:
    state: absent
    networks:
      - name: public
"""

RETURN = r"""
objects:
  description: What became of each network.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The network's name.
      type: str
      returned: always
    changed:
      description: Whether something was or would be done.
      type: bool
      returned: always
    failed:
      description: Whether it failed.
      type: bool
      returned: always
    msg:
      description: What failed and what to do about it.
      type: str
      returned: when the item failed
    steps:
      description: What was or would be done.
      type: list
      elements: str
      returned: always
    record:
      description: The network as it is, or would be.
      type: dict
      returned: always
  sample:
    - name: encompass
      changed: true
      failed: false
      steps:
        - "define network encompass: nat, 10.45.0.0/24"
        - start network encompass, now and with the host
      record:
        name: encompass
        present: true
        mode: nat
        subnet: 10.45.0.0/24
        gateway: 10.45.0.1
        domain: ""
        dhcp_range: []
"""

from ..module_utils._core.network import MODES
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS
from ..module_utils._module.networks import open_networks
from ..module_utils._module.runner import run_module

NETWORK_SPEC = {
    "name": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": list(MODES), "default": "nat"},
    "subnet": {"type": "str"},
    "gateway": {"type": "str"},
    "bridge": {"type": "str"},
    "dhcp_range": {"type": "list", "elements": "str"},
    "domain": {"type": "str"},
    "spans": {"type": "bool", "default": False},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "networks": {"type": "list", "elements": "dict", "required": True, "options": NETWORK_SPEC},
    **LIBVIRT_OPTIONS,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_networks)


if __name__ == "__main__":
    main()

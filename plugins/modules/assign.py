#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reserve machines' addresses for their clones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: assign
short_description: Assign clones to machines and reserve the machines' addresses
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A machine outlives the clones that are assigned to it, and keeps its MAC and IP addresses. This module binds
    clones to machines, in the catalog, and has the provider's networks give each machine its addresses (DHCP host
    entries), now and after a restart of the network.
  - A machine that the catalog does not know yet is made, with a free address on each of its networks.
  - An address, MAC or name that is reserved for another host is never taken away from it.
  - Options that are filled in from the catalog need not be given.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
  - encompass.images.libvirt
  - encompass.images.libvirt.workers
options:
  state:
    description:
      - V(assigned) binds the clones and reserves the addresses.
      - V(unassigned) gives the clones up. The addresses stay reserved unless O(release=true).
        With a catalog the machine goes with its clone, so they are always released.
    type: str
    choices: [assigned, unassigned]
    default: assigned
  release:
    description: With O(state=unassigned), whether the machines' addresses are given up as well.
    type: bool
    default: false
  machines:
    description: The machines, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The machine's name.
        type: str
        required: true
      clone:
        description: The clone that is assigned to it.
        type: str
      cpus:
        description: Virtual CPUs of a machine that does not exist yet; by default the least that the master needs.
        type: int
      memory_mib:
        description: Memory in MiB of a machine that does not exist yet; by default the least that the master needs.
        type: int
      networks:
        description:
          - Networks of a machine that does not exist yet, as names or as dictionaries with V(name) and
            V(addresses).
        type: list
        elements: raw
      ready:
        description:
          - How to see that the server of a machine that does not exist yet answers; see
            M(encompass.images.activate).
        type: dict
      nics:
        description:
          - The machine's network cards.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          network:
            description: The provider's network that the card is on.
            type: str
            required: true
          mac:
            description: The card's MAC address.
            type: str
            required: true
          address:
            description: The address that is reserved for it. Without one, nothing is reserved.
            type: str
          hostname:
            description:
              - The name that the network's DHCP and DNS know the address by. Of several cards on one network, the
                first gets it.
            type: str
"""

EXAMPLES = r"""
- name: Assign a clone to a machine, which is made when it does not exist
  encompass.images.assign:
    machines:
      - name: web-1
        clone: web-server-v2-1

- name: Give up the clone and the machine's addresses
  encompass.images.assign:
    state: unassigned
    release: true
    machines:
      - name: web-1

- name: Reserve an address without a catalog
  encompass.images.assign:
    machines:
      - name: web-1
        nics:
          - network: encompass
            mac: 52:54:00:1a:2b:3c
            address: 10.45.0.11
            hostname: web-1
"""

RETURN = r"""
objects:
  description: What became of each machine.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The machine's name.
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
      description: What the catalog notes.
      type: dict
      returned: always
      contains:
        nics:
          description: The machine's cards, each with network, mac, address and hostname.
          type: list
          elements: dict
          returned: success
        reserved:
          description: Whether addresses are reserved for the machine.
          type: bool
          returned: success
  sample:
    - name: web-1
      changed: true
      failed: false
      steps: ["reserve 10.45.0.11 on network encompass for 52:54:00:1a:2b:3c (web-1)"]
      record:
        nics:
          - network: encompass
            mac: 52:54:00:1a:2b:3c
            address: 10.45.0.11
            hostname: web-1
        reserved: true
"""

from ..module_utils._module.assignments import open_assignments
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS, WORKERS_OPTION
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

NIC_SPEC = {
    "network": {"type": "str", "required": True},
    "mac": {"type": "str", "required": True},
    "address": {"type": "str"},
    "hostname": {"type": "str"},
}

MACHINE_SPEC = {
    "name": {"type": "str", "required": True},
    "clone": {"type": "str"},
    "cpus": {"type": "int"},
    "memory_mib": {"type": "int"},
    "networks": {"type": "list", "elements": "raw"},
    "ready": {"type": "dict"},
    "nics": {"type": "list", "elements": "dict", "default": [], "options": NIC_SPEC},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["assigned", "unassigned"], "default": "assigned"},
    "release": {"type": "bool", "default": False},
    "machines": {"type": "list", "elements": "dict", "required": True, "options": MACHINE_SPEC},
    **OPERATIONS,
    **LIBVIRT_OPTIONS,
    **WORKERS_OPTION,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_assignments)


if __name__ == "__main__":
    main()

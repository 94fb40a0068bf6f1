#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the machines in the catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: Show the machines in the catalog
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Returns what the catalog knows of machines, and which operation holds them at the moment.
  - Each option selects the machines that have one of the values given. Options that are not given select all.
  - This is an action that runs on the control node alone, on the host that the task is for; nothing is asked of a
    provider. Where there is no catalog there are no machines.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  name:
    description: Names of machines.
    type: list
    elements: str
  function:
    description: What the servers on the machines are for.
    type: list
    elements: str
  deployment:
    description: Names of deployments.
    type: list
    elements: str
  provider:
    description: Inventory names of providers.
    type: list
    elements: str
  server:
    description: Names of servers.
    type: list
    elements: str
  clone:
    description: Names of clones.
    type: list
    elements: str
  query:
    description:
      - A JMESPath expression over the list of records. What it makes of the list is returned in place of the list.
      - It needs the Python library jmespath on the control node.
    type: str
seealso:
  - module: encompass.images.clone_info
  - module: encompass.images.report
  - plugin: encompass.images.image
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Look at the machines of a deployment
  encompass.images.machine_info:
    deployment: web
  register: web

- name: Find the addresses of everything on one provider
  encompass.images.machine_info:
    provider: hypervisor-1
    query: "[].nics[].address"
  register: addresses

- name: Wait until no operation holds the machines of a deployment
  encompass.images.machine_info:
    deployment: web
    query: "[?lease].name"
  register: held
  until: not held.machines
  retries: 30
  delay: 2
"""

RETURN = r"""
machines:
  description:
    - The records of the machines in the order of their names, or what O(query) made of them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The machine's name.
      type: str
    revision:
      description: How often the record was changed, from 1.
      type: int
    server:
      description: The server that it is, or null.
      type: str
    deployment:
      description: The deployment that it belongs to.
      type: str
    provider:
      description: The provider that it is on.
      type: str
    clone:
      description: The clone that it boots, or null.
      type: str
    uuid:
      description: Its UUID.
      type: str
    arch:
      description: Its CPU architecture.
      type: str
    firmware:
      description: The firmware that it boots with.
      type: str
    cpus:
      description: How many CPUs it has.
      type: int
    memory_mib:
      description: How much memory it has, in MiB.
      type: int
    virt_type:
      description: V(kvm) or V(qemu).
      type: str
    nics:
      description: Its network interfaces, each with network, MAC and address.
      type: list
      elements: dict
    lease:
      description: The operation that holds it, with who runs it, since and until when; null when none does.
      type: dict
"""

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the masters in the catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
module: master_info
short_description: Show the masters in the catalog, and what differs between two
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Returns what the catalog knows of masters, with their volumes, hardware and software profiles and customization.
  - Each option selects the masters that have one of the values given. Options that are not given select all.
  - This is an action that runs on the control node alone, on the host that the task is for; nothing is asked of a
    provider. Where there is no catalog there are no masters.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  name:
    description: Names of masters.
    type: list
    elements: str
  function:
    description: What a server of the master is for.
    type: list
    elements: str
  version:
    description: Versions.
    type: list
    elements: int
  state:
    description: States, of V(importing), V(unproven), V(available), V(deprecated) and V(removing).
    type: list
    elements: str
  current:
    description: With V(true) only the current version of each function, with V(false) only the others.
    type: bool
  compare:
    description: The names of two masters. What the second has otherwise than the first is returned as RV(comparison).
    type: list
    elements: str
  query:
    description:
      - A JMESPath expression over the list of records. What it makes of the list is returned in place of the list.
      - It needs the Python library jmespath on the control node.
    type: str
seealso:
  - module: encompass.images.master
  - plugin: encompass.images.image
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Look at all masters for web servers
  encompass.images.master_info:
    function: web-server
  register: web_masters

- name: Find the version that new web servers are made of
  encompass.images.master_info:
    function: web-server
    current: true
    query: "[0].name"
  register: current

- name: See what version 2 brings
  encompass.images.master_info:
    name: web-server-v2
    compare: [web-server-v1, web-server-v2]
  register: news

- name: Show the packages with another version
  ansible.builtin.debug:
    var: news.comparison.packages.changed
"""

RETURN = r"""
masters:
  description:
    - The records of the masters in the order of their names, or what O(query) made of them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The master's name.
      type: str
    revision:
      description: How often the record was changed, from 1.
      type: int
    function:
      description: What a server of this master is for.
      type: str
    version:
      description: The master's version.
      type: int
    state:
      description: V(importing), V(unproven), V(available), V(deprecated) or V(removing).
      type: str
    current:
      description: Whether it is the current version of its function.
      type: bool
    delete_when_unused:
      description: Whether it is deleted once nobody needs it.
      type: bool
    volumes:
      description: Its volumes, each with name, digest, format and sizes.
      type: list
      elements: dict
    hardware:
      description: What a machine must offer.
      type: dict
    software:
      description: The operating system, kernels, boot loader and init system that were found in it.
      type: dict
    layout:
      description: The file systems that were found in it.
      type: dict
    items:
      description: What is changed in each clone, in order.
      type: list
      elements: dict
    inputs:
      description: What a deployment may set.
      type: list
      elements: dict
    replicas:
      description: Where its volumes are, by provider and pool.
      type: list
      elements: dict
    source:
      description: The image that it was made of.
      type: dict
comparison:
  description: What the second master of O(compare) has otherwise than the first. Pairs are first, second.
  returned: when O(compare) is given
  type: dict
  contains:
    masters:
      description: The names of both.
      type: list
      elements: str
    packages:
      description:
        - V(added) and V(removed) have the version by package, V(changed) has the pair of versions by package.
        - Null when nobody has looked for the packages of both.
      type: dict
    kernels:
      description: The versions of kernels that were V(added) and V(removed).
      type: dict
    software:
      description: The pair by field, for all else that was found in them and differs.
      type: dict
    hardware:
      description: The pair by field, for what they ask of a machine and differs.
      type: dict
    virtual_bytes:
      description: Their disks as a guest sees them, V(before), V(after) and the V(difference).
      type: dict
    allocated_bytes:
      description: What their files take of a pool, V(before), V(after) and the V(difference).
      type: dict
    items:
      description:
        - The names of items V(added) and V(removed); V(changed) has the pair by field by name.
        - V(reordered) tells whether those that both have are in another order.
      type: dict
    inputs:
      description: The same of the inputs.
      type: dict
  sample:
    masters: [web-server-v1, web-server-v2]
    packages:
      added: {libnginx-mod-http-geoip2: 1:3.4-2}
      removed: {}
      changed: {nginx: [1.22.1-9, 1.22.1-9+deb12u1]}
    kernels: {added: [6.1.0-29-amd64], removed: [6.1.0-28-amd64]}
    software: {}
    hardware: {min_memory_mib: [256, 512]}
    virtual_bytes: {before: 3221225472, after: 3221225472, difference: 0}
    allocated_bytes: {before: 577638400, after: 577900544, difference: 262144}
    items: {added: [], removed: [], changed: {home page: {mode: [null, "0644"]}}, reordered: false}
    inputs: {added: [greeting], removed: [], changed: {}, reordered: false}
"""

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the masters in the catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
module: master_info
short_description: Show the masters in the catalog
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

- name: Find the newest version that can be used
  encompass.images.master_info:
    function: web-server
    state: available
    query: max_by(@, &version).name
  register: newest
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
    volumes:
      description: Its volumes, each with name, digest, format and sizes.
      type: list
      elements: dict
    hardware:
      description: What a machine must offer.
      type: dict
    software:
      description: The operating system that was found in it.
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
"""

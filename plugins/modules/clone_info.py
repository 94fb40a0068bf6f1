#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the clones in the catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clone_info
short_description: Show the clones in the catalog
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Returns what the catalog knows of clones, and whether a newer version of their master is available.
  - Each option selects the clones that have one of the values given. Options that are not given select all.
  - This is an action that runs on the control node alone, on the host that the task is for; nothing is asked of a
    provider. Where there is no catalog there are no clones.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  name:
    description: Names of clones.
    type: list
    elements: str
  function:
    description: What the clones are for.
    type: list
    elements: str
  version:
    description: Versions of the clones' masters.
    type: list
    elements: int
  master:
    description: Names of masters.
    type: list
    elements: str
  provider:
    description: Inventory names of providers.
    type: list
    elements: str
  pool:
    description: Names of pools.
    type: list
    elements: str
  stage:
    description: Stages, of V(planned), V(unassigned), V(assigned), V(attached) and V(active).
    type: list
    elements: str
  metastate:
    description: Metastates, of V(clean), V(operational), V(maintenance) and V(spent).
    type: list
    elements: str
  machine:
    description: Names of machines.
    type: list
    elements: str
  deployment:
    description: Names of deployments.
    type: list
    elements: str
  query:
    description:
      - A JMESPath expression over the list of records. What it makes of the list is returned in place of the list.
      - It needs the Python library jmespath on the control node.
    type: str
seealso:
  - module: encompass.images.clone
  - module: encompass.images.machine_info
  - plugin: encompass.images.image
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Look at the clones that nobody uses
  encompass.images.clone_info:
    stage: unassigned
  register: spare

- name: Name the servers' clones that are not of the current master
  encompass.images.clone_info:
    stage: active
    query: "[?stale].name"
  register: outdated
"""

RETURN = r"""
clones:
  description:
    - The records of the clones in the order of their names, or what O(query) made of them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The clone's name.
      type: str
    revision:
      description: How often the record was changed, from 1.
      type: int
    master:
      description: The master that it is a clone of.
      type: str
    stale:
      description: Whether another version than the clone's is the current one of its function.
      type: bool
    deployment:
      description: The deployment that it belongs to, by its machine; null for a spare clone.
      type: str
    provider:
      description: The provider that it is on.
      type: str
    pool:
      description: The pool that its volumes are in.
      type: str
    stage:
      description: What it is bound to.
      type: str
    metastate:
      description: What its content is worth.
      type: str
    method:
      description: How its volumes were made.
      type: str
    reason:
      description: Why by this method.
      type: str
    machine:
      description: The machine that it is assigned to, or null.
      type: str
    volumes:
      description: Its volumes, each with name, path, format, size and backing file.
      type: list
      elements: dict
    customization:
      description: How far it is customized; of secrets only the names.
      type: dict
    identity:
      description: What makes it unique, as it was read back.
      type: dict
    last_error:
      description: The error of the last operation on it, or null.
      type: dict
"""

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the data volumes in the catalog."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_info
short_description: Show the data volumes in the catalog
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Returns what the catalog knows of data volumes, also of those that outlived their server.
  - Each option selects the volumes that have one of the values given. Options that are not given select all.
  - This is an action that runs on the control node alone, on the host that the task is for; nothing is asked of a
    provider. Where there is no catalog there are no volumes.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  name:
    description: Names of volumes, like V(web-1.db).
    type: list
    elements: str
  server:
    description: Names of servers.
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
  pool:
    description: Names of pools.
    type: list
    elements: str
  stage:
    description: Stages, of V(planned) and V(available).
    type: list
    elements: str
  query:
    description:
      - A JMESPath expression over the list of records. What it makes of the list is returned in place of the list.
      - It needs the Python library jmespath on the control node.
    type: str
seealso:
  - module: encompass.images.volume
"""

EXAMPLES = r"""
- name: Find the volumes that no machine has
  encompass.images.volume_info:
    query: "[?!attached].name"
  register: kept
"""

RETURN = r"""
volumes:
  description:
    - The records of the volumes in the order of their names, or what O(query) made of them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The volume's name.
      type: str
    revision:
      description: How often the record was changed, from 1.
      type: int
    server:
      description: The server that it belongs to, whether that is there or not.
      type: str
    deployment:
      description: The deployment of that server.
      type: str
    attached:
      description: Whether the machine of its server has it.
      type: bool
    provider:
      description: The provider that it is on.
      type: str
    pool:
      description: The pool that it is in.
      type: str
    path:
      description: Its file.
      type: str
    format:
      description: The file's format.
      type: str
    virtual_bytes:
      description: Its size as the guest sees it.
      type: int
    bus:
      description: The bus that the machine sees it on.
      type: str
    serial:
      description: The serial number that the machine sees.
      type: str
    filesystem:
      description: The file system that it was made with, or null.
      type: str
    label:
      description: The label of that file system, or null.
      type: str
    stage:
      description: V(planned) until it is made, V(available) then.
      type: str
    last_error:
      description: What failed last, or null.
      type: dict
"""

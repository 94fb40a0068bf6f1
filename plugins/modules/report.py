#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show the servers
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Shows a table of the servers in the catalog with their function, master, machine, provider, address and state.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  deployments:
    description: Show the servers of these deployments only; all when empty.
    type: list
    elements: str
    default: []
  probe:
    description: Ask each active server that has a C(ready) condition, from the controller, whether it answers now.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show the web servers
  encompass.images.report:
    deployments: [web]
"""

RETURN = r"""
servers:
  description: The rows of the table.
  returned: success
  type: list
  elements: dict
  sample:
    - server: web-1
      function: web-server
      master: web-server-v1
      machine: web-1
      provider: hv1
      address: 10.45.0.2
      state: active
      answer: HTTP 200
"""

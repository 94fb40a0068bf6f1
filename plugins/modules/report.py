#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show the servers, or the masters
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Shows a table of the servers in the catalog with their function, master, machine, provider, address and state.
  - Or shows a table of the masters with their function, version, state, operating system, size, clones and providers.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  about:
    description: What to show.
    type: str
    choices: [servers, masters]
    default: servers
  functions:
    description: Show the masters of these functions only; all when empty.
    type: list
    elements: str
    default: []
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

- name: Show the versions of the web server
  encompass.images.report:
    about: masters
    functions: [web-server]
"""

RETURN = r"""
servers:
  description: The rows of the table.
  returned: when servers are shown
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
masters:
  description: The rows of the table.
  returned: when masters are shown
  type: list
  elements: dict
  sample:
    - name: web-server-v2
      function: web-server
      version: 2
      current: true
      state: available
      delete_when_unused: false
      os: Debian GNU/Linux 12 (bookworm)
      allocated_bytes: 577638400
      clones: 3
      providers: [hv1, hv2]
"""

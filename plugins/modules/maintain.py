#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintain
short_description: Move clones to maintenance
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A clone in maintenance is being changed into the next version of its master. Capturing it, by
    M(encompass.images.capture), is the only way out; until then it runs, stops and starts as before.
  - Only clones that have run are moved; nothing changes on a provider.
  - This is an action that runs on the controller alone. All clones are moved, or none.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  clones:
    description: Names of clones, or of the servers that run them.
    type: list
    elements: str
    default: []
  deployments:
    description:
      - Deployments that are there for maintenance alone. All of their clones are moved, and
        P(encompass.images.capture#role) takes the deployment away when it has captured them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Move the clone that a server runs to maintenance
  encompass.images.maintain:
    clones: [web-3]
"""

RETURN = r"""
servers:
  description: The clones and their servers.
  returned: success
  type: list
  elements: dict
  sample:
    - clone: web-server-v1-4
      server: web-server-maintenance-1
      address: 10.45.0.5
      provider: hv1
      master: web-server-v1
      stage: active
"""

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prove
short_description: Have captured masters prove themselves
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A master that was captured with O(encompass.images.capture#module:prove) is V(unproven). It becomes V(available)
    when all servers of a deployment of it are active, according to the catalog. Otherwise it stays as it is, with what
    its server failed of as C(last_error), and the task fails.
  - A master of any other state is left alone.
  - Until that deployment is retired, the master's record names it (C(proved_by)), so that a run that is cut off leaves
    nothing behind.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  proofs:
    description: The masters, each with a deployment of it.
    type: list
    elements: dict
    required: true
    suboptions:
      master:
        description: The master's name.
        type: str
        required: true
      deployment:
        description: The deployment whose servers are to be active.
        type: str
        required: true
  ended:
    description: Forget by which deployments the masters have proved themselves, where those are gone.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Make the master available if its server is active
  encompass.images.prove:
    proofs:
      - master: web-server-v2
        deployment: web-server-proof
"""

RETURN = r"""
problems:
  description: A sentence for each master that has not proved itself.
  returned: always
  type: list
  elements: str
"""

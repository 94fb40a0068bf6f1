#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_capture
short_description: Plan what a capture needs besides the capture itself
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Refuses what cannot be captured before any guest is stopped. Then it says which machines are to be stopped, and
    once the clones are captured, which masters have yet to prove themselves, and which deployments were there for the
    maintenance alone.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  clones:
    description: Names of clones, or of the servers that run them.
    type: list
    elements: str
    required: true
  proof:
    description:
      - Fields of the deployment of one server by which a master proves itself, as M(encompass.images.place) takes
        them. What is not given is as it was declared for the server in maintenance.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See what is to be done
  encompass.images.plan_capture:
    clones: [web-server-maintenance-1]
  register: plan
"""

RETURN = r"""
work:
  description: By provider the machines to stop and the clones to capture.
  returned: success
  type: dict
  sample:
    hv1:
      deactivate: [{name: web-server-maintenance-1}]
      capture: [{name: web-server-v1-4}]
masters:
  description: The masters that the clones have become, by clone.
  returned: success
  type: dict
proofs:
  description: The masters that have yet to prove themselves, each with the deployment to do it by.
  returned: success
  type: list
  elements: dict
left:
  description:
    - The masters that have proved themselves, each with the deployment that they did it by, and whether that is still
      there; what a run does before it ends, unless it is cut off.
  returned: success
  type: list
  elements: dict
retire:
  description: Deployments that were there for the maintenance of clones that are spent now.
  returned: success
  type: list
  elements: str
"""

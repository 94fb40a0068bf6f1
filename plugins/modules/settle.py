#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: settle
short_description: End what place began, or look whether it goes as planned
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Releases the deployments that M(encompass.images.place) holds, and fails when servers of theirs are not active,
    saying why.
  - With O(expected) it looks between two stages of the work whether the clones are where they have to be; as long as
    they are, the deployments stay held.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  operations:
    description: The operations that M(encompass.images.place) returned.
    type: list
    elements: str
    required: true
  expected:
    description: The stage that each clone must have by now, by the clone's name.
    type: dict
  refused:
    description: Servers that M(encompass.images.place) refused to plan, and why. They count as not as planned.
    type: dict
  tolerate:
    description: Return the problems instead of failing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Release the deployments
  encompass.images.settle:
    operations: "{{ plan.operations }}"

- name: Go on only when the first wave serves
  encompass.images.settle:
    operations: "{{ plan.operations }}"
    expected: "{{ plan.stages[0].expected }}"
"""

RETURN = r"""
problems:
  description: A sentence for each server that is not as planned.
  returned: always
  type: list
  elements: str
unsettled:
  description: The machines of these servers.
  returned: always
  type: list
  elements: str
"""

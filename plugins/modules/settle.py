#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: settle
short_description: End what place began
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Releases the deployments that M(encompass.images.place) holds, and fails when servers of theirs are not active,
    saying why.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  operations:
    description: The operations that M(encompass.images.place) returned.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Release the deployments
  encompass.images.settle:
    operations: "{{ plan.operations }}"
"""

RETURN = r"""
problems:
  description: A sentence for each server that is not as planned.
  returned: always
  type: list
  elements: str
"""

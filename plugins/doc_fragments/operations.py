# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of all verbs that may be steps of something larger."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment V(operations)."""

    DOCUMENTATION = r"""
options:
  operations:
    description:
      - Ids of larger operations that this is a step of, as M(encompass.images.place) returns them.
      - Objects that they hold may be worked on, and an item that fails does not fail the task; the larger operation
        goes on with the others and fails at its end.
      - This is for the action plugin; the module itself does not look at it.
    type: list
    elements: str
    default: []
"""

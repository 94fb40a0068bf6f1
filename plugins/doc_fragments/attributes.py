# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules say of themselves."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments V(attributes) and its variants."""

    # A module with an action plugin that completes its items from the catalog
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Says what would be done and touches neither the provider nor the catalog.
  diff_mode:
    support: full
    description: Shows what is there and what will be.
  idempotent:
    support: full
    description: When run twice, also after a run that was killed, the second run changes nothing.
"""

    # Modules that only look
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Only looks, in check mode as otherwise.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
"""

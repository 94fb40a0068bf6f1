# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move machines between providers."""

from __future__ import annotations

from ..plugin_utils._actions.verb_action import VerbAction


class ActionModule(VerbAction):
    """The steps of a migration, each on a batch of machines of one provider."""

    module = "migrate"
    default_state = "migrated"

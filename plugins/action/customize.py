# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Customize clones offline."""

from __future__ import annotations

from ..plugin_utils._actions.verb_action import VerbAction


class ActionModule(VerbAction):
    """The life cycle's customize, on a batch of clones."""

    module = "customize"
    default_state = "present"
    is_logged = False

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What removes remains, beside others who may get just what is removed."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.action import sweep
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict

from tests.contract.test_action_leases import make_action

REMAINS = {"type": "reservation", "network": "lan", "mac": "52:54:00:00:00:05", "address": "10.0.0.5"}
MACHINE = {"server": "web-1", "uuid": "u", "nics": [{"mac": REMAINS["mac"], "address": REMAINS["address"]}]}


def make_sweep(store, *, meanwhile=lambda catalog: None):
    """Return the action, and the list in which the provider's work is noted; ``meanwhile`` is done beside it."""
    catalog, done = store.open(), []
    action = make_action(sweep, catalog, remains=[REMAINS])

    def execute(**_call):
        meanwhile(catalog)
        done.append("removed")
        return {"changed": True}

    action._execute_module = execute
    return action, done


def assign(catalog):
    """Give the address to a new server."""
    with catalog.transaction() as transaction:
        transaction.put("machine", "web-1", MACHINE)


def test_what_belongs_to_nobody_goes(store):
    action, done = make_sweep(store)
    assert (action.perform(), done) == ({"changed": True}, ["removed"])


def test_what_belongs_to_somebody_by_now_stays(store):
    action, done = make_sweep(store)
    assign(action.catalog)
    with pytest.raises(Conflict, match=r"^reservation 10\.0\.0\.5: it belongs to machine web-1\. Verify again"):
        action.perform()
    assert done == []


def test_whoever_got_meanwhile_what_was_removed_is_named(store):
    action, done = make_sweep(store, meanwhile=assign)
    with pytest.raises(Conflict, match=r"it belongs to machine web-1 since it was to be removed, and may lack it\."):
        action.perform()
    assert done == ["removed"]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify as a playbook runs it, beside others who are at work."""

from __future__ import annotations

import json
import time

from ansible_collections.encompass.images.tests.unit.plugins.plugin_utils.planning.world_of_tests import make_seen

from tests.contract.conftest import Store


def verify(project, seen, *, fail_on):
    """Return what a run prints that finds something."""
    options = {"observed": {"h1": seen}, "fail_on": fail_on}
    return project.play(f"    - encompass.images.verify: {json.dumps(options)}\n", succeeds=False)


def test_what_was_deleted_since_the_providers_were_asked_is_left_out(project):
    catalog = Store(project.url).open()
    path = "/pool/clones/{}/root.qcow2"
    files = [{"path": path.format(name), "clone": name} for name in ("early-v1-1", "late-v1-1")]
    with catalog.transaction() as transaction:
        for file in files:
            transaction.put("clone", file["clone"], {"machine": None})
        transaction.delete("clone", "early-v1-1")
    time.sleep(0.01)  # a store's clock may tick in milliseconds
    seen = {**make_seen(), "asked_at": catalog.now(), "volumes": files}
    with catalog.transaction() as transaction:
        transaction.delete("clone", "late-v1-1")
    output = verify(project, seen, fail_on="warning")
    assert "clone early-v1-1 was deleted" in output
    assert "clone late-v1-1 was deleted" not in output


def test_what_is_under_way_is_left_out(project, other):
    catalog = Store(project.url).open()
    with catalog.transaction() as transaction:
        for name in ("busy", "late", "left"):
            transaction.put("function", name, {"current": 3})
    catalog.begin("deploy", [("function", "busy")], owner=other)
    time.sleep(0.01)
    seen = {**make_seen(), "asked_at": catalog.now()}
    with catalog.transaction() as transaction:
        transaction.put("function", "late", {"current": 4})
    output = verify(project, seen, fail_on="error")
    assert "function left: its current version 3 is not there" in output
    assert "function busy: its" not in output
    assert "function late: its" not in output
    assert "not judged, because somebody is at work on them: function busy, function late" in output

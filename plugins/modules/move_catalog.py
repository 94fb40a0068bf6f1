#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: move_catalog
short_description: Move the catalog to another store
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Copies all that a catalog holds (records with their revisions, history, journal, facts) into an empty one, compares
    the copy with what it was made of, and leaves behind only the word where it went. A control node that still names
    the old one is told so, and changes nothing.
  - Refuses while anything is busy, and when the new place holds something already.
  - Killed at any point and run again, it comes to the same end. Once all is moved, it changes nothing.
  - In check mode it does all of this with scratch copies, and touches neither store.
  - This is an action that runs on the controller alone. Let it be the last task of a run whose fact cache is the
    catalog that it moves.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  source:
    description: The catalog to move, as a URL or a path. By default the one that fact cache and environment name.
    type: str
  target:
    description: Where it goes to, as a URL or a path.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Move the catalog into a database
  encompass.images.move_catalog:
    source: /srv/encompass/catalog.sqlite
    target: postgresql://encompass@db.example:5432/encompass?sslmode=verify-full
"""

RETURN = r"""
object_count:
  description: How many records the catalog has there.
  returned: success
  type: int
history_count:
  description: How many entries of history.
  returned: success
  type: int
operation_count:
  description: How many operations are in its journal.
  returned: success
  type: int
fact_count:
  description: How many facts of hosts.
  returned: success
  type: int
"""

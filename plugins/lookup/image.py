# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of the catalog, selected by tags and JMESPath."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image
short_description: Records of masters, clones, machines and deployments
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Gives the records of one kind of object from the catalog, sorted by name.
  - O(name) and O(tags) are looked up in an index. O(query) then works on what they left.
  - Use C(lookup) rather than C(query), which would wrap the result into one more list.
  - Reading never makes a catalog. Where none is, there are no records.
  - In check mode the objects that the run has planned so far are seen too.
options:
  _terms:
    description: The kinds of objects, one result for each.
    type: list
    elements: str
    required: true
    choices:
      - master
      - clone
      - machine
      - pool
      - provider
      - deployment
      - function
      - profile
  name:
    description: Gives only the record of this name.
    type: str
  tags:
    description:
      - Gives only records with all these values. A list of values means any of them.
      - A master has C(function), C(version), C(state).
      - A clone has C(function), C(version), C(master), C(provider), C(pool), C(stage), C(metastate), C(machine).
      - A machine has C(provider), C(server), C(deployment), C(clone).
      - A pool has C(pool), C(provider). A provider has C(virt_type), C(arch). A deployment has C(function), C(version).
      - A function (its C(current) version) and a profile (the C(packages) in the master of the same name) have none.
    type: dict
    default: {}
  query:
    description:
      - A JMESPath expression over the list of records. It may give anything, a number for example.
      - Needs the Python library C(jmespath) on the control node.
    type: str
  catalog_url:
    description: Where the catalog is, if it is not where the fact cache and the environment say.
    type: str
seealso:
  - name: JMESPath
    description: The language of O(query).
    link: https://jmespath.org/specification.html
"""

EXAMPLES = r"""
- name: Show the masters for web servers
  ansible.builtin.debug:
    msg: "{{ lookup('encompass.images.image', 'master', tags={'function': 'web-server', 'state': 'available'}) }}"

- name: Show the newest version
  ansible.builtin.debug:
    msg: "{{ lookup('encompass.images.image', 'master', tags={'function': 'web'}, query='max_by(@, &version).name') }}"

- name: Show what runs with more than 4 GiB
  ansible.builtin.debug:
    msg: "{{ lookup('encompass.images.image', 'machine', query='[?memory_mib > `4096`].[server, provider]') }}"

- name: Count the spare clones
  ansible.builtin.debug:
    msg: "{{ lookup('encompass.images.image', 'clone', tags={'stage': 'unassigned'}, query='length(@)') }}"
"""

RETURN = r"""
_raw:
  description:
    - For each kind the list of its records, or what O(query) made of it.
    - A record holds the object's fields with C(kind), C(name) and C(revision).
  type: list
  elements: raw
"""

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.connect import connect_catalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.query import compile_query
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import Catalog


class LookupModule(LookupBase):
    """Finds records."""

    def run(self, terms: list[str], variables: t.Any = None, **kwargs: t.Any) -> list[t.Any]:
        """Return one result for each kind."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            select = compile_query(self.get_option("query"))
            catalog = connect_catalog(self.get_option("catalog_url"), create=False)
            return [select(self._find_records(catalog, str(kind))) for kind in terms]
        except EncompassError as exc:
            raise AnsibleError(str(exc)) from None

    def _find_records(self, catalog: Catalog, kind: str) -> list[dict[str, t.Any]]:
        rows = catalog.find(kind, **self.get_option("tags"))
        name = self.get_option("name")
        return [
            {**row.body, "kind": row.kind, "name": row.name, "revision": row.revision}
            for row in rows
            if name in (None, row.name)
        ]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the catalog as inventory hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: catalog
short_description: Servers of the catalog as inventory hosts
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Makes a host of each server in the catalog of encompass.images. A server is a machine of a deployment with a clone.
  - Hosts are in the groups C(function_<function>), C(deployment_<name>), C(master_<name>), C(provider_<name>) and
    C(state_<state>); those whose clone is in maintenance are in C(maintenance) too. Characters that a group name must
    not have become underscores.
  - A server has the variables C(ansible_host) (its first address), C(encompass_server), C(encompass_machine) and
    C(encompass_provider), and those given as C(vars) in its deployment. Its record is found in
    C(ansible_facts.encompass) when the catalog is the fact cache too.
  - The file must be named C(catalog.yml), or end with that, or the same with C(.yaml).
  - Reading never makes a catalog. Where none is, the inventory is empty.
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices:
      - encompass.images.catalog
  catalog_url:
    description:
      - Where the catalog is, if it is not where the fact cache and the environment say. A relative path is taken from
        the directory of this file.
    type: str
  objects:
    description:
      - What to make hosts of. Others than servers are seldom wanted, since they cannot be logged in to.
      - Where two have one name, the first kind in the order of the choices is taken.
    type: list
    elements: str
    choices:
      - servers
      - machines
      - clones
      - masters
    default:
      - servers
  states:
    description:
      - In which states a server is listed. The state is the stage of its clone.
      - Other kinds of objects are listed in any state.
    type: list
    elements: str
    default:
      - active
  filters:
    description:
      - Lists only what has all these values. A list of values means any of them.
      - Known are C(function), C(version), C(deployment), C(master), C(provider), C(state), C(server), C(machine),
        C(clone), C(pool) and C(metastate).
    type: dict
    default: {}
notes:
  - In O(compose), O(groups) and O(keyed_groups) the view of the record is C(encompass). They cost about ten times as
    much as the groups that are made anyway.
"""

EXAMPLES = r"""
# catalog.yml: the active servers of the catalog that ansible.cfg names as fact cache
plugin: encompass.images.catalog

---
# prod.catalog.yml: only web servers, with a group for each size
plugin: encompass.images.catalog
catalog_url: sqlite:///srv/encompass/catalog.sqlite
filters:
  function:
    - web-server
    - web-proxy
keyed_groups:
  - key: encompass.machine.memory_mib | string
    prefix: memory
compose:
  ansible_user: "'admin'"
"""

import re
import typing as t
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError, InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.connect import connect_catalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.projection import FIELDS, View, project_all
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.trust import mark_templates_untrusted

_KINDS = {"servers": "server", "machines": "machine", "clones": "clone", "masters": "master"}
_GROUP_FIELDS = ("function", "deployment", "master", "provider", "state")
_FORBIDDEN = re.compile("[^A-Za-z0-9_]")


class InventoryModule(BaseInventoryPlugin, Constructable):
    """Lists the catalog's servers."""

    NAME = "encompass.images.catalog"

    def verify_file(self, path: str) -> bool:
        """Tell whether the file is named as this plugin's files are."""
        return super().verify_file(path) and path.endswith(("catalog.yml", "catalog.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Add hosts, groups and variables."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            views = self._select_views(Path(path).absolute().parent)
        except EncompassError as exc:
            raise AnsibleParserError(str(exc)) from None
        for name, view in views.items():
            self._add_view(name, view)

    def _select_views(self, directory: Path) -> dict[str, View]:
        # check_mode is false on purpose: a server that is only planned is no host to run tasks on.
        catalog = connect_catalog(
            self.get_option("catalog_url"), create=False, check_mode=False, base_dir=str(directory)
        )
        filters = _check_filters(self.get_option("filters"))
        states = set(self.get_option("states"))
        selected: dict[str, View] = {}
        kinds = [kind for wanted, kind in _KINDS.items() if wanted in self.get_option("objects")]
        with catalog.snapshot():
            views = [view for kind in kinds for view in project_all(catalog, kind)]
        for view in views:
            if (view.kind != "server" or view.state in states) and _matches(view, filters):
                selected.setdefault(view.name, view)
        return selected

    def _add_view(self, host: str, view: View) -> None:
        self.inventory.add_host(host)
        for name, value in _list_variables(view).items():
            self.inventory.set_variable(host, name, mark_templates_untrusted(value))
        for field in _GROUP_FIELDS:
            value = view.get_field(field)
            if value is not None:
                self.inventory.add_child(self.inventory.add_group(_name_group(field, value)), host)
        if view.get_field("metastate") == "maintenance":
            self.inventory.add_child(self.inventory.add_group("maintenance"), host)
        if any(self.get_option(name) for name in ("compose", "groups", "keyed_groups")):
            self._construct(host, view)

    def _construct(self, host: str, view: View) -> None:
        variables = {**self.inventory.get_host(host).get_vars(), "encompass": mark_templates_untrusted(view.to_facts())}
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)


def _list_variables(view: View) -> dict[str, t.Any]:
    """Return the host's variables; what the user set may replace the address, but not the names."""
    names = {
        "encompass_server": view.get_field("server"),
        "encompass_machine": view.get_field("machine"),
        "encompass_provider": view.get_field("provider"),
    }
    address = {"ansible_host": view.address} if view.address else {}
    return {**address, **view.variables, **{name: value for name, value in names.items() if value is not None}}


def _name_group(field: str, value: t.Any) -> str:
    return f"{field}_{_FORBIDDEN.sub('_', str(value))}"


def _check_filters(filters: t.Mapping[str, t.Any]) -> dict[str, set[str]]:
    unknown = sorted(set(filters) - set(FIELDS))
    if unknown:
        raise InvalidRequest(
            "filters", f"there is no field {unknown[0]!r}", remedy=f"Use one of: {', '.join(sorted(FIELDS))}."
        )
    return {field: _to_values(value) for field, value in filters.items()}


def _to_values(value: t.Any) -> set[str]:
    return {str(item) for item in value} if isinstance(value, (list, tuple)) else {str(value)}


def _matches(view: View, filters: t.Mapping[str, set[str]]) -> bool:
    return all(str(view.get_field(field)) in values for field, values in filters.items())

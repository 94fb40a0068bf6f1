# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fact cache that is the catalog: plain facts, and a read-only view of each object."""

from __future__ import annotations

DOCUMENTATION = r"""
name: catalog
short_description: Facts kept in the catalog, with a read-only view of each server
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Keeps facts in the catalog of encompass.images, where the records of masters, clones and machines are kept too.
  - Facts are stored per top-level key, so that runs at the same time do not lose each other's facts.
  - Of a host that is a server (or a machine, clone or master), C(ansible_facts.encompass) is a view of its record,
    made when it is read. Nothing that a play does to facts changes the record, neither C(set_fact) nor C(clear_facts).
  - Facts do not expire.
  - In check mode facts go to a scratch copy that is gone after the run.
  - Values encrypted with Ansible Vault are not stored; a warning names them. This needs ansible-core 2.19 or later,
    since before that a decrypted value cannot be told from any other.
options:
  _uri:
    description:
      - Where the catalog is, as C(sqlite:///path/of/catalog.sqlite) or simply a path. A relative path is taken from the
        directory of C(ansible.cfg).
      - Several control nodes keep it in PostgreSQL, as C(postgresql://user@host:5432/database?sslmode=verify-full).
        That needs the Python library psycopg 3. The password is given as libpq takes it, by a password file or the
        environment variable E(PGPASSWORD); a URL that holds one is refused.
      - The environment variable E(ENCOMPASS_CATALOG_URL) is stronger than the other places. If none is set, the
        catalog is C(~/.local/state/encompass/catalog.sqlite).
      - The directory of a file must be on a local file system. It and the file are made, readable by their owner only,
        when something is written for the first time.
    type: str
    env:
      - name: ANSIBLE_CACHE_PLUGIN_CONNECTION
      - name: ENCOMPASS_CATALOG_URL
    ini:
      - section: defaults
        key: fact_caching_connection
notes:
  - Read the view as C(hostvars['web-1'].ansible_facts.encompass). The short form without C(ansible_facts) ends with
    ansible-core 2.24.
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# fact_caching = encompass.images.catalog
# fact_caching_connection = state/catalog.sqlite

- name: Show what web-1 is
  ansible.builtin.debug:
    msg: "{{ hostvars['web-1'].ansible_facts.encompass }}"
# function: web-server, deployment: web, master: web-server-v1, version: 1, provider: kvm-1, address: 10.0.0.11,
# state: active, machine: {name: web-1, cpus: 1, ...}, clone: {name: web-server-v1-1, stage: active, ...}

- name: Tell web servers of the old version
  ansible.builtin.debug:
    msg: "{{ inventory_hostname }} is to be updated"
  when: ansible_facts.encompass.version < 2
"""

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.cache import BaseCacheModule
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError, InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.connect import connect_catalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.json import to_plain, to_text
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.projection import list_names, project
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import Catalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.trust import (
    mark_templates_untrusted,
    mark_untrusted,
)

PROJECTION = "encompass"


class CacheModule(BaseCacheModule):
    """Facts in the catalog; what cannot be opened is an error at the first use.

    Not in the constructor: Ansible takes an error there for a reason to go on with the memory cache.
    """

    _persistent = False  # the values are plain already, and the keys are host names that other tools read

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._url: str | None = kwargs.get("_uri")  # given by those that use this as a cache of their own
        # The host read last and the texts of its facts: what differs from them at the next write, this run changed.
        self._last_read: tuple[str, dict[str, str]] = ("", {})

    def get(self, key: str) -> dict[str, t.Any]:
        """Return the facts of the host with the view of its record; raise KeyError when there are neither."""
        with _TranslatedErrors():
            catalog = self._open(create=False)
            with catalog.snapshot():
                facts = catalog.facts_get(key)
                view = project(catalog, key)
        self._last_read = (key, {name: to_text(value) for name, value in facts.items()})
        if not facts and view is None:
            raise KeyError(key)
        projection = {}
        if view is not None:
            projection = {PROJECTION: mark_templates_untrusted(view.to_facts())}
        return {**mark_untrusted(facts), **projection}

    def set(self, key: str, value: t.Mapping[str, t.Any]) -> None:
        """Write the facts that this run changed."""
        host, texts = self._last_read
        known = texts if host == key else {}
        plain = self._drop_unstorable(key, value)
        changed = {name: fact for name, fact in plain.items() if known.get(name) != to_text(fact)}
        if changed:
            with _TranslatedErrors():
                self._open(create=True).facts_set(key, changed)

    def keys(self) -> list[str]:
        """Return all names for which there is something to get."""
        with _TranslatedErrors():
            catalog = self._open(create=False)
            with catalog.snapshot():
                return sorted({*catalog.facts_hosts(), *list_names(catalog)})

    def contains(self, key: t.Any) -> bool:
        """Tell whether there is something to get."""
        with _TranslatedErrors():
            catalog = self._open(create=False)
            with catalog.snapshot():
                return bool(catalog.facts_get(str(key))) or project(catalog, str(key)) is not None

    def delete(self, key: str) -> None:
        """Delete the host's facts; its record stays."""
        with _TranslatedErrors():
            # Opened for writing only if there is something to delete, so that nothing is made by deleting.
            if self._open(create=False).facts_get(key):
                self._open(create=True).facts_delete(key)

    def flush(self) -> None:
        """Delete the facts of all hosts; the records stay."""
        with _TranslatedErrors():
            hosts = self._open(create=False).facts_hosts()
        for host in hosts:
            self.delete(host)

    def copy(self) -> dict[str, dict[str, t.Any]]:
        """Return everything; ansible-core up to 2.18 demands this method."""
        return {name: self.get(name) for name in self.keys()}

    def _open(self, *, create: bool) -> Catalog:
        return connect_catalog(self._url, create=create)

    def _drop_unstorable(self, host: str, facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        plain = {}
        for name, value in facts.items():
            if name == PROJECTION:
                continue
            try:
                plain[str(name)] = to_plain(value, str(name))
            except InvalidRequest as exc:
                # An error here would end the whole run after the work has been done.
                self._display.warning(f"Fact of {host} not stored: {exc}")
        return plain


class _TranslatedErrors:
    """Turn the catalog's errors into Ansible's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: t.Any, error: BaseException | None, _traceback: t.Any) -> None:
        if isinstance(error, EncompassError):
            # Without a cause, which Ansible would print again after the sentence that it is made of.
            raise AnsibleError(f"The fact cache cannot be used: {error}") from None

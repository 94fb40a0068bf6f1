# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the catalog that Ansible's configuration names. Private to this collection; may change without notice.

All front doors (cache, inventory, lookup, actions) come through here, so that they never open different catalogs.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible import constants as C
from ansible import context

from .base import BaseCatalog
from .location import resolve_url
from .store import open_catalog

CACHE_PLUGIN = "encompass.images.catalog"

_opened: dict[tuple[str, bool, str | None], BaseCatalog] = {}


def connect_catalog(
    explicit: str | None = None, *, create: bool = True, check_mode: bool | None = None, base_dir: str | None = None
) -> BaseCatalog:
    """Return the catalog, the same one for each call of a process; nothing is opened before the first use.

    ``check_mode`` None means that of the run. In check mode all use one scratch copy in the run's temporary directory.
    A relative path in ``explicit`` is taken from ``base_dir``, else from the directory of ``ansible.cfg``.
    """
    checking = bool(context.CLIARGS.get("check")) if check_mode is None else check_mode
    scratch_dir = str(C.DEFAULT_LOCAL_TMP) if checking else None
    place = (find_url(explicit, base_dir), create, scratch_dir)
    if place not in _opened:
        _opened[place] = open_catalog(place[0], create=create, scratch_dir=scratch_dir)
    return _opened[place]


def find_url(explicit: str | None = None, base_dir: str | None = None) -> str:
    """Return the URL of the catalog that is used."""
    connection: t.Any = C.CACHE_PLUGIN_CONNECTION if C.CACHE_PLUGIN == CACHE_PLUGIN else None
    config_dir = str(Path(C.CONFIG_FILE).absolute().parent) if C.CONFIG_FILE else None
    return resolve_url(explicit, connection=connection, project_dir=(explicit and base_dir) or config_dir)

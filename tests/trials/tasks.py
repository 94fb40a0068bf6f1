# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workshop does beside modules: parts of them that alone are quick enough to fail at every call.

Each answers as a module does.
"""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import ansible_collections.encompass.images.plugins.module_utils._drivers.seed_disk as seed_disks
from ansible_collections.encompass.images.plugins.module_utils._core.customization_journal import Notebook
from ansible_collections.encompass.images.plugins.module_utils._core.disk_passes import CHUNK_BYTES
from ansible_collections.encompass.images.plugins.module_utils._core.errors import EncompassError
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import FILE, FileState
from ansible_collections.encompass.images.plugins.module_utils._drivers.private_files import private_directory
from ansible_collections.encompass.images.plugins.module_utils._drivers.sparse_copies import open_copy
from ansible_collections.encompass.images.plugins.module_utils._drivers.undo import UndoStore
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite import SqliteCatalog
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite_schema import MIGRATIONS

Answer = dict[str, t.Any]
NEXT = (*MIGRATIONS, "CREATE TABLE extra (a TEXT);\nALTER TABLE object ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")


def _answering(work: t.Callable[[], object]) -> Answer:
    try:
        work()
    except EncompassError as exc:
        return {"failed": True, **exc.to_record()}
    return {"failed": False}


def write_seed(path: str, files: dict[str, str]) -> Answer:
    """Write a NoCloud disk."""

    def work() -> None:
        with private_directory() as directory:
            seed_disks.write_seed(path, files, directory, subject="clone web-v1-1")

    return _answering(work)


def keep_originals(directory: str) -> Answer:
    """Keep what an item replaces, and the journal that names it."""

    def work() -> None:
        store = UndoStore(directory, "clone web-v1-1")
        state = FileState(FILE, content=b"original", mode=0o644, uid=0, gid=0)
        saved = {path: store.save_original(path, state) for path in ("/etc/motd", "/etc/hosts")}
        store.replace(Notebook(originals=saved))

    return _answering(work)


def copy_sparsely(path: str) -> Answer:
    """Write the copy of a disk, chunk by chunk."""

    def work() -> None:
        with open_copy(Path(path), 3 * CHUNK_BYTES, "clone web-v1-1") as copy:
            copy.write(0, b"a" * CHUNK_BYTES)
            copy.write(2, bytes(CHUNK_BYTES // 2) + b"b" * (CHUNK_BYTES // 2))
            copy.verify()

    return _answering(work)


def put_record(path: str) -> Answer:
    """Write a record; the catalog is made when it is not there."""
    return _on_catalog(path, lambda catalog: _put(catalog, "web-v2"))


def begin_and_commit(path: str) -> Answer:
    """Lease an object, and commit it with a changed record."""

    def work(catalog: SqliteCatalog) -> None:
        # A process that was here before has died with its lease, when this is done again.
        operation = catalog.begin("clone", [("master", "web-v1")], owner=current_owner(run="trial"))
        catalog.commit(operation.id, {("master", "web-v1"): {"a": 2}})

    return _on_catalog(path, work)


def set_facts(path: str) -> Answer:
    """Write a host's facts."""
    return _on_catalog(path, lambda catalog: catalog.facts_set("web-1", {"motto": "x" * 20_000}))


def migrate_schema(path: str) -> Answer:
    """Write a record with the tables of a release to come."""
    return _on_catalog(path, lambda catalog: _put(catalog, "web-v2"), NEXT)


def _on_catalog(
    path: str, work: t.Callable[[SqliteCatalog], object], migrations: t.Sequence[str] = MIGRATIONS
) -> Answer:
    def run() -> None:
        with contextlib.closing(SqliteCatalog(Path(path), migrations=migrations)) as catalog:
            work(catalog)

    return _answering(run)


def _put(catalog: SqliteCatalog, name: str) -> None:
    with catalog.transaction() as transaction:
        transaction.put("master", name, {"text": "x" * 9000})

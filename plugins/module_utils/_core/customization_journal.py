# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a clone's customization as JSON. Pure; private to this collection."""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from .customization import Entry, IdentityEntry, Journal
from .guest_files import FileState
from .identity import Identity

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Saved:
    """A file's original: its state but for the content, which is in the file ``stored`` (None when it has none)."""

    state: FileState
    stored: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Notebook:
    """All that is kept of a clone: the journal, and by path the originals of the files that were changed.

    ``written`` are digests of what was made of these files: whoever finds another one knows that they changed since.
    """

    journal: Journal = dataclasses.field(default_factory=Journal)
    originals: t.Mapping[str, Saved] = dataclasses.field(default_factory=dict)
    written: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def dump_notebook(notebook: Notebook) -> dict[str, t.Any]:
    """Return the notebook as JSON values."""
    journal = notebook.journal
    identity = journal.identity
    return {
        "format": FORMAT,
        "identity": None
        if identity is None
        else {"identity": identity.identity.to_record(), "state": identity.state, "paths": list(identity.paths)},
        "entries": [dataclasses.asdict(entry) for entry in journal.entries],
        "seed_digest": journal.seed_digest,
        "originals": {path: _dump_saved(saved) for path, saved in sorted(notebook.originals.items())},
        "written": dict(sorted(notebook.written.items())),
    }


def load_notebook(record: t.Mapping[str, t.Any]) -> Notebook:
    """Return the notebook from JSON values; raises KeyError, TypeError or ValueError for anything else."""
    if record["format"] != FORMAT:
        raise ValueError(f"its format is {record['format']}, not {FORMAT}")
    identity = record["identity"]
    journal = Journal(
        identity=None
        if identity is None
        else IdentityEntry(Identity(**identity["identity"]), identity["state"], tuple(identity["paths"])),
        entries=tuple(Entry(**{**entry, "paths": tuple(entry["paths"])}) for entry in record["entries"]),
        seed_digest=record["seed_digest"],
    )
    originals = {path: _load_saved(saved) for path, saved in record["originals"].items()}
    return Notebook(journal, originals, record.get("written", {}))


def _dump_saved(saved: Saved) -> dict[str, t.Any]:
    state = saved.state
    xattrs = None if state.xattrs is None else {name: base64.b64encode(v).decode() for name, v in state.xattrs}
    kept = ("kind", "target", "mode", "uid", "gid", "mtime_ns")
    return {**{name: getattr(state, name) for name in kept}, "xattrs": xattrs, "stored": saved.stored}


def _load_saved(record: t.Mapping[str, t.Any]) -> Saved:
    fields = dict(record)
    stored, xattrs = fields.pop("stored"), fields.pop("xattrs")
    decoded = None if xattrs is None else tuple((name, base64.b64decode(value)) for name, value in xattrs.items())
    return Saved(FileState(xattrs=decoded, **fields), stored)

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that writes to a pool or to the catalog, small enough to be done again for each call that it makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.encompass.images.plugins.plugin_utils._catalog.sqlite import SqliteCatalog
from ansible_collections.encompass.images.tests.corpus.packages import ova

from tests.contract.pools import MIB, PoolDir, make_raw, qemu_img

Options = dict[str, t.Any]
Scene = dict[str, t.Any]

_STAGED = re.compile(r"(^|/)\.staging(/|$)|\.new$")
# When a file was made and in which inode is different each time; a master that is not whole yet says so itself.
_PASSING = re.compile(rb"\d+:\d{15,}:\d+|\"complete\": \w+")


def look_at_files(place: Path) -> Scene:
    """Return what there is: mode and content of each file, mode of each directory."""
    return {str(path.relative_to(place)): _describe(path) for path in sorted(place.rglob("*"))}


def is_finished(path: str) -> bool:
    """Tell whether a path is one that something has when it is finished, not while it is made."""
    return not _STAGED.search(path)


def _describe(path: Path) -> tuple[int, str]:
    mode = path.lstat().st_mode
    if not path.is_file():
        return mode, ""
    content = path.read_bytes()
    return mode, hashlib.sha256(_PASSING.sub(b"", content) if path.suffix == ".json" else content).hexdigest()


def look_at_originals(place: Path) -> Scene:
    """Return what the undo journal names: what it does not is nobody's, and goes with the next one."""
    journal = place / "web-v1-1/undo/journal.json"
    originals = json.loads(journal.read_text())["originals"].values() if journal.exists() else ()
    return {name: _describe(journal.with_name(name)) for name in sorted(one["stored"] for one in originals)}


def look_at_records(place: Path) -> Scene:
    """Return the records and facts, read past all our code, and the files beside the catalog's own."""
    path = place / "catalog.sqlite"
    strangers = [file.name for file in place.iterdir() if not file.name.startswith(path.name)]
    records: list[tuple[t.Any, ...]] = []
    if path.exists():
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            [(verdict,)] = store.execute("PRAGMA integrity_check").fetchall()
            assert verdict == "ok", verdict
            if store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                records += store.execute("SELECT kind, name, revision, body FROM object ORDER BY kind, name").fetchall()
                records += store.execute("SELECT host, key, value FROM fact ORDER BY host, key").fetchall()
    return {"records": records, "strangers": strangers}


@dataclass(frozen=True)
class Operation:
    """`prepare` makes a place in which it can be done, and returns what it is told; `names` stands in every error."""

    name: str
    task: str
    prepare: t.Callable[[Path], Options]
    names: str = "clone web-v1-1"
    look: t.Callable[[Path], Scene] = look_at_files
    prepare_again: t.Callable[[Path], object] = lambda _place: None
    """What else a user's next run does before it."""
    words: tuple[str, ...] = ()
    """What an error may say of the fault beside the system's own words."""


# Pools


def _make_pool(place: Path, *, data_bytes: int = MIB // 4) -> tuple[PoolDir, Path]:
    """Make an empty pool, and an image beside it that is the same each time."""
    place.mkdir()
    raw = place.with_name("image.raw")
    if not raw.exists():
        make_raw(raw, data_bytes=data_bytes, virtual_bytes=4 * MIB)
    return PoolDir(place), raw


def _prepare_clone(place: Path, **options: t.Any) -> Options:
    pool, raw = _make_pool(place)
    return {"clones": [pool.clone_entry("web-v1-1", pool.publish(raw).base, **options)], "workers": 1}


def _prepare_removal(place: Path) -> Options:
    options = _prepare_clone(place)
    base = options["clones"][0]["volumes"][0]["base"]["path"]
    volume = PoolDir(place).volume("web-v1-1")
    volume.parent.mkdir(mode=0o711)
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "qcow2", volume)
    return {**options, "state": "absent"}


def _prepare_import(place: Path) -> Options:
    pool, raw = _make_pool(place)
    return {"masters": [pool.master_entry(raw, "raw")], "workers": 1}


def _prepare_several(place: Path) -> Options:
    pool, raw = _make_pool(place)
    second = raw.with_name("second.raw")
    if not second.exists():
        make_raw(second, data_bytes=MIB // 4, virtual_bytes=MIB)
    images = [{"name": path.stem, "source": str(path), "format": "raw"} for path in (raw, second)]
    entry = {key: value for key, value in pool.master_entry(raw, "raw").items() if key not in ("source", "format")}
    return {"masters": [{**entry, "volumes": images}], "workers": 1}


def _prepare_package(place: Path) -> Options:
    pool, raw = _make_pool(place)
    package = raw.with_name("machine.ova")
    if not package.exists():
        disk = raw.with_name("disk.vmdk")
        qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, disk)
        package.write_bytes(ova({disk.name: disk.read_bytes()}))
    return {"masters": [pool.master_entry(package, "ova")], "workers": 1}


def _prepare_deletion(place: Path) -> Options:
    pool, raw = _make_pool(place)
    master = pool.publish(raw)
    return {"state": "absent", "masters": [pool.master_entry(raw, "raw", digest=master.digest)], "workers": 1}


def _prepare_volume(place: Path, **options: t.Any) -> Options:
    pool, _raw = _make_pool(place)
    return {"volumes": [{"name": "web-1.db", "pool_path": str(pool.path), "size_mib": 64, **options}], "workers": 1}


def _prepare_growth(place: Path) -> Options:
    options = _prepare_volume(place)
    volume = place / "data/web-1/db.qcow2"
    volume.parent.mkdir(parents=True)
    qemu_img("create", "-f", "qcow2", volume, "32M")
    return options


def _prepare_arrival(place: Path) -> Options:
    pool, raw = _make_pool(place)
    master = pool.publish(raw)
    there = "/srv/elsewhere/pool"
    base = f"{there}/masters/{master.path.name}"
    qemu_img("create", "-f", "qcow2", "-u", "-b", base, "-F", "qcow2", place.with_name("root.qcow2"), 4 * MIB)
    _send(place)
    volume = {"name": "root", "format": "qcow2", "virtual_bytes": 4 * MIB, "backing": {"path": base, "format": "qcow2"}}
    clone = {"name": "web-v1-1", "pool_path": there, "target_pool_path": str(place), "served": True}
    volumes = [{**volume, "path": f"{there}/clones/web-v1-1/root.qcow2"}]
    machine = {"name": "web-1", "uuid": "1" * 32, "to": "here", "clones": [{**clone, "volumes": volumes}]}
    return {"state": "received", "uri": "test:///default", "machines": [machine], "workers": 1}


def _send(place: Path) -> None:
    """Have files arrive unless they have, as the same play does before it."""
    arrival = place / ".staging/clone~web-v1-1~arrival"
    if (arrival / "manifest.json").exists():
        return
    shutil.rmtree(arrival, ignore_errors=True)
    arrival.mkdir()
    shutil.copy(place.with_name("root.qcow2"), arrival)
    (arrival / "undo~journal.json").write_text("{}")
    entries = [_describe_sent(arrival / name) for name in ("root.qcow2", "undo~journal.json")]
    (arrival / "manifest.json").write_text(json.dumps({"files": entries}))


def _describe_sent(path: Path) -> dict[str, t.Any]:
    content = path.read_bytes()
    return {
        "path": path.name.replace("~", "/"),
        "size_bytes": len(content),
        "fingerprint": "1:2:3",
        "mode": 0o600,
        "digest": hashlib.sha256(content).hexdigest(),
    }


# Parts of modules


def _prepare_seed(place: Path) -> Options:
    place.mkdir()
    files = {"meta-data": "instance-id: web-1\n", "user-data": "#cloud-config\n"}
    return {"path": str(place / "seed.iso"), "files": files}


def _prepare_undo(place: Path) -> Options:
    (place / "web-v1-1").mkdir(parents=True)
    return {"directory": str(place / "web-v1-1")}


def _prepare_copy(place: Path) -> Options:
    (place / ".staging").mkdir(parents=True)
    return {"path": str(place / ".staging/disk.raw")}


# The catalog


def _prepare_nothing(place: Path) -> Options:
    place.mkdir()
    return {"path": str(place / "catalog.sqlite")}


def _prepare_catalog(place: Path) -> Options:
    options = _prepare_nothing(place)
    template = place.with_name("template.sqlite")
    if not template.exists():
        with contextlib.closing(SqliteCatalog(template)) as catalog, catalog.transaction() as transaction:
            transaction.put("master", "web-v1", {"a": 1})
    shutil.copy(template, options["path"])
    return options


# SQLite's own words; where it cannot make a file of its own beside the store, it cannot open or write that either.
_WORDS = ("disk I/O error", "readonly database", "unable to open")
_CATALOG: t.Any = {"names": "catalog ", "look": look_at_records, "words": _WORDS}

OPERATIONS = (
    Operation("clone by overlay", "clone", lambda place: _prepare_clone(place, method="overlay")),
    Operation("clone by copy", "clone", lambda place: _prepare_clone(place, method="copy", virtual_bytes=6 * MIB)),
    Operation("delete a clone", "clone", _prepare_removal),
    Operation("import a master", "master", _prepare_import, "master web-v1"),
    Operation("import two volumes", "master", _prepare_several, "master web-v1"),
    Operation("import a package", "master", _prepare_package, "master web-v1"),
    Operation("delete a master", "master", _prepare_deletion, "master web-v1"),
    Operation("make a data volume", "volume", _prepare_volume, "volume web-1.db"),
    Operation(
        "make a raw data volume",
        "volume",
        lambda place: _prepare_volume(place, format="raw", size_mib=3),
        "volume web-1.db",
    ),
    Operation("grow a data volume", "volume", _prepare_growth, "volume web-1.db"),
    Operation("receive a machine", "migrate", _prepare_arrival, "machine web-1", prepare_again=_send),
    Operation("write a seed disk", "write_seed", _prepare_seed),
    Operation("keep originals", "keep_originals", _prepare_undo, look=look_at_originals),
    Operation("copy a disk", "copy_sparsely", _prepare_copy),
    Operation("make a catalog", "put_record", _prepare_nothing, **_CATALOG),
    Operation("write a record", "put_record", _prepare_catalog, **_CATALOG),
    Operation("begin and commit", "begin_and_commit", _prepare_catalog, **_CATALOG),
    Operation("write facts", "set_facts", _prepare_catalog, **_CATALOG),
    Operation("migrate a catalog", "migrate_schema", _prepare_catalog, **_CATALOG),
)

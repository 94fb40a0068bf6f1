# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory pool: its layout, its staging, what is published in it. Private to this collection.

Everything is made under ``.staging`` and gets its name by one rename (or link) once it is on the disk, so whatever
has a name is whole. A staged name tells the object and the process it belongs to: ``<kind>~<object>~<owner>``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import socket
import time
import typing as t

from .._core.errors import NotFound, ToolFailed
from .._core.os_errors import explain_os_error
from .._core.pool_layout import LAYOUT, KeptSeen

_NO_ROOM_BYTES = 1 << 20


@contextlib.contextmanager
def explained(subject: str, action: str) -> t.Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except OSError as exc:
        raise explain_os_error(subject, action, exc) from exc


def find_lacking(pool: str) -> str:
    """Return the first directory of a pool that is not there; "" when all are."""
    return next((pool + below for below in LAYOUT if not pathlib.Path(pool + below).is_dir()), "")


def require_layout(pool: str, subject: str) -> None:
    """Raise :class:`NotFound` for a pool without its directories: there is no telling what it holds.

    They are never made in passing. Below a file system that is not mounted, nothing of ours is to be seen, and nothing
    new must come to be.
    """
    lacking = find_lacking(pool)
    if lacking:
        raise NotFound(
            subject,
            f"the directory {lacking} of its pool is not there",
            remedy="See whether its file system is mounted, else have encompass.images.hypervisor make the pool.",
        )


def count_free_bytes(path: str, subject: str) -> int:
    """Return what is free for us on the file system that holds ``path``, or that will hold it once it is made."""
    with explained(subject, "see how much room there is"):
        nearest = next(place for place in (pathlib.Path(path), *pathlib.Path(path).parents) if place.exists())
        status = os.statvfs(nearest)
    return status.f_bavail * status.f_frsize


def find_full(paths: t.Iterable[str]) -> str:
    """Return the first of these directories on whose file system not even root finds room; "" when there is none."""
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.statvfs(path)
            if status.f_bfree * status.f_frsize < _NO_ROOM_BYTES:
                return path
    return ""


# Staging


def stage_path(pool: str, kind: str, name: str) -> pathlib.Path:
    """Return where this process stages an object."""
    return pathlib.Path(pool, ".staging", f"{kind}~{name}~{_this_process()}")


@contextlib.contextmanager
def staged_directory(pool: str, kind: str, name: str, subject: str) -> t.Iterator[pathlib.Path]:
    """Make a directory to work in; it is removed with all that is still in it."""
    path = stage_path(pool, kind, name)
    make_private(path, subject)
    try:
        yield path
    finally:
        remove_tree(path, subject)


def make_private(path: pathlib.Path, subject: str) -> None:
    """Make a directory that only we can enter."""
    with explained(subject, "stage it"):
        path.mkdir(mode=0o700)


def find_leftovers(pool: str, kind: str) -> dict[str, list[str]]:
    """Return what killed runs of this host left in the staging directory, by object.

    What belongs to a living process or to another host (the pool may be shared) is not left over.
    """
    found: dict[str, list[str]] = {}
    for staged in list_staging(pool):
        if staged["kind"] == kind and staged["state"] == "left":
            found.setdefault(staged["name"], []).append(staged["path"])
    return found


def list_staging(pool: str) -> list[dict[str, str]]:
    """Return what is in the staging directory: its path, kind, object, and state.

    The state is ``left`` (whoever made it is dead), ``arrival`` (it came from another provider) or ``working``.
    """
    try:
        names = sorted(path.name for path in pathlib.Path(pool, ".staging").iterdir())
    except OSError:
        return []
    found = []
    for staged in names:
        parts = staged.split("~")
        kind, name, owner = parts if len(parts) == 3 else ("", staged, "")
        state = "arrival" if owner == "arrival" else "left" if _is_dead(owner) else "working"
        found.append({"path": f"{pool}/.staging/{staged}", "kind": kind, "name": name, "state": state})
    return found


def keep_directory(pool: str, kind: str, name: str, subject: str) -> pathlib.Path:
    """Return a staged directory of an object, made when it is not there, which outlives the run that made it."""
    path = pathlib.Path(pool, ".staging", f"{kind}~{name}~{_this_host()}")
    with explained(subject, "stage it"):
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def find_kept(pool: str, kind: str) -> dict[str, KeptSeen]:
    """Return what this host keeps in the staging directory, by object."""
    found: dict[str, KeptSeen] = {}
    for path in sorted(pathlib.Path(pool, ".staging").glob(f"{kind}~*~{_this_host()}")):
        with contextlib.suppress(OSError):
            states = [place.stat() for place in (path, *path.iterdir())]
            age_s = time.time() - max(state.st_mtime for state in states)
            found[path.name.split("~")[1]] = KeptSeen(str(path), sum(state.st_blocks * 512 for state in states), age_s)
    return found


def remove_tree(path: str | pathlib.Path, subject: str) -> None:
    """Delete a directory or file with all that is in it; nothing there is success."""
    target = pathlib.Path(path)
    with explained(subject, "remove it"):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def _this_process() -> str:
    return f"{_this_host()}-{_this_session()}-{os.getpid()}-{_start_time_of(os.getpid())}"


def _is_dead(owner: str) -> bool:
    host, _dash, rest = owner.partition("-")
    session, _dash, process = rest.partition("-")
    pid, _dash, start_time = process.partition("-")
    if host != _this_host() or not pid.isdigit():
        return False
    return session != _this_session() or _start_time_of(int(pid)) != start_time


def _this_host() -> str:
    machine_id = _read_or_empty("/etc/machine-id").strip() or socket.gethostname()
    return hashlib.sha256(machine_id.encode()).hexdigest()[:8]


def _this_session() -> str:
    """Return what differs after a reboot, and between two sets of process ids of one host."""
    boot_id = _read_or_empty("/proc/sys/kernel/random/boot_id").strip()
    return hashlib.sha256(f"{boot_id} {pathlib.Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:8]


def _start_time_of(pid: int) -> str:
    """Return when a process started, in the kernel's ticks (proc(5), field 22 of stat); empty when it is gone."""
    fields = _read_or_empty(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _read_or_empty(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# Publishing


def flush(path: str | pathlib.Path, subject: str) -> None:
    """Have a file's or directory's content on the disk."""
    with explained(subject, "write it to the disk"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def seal_file(path: pathlib.Path, mode: int, subject: str) -> None:
    """Give a finished file its mode and have it on the disk."""
    with explained(subject, "set its mode"):
        path.chmod(mode)
    flush(path, subject)


def publish_directory(staged: pathlib.Path, target: str, subject: str) -> None:
    """Give a finished directory its name; a directory of that name that is not empty is never replaced.

    The caller flushes the directory above, once for a whole batch.
    """
    with explained(subject, "publish it"):
        staged.chmod(0o711)
    flush(staged, subject)
    with explained(subject, "publish it"):
        staged.rename(target)


def publish_file(staged: pathlib.Path, target: str, subject: str) -> bool:
    """Give a finished file its name beside the one it is staged under; False when a file has that name already."""
    with explained(subject, "publish it"):
        try:
            os.link(staged, target, follow_symlinks=False)
        except FileExistsError:
            return False
    flush(pathlib.Path(target).parent, subject)
    return True


def withdraw_directory(directory: str, trash: pathlib.Path, subject: str) -> None:
    """Take a directory's name away and delete it; killed in between, it is a leftover."""
    source = pathlib.Path(directory)
    if source.is_symlink():
        raise ToolFailed(subject, f"{directory} is a symbolic link, and is left alone")
    with explained(subject, "delete it"):
        source.rename(trash)
    flush(source.parent, subject)
    remove_tree(trash, subject)


def discard_directory(path: str, subject: str) -> None:
    """Delete a directory of a pool with all that is in it; one that has a name loses that first."""
    directory = pathlib.Path(path)
    if directory.parent.name == ".staging":
        remove_tree(directory, subject)
        return
    kind = "data" if directory.parent.name == "data" else "clone"
    withdraw_directory(path, stage_path(str(directory.parent.parent), kind, directory.name), subject)


def withdraw_file(path: str, subject: str) -> None:
    """Delete a published file; nothing there is success."""
    remove_tree(path, subject)
    flush(pathlib.Path(path).parent, subject)


def write_json(content: t.Mapping[str, t.Any], path: str, staged: pathlib.Path, subject: str) -> None:
    """Replace a small JSON file at once."""
    with explained(subject, f"write {path}"):
        staged.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n", encoding="utf-8")
        seal_file(staged, 0o600, subject)
        staged.replace(path)
    flush(pathlib.Path(path).parent, subject)


def read_json(path: str, subject: str) -> dict[str, t.Any] | None:
    """Return a small JSON file's content; None when it is not there."""
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        raise ToolFailed(subject, f"cannot read {path}", remedy="Look at the file; delete it if it is broken.") from exc
    return content if isinstance(content, dict) else None


def list_volumes(directory: str, subject: str) -> dict[str, str] | None:
    """Return the volumes (name to path) in a directory of a clone, or of a server's data; None when there is none."""
    path = pathlib.Path(directory)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ToolFailed(subject, f"{directory} is not a directory, and is left alone")
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise explain_os_error(subject, "look at it", exc) from exc
    return {name.rpartition(".")[0]: f"{directory}/{name}" for name in names if name.endswith((".qcow2", ".raw"))}


def list_clones(pool: str) -> list[str]:
    """Return the names of all clones that are in the pool."""
    try:
        return sorted(entry.name for entry in pathlib.Path(pool, "clones").iterdir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise explain_os_error(f"pool {pool}", "list its clones", exc) from exc


def list_foreign_files(pool: str, subject: str) -> list[pathlib.Path]:
    """Return the files in the pool that are neither published nor staged: clones' volumes and what else is there."""
    own = (pathlib.Path(pool, "masters"), pathlib.Path(pool, ".staging"))
    found = []
    with explained(subject, "look through its pool"):
        for folder, folders, files in os.walk(pool, onerror=_raise):
            folders[:] = sorted(name for name in folders if pathlib.Path(folder, name) not in own)
            found += [pathlib.Path(folder, name) for name in sorted(files)]
        return [path for path in found if path.is_file() and not path.is_symlink()]


def _raise(exc: OSError) -> None:
    raise exc


def ensure_data_directory(pool: str, path: str, subject: str) -> None:
    """Make the directories that a data volume is to be in, and have their names on the disk."""
    for directory in (pathlib.Path(pool, "data"), pathlib.Path(path).parent):
        ensure_folder(str(directory), subject)


def ensure_folder(path: str, subject: str) -> None:
    """Make a directory of a pool, through which QEMU finds its volumes, and have its name on the disk."""
    folder = pathlib.Path(path)
    with explained(subject, "prepare the pool"):
        if not folder.is_dir():
            folder.mkdir(mode=0o711, exist_ok=True)
            folder.chmod(0o711)
            flush(folder.parent, subject)


def withdraw_data(path: str, subject: str) -> None:
    """Delete a data volume, and its server's directory with the last one."""
    withdraw_file(path, subject)
    with contextlib.suppress(OSError):
        pathlib.Path(path).parent.rmdir()


def list_data(pool: str) -> list[tuple[str, str]]:
    """Return (``<server>.<volume>``, path) of all data volumes that are in the pool."""
    found = (path for pattern in ("*.qcow2", "*.raw") for path in pathlib.Path(pool, "data").glob(f"*/{pattern}"))
    return sorted((f"{path.parent.name}.{path.stem}", str(path)) for path in found)


def list_origins(pool: str) -> dict[str, dict[str, t.Any]]:
    """Return what is written of the origin of each master in the pool, by master; raise when that is not known."""
    directory = pathlib.Path(pool, "masters", ".sources")
    return {path.stem: read_json(str(path), f"pool {pool}") or {} for path in sorted(directory.glob("*.json"))}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt hosts between which machines and files move. Private to this collection; may change without notice."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import typing as t
import urllib.parse
import xml.etree.ElementTree as ET

from .._core.domain_xml import list_disk_targets, relocate_domain_xml
from .._core.errors import EncompassError, ToolFailed
from .._core.markup import add_element, render_document
from .._core.migration import HalfSeen, MigrateDomain
from .._core.provider import Power, PowerSeen
from .libvirt import LibvirtHost, connected

try:
    import libvirt
except ImportError:
    libvirt = None

_STOP_S = 60.0
"""How long libvirt may take to take a migration back."""


@dataclasses.dataclass(frozen=True)
class MigrationLimits:
    """What a live migration may use; ``trusts_storage``: see the module's option of that name."""

    bandwidth_mib_s: int = 0
    limit_s: float = 600.0
    trusts_storage: bool = False


class MigratingHost(LibvirtHost):
    """A libvirt host that sends machines to others, or takes files in."""

    def observe_halves(self, names: t.Collection[str]) -> dict[str, HalfSeen | None]:
        """Return the domain of each of these names, and whether libvirt is at work on it."""
        halves: dict[str, HalfSeen | None] = {}
        jobs = self._observe_jobs(names)
        for name, seen in self.observe_power(names).items():
            if isinstance(seen, EncompassError):
                halves[name] = HalfSeen("", Power.PAUSED, seen.problem)
            elif isinstance(seen, PowerSeen):
                halves[name] = HalfSeen(seen.uuid, seen.power, jobs.get(name, ""))
            else:
                halves[name] = None
        return halves

    def _observe_jobs(self, names: t.Collection[str]) -> dict[str, str]:
        def observe() -> dict[str, str]:
            busy = {}
            for handle in self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                with contextlib.suppress(libvirt.libvirtError):
                    if handle.name() in names and handle.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                        busy[handle.name()] = "libvirt is at work on it, most likely migrating it"
            return busy

        return self._call("the host's domains", observe)

    def migrate_live(self, step: MigrateDomain, target_uri: str, limits: MigrationLimits) -> None:
        """Move the running machine, peer to peer: libvirt goes on by itself when the caller dies.

        Past the time limit it is taken back, and the machine goes on here.
        """
        subject = f"machine {step.name}"

        def migrate() -> None:
            handle = self._connection.lookupByName(step.name)
            parameters = _make_parameters(handle, step, target_uri, limits)
            handle.migrateToURI3(target_uri, parameters, _choose_flags(step, limits))

        def abort() -> None:
            with contextlib.suppress(EncompassError):
                self._on_domain(step.name, lambda handle: handle.abortJob())

        self._call_or_abort(subject, migrate, abort, limits.limit_s)

    def _call_or_abort(
        self, subject: str, function: t.Callable[[], None], abort: t.Callable[[], None], limit_s: float
    ) -> None:
        late = threading.Event()

        def take_back() -> None:
            late.set()
            abort()

        timer = threading.Timer(limit_s, take_back)
        timer.start()
        try:
            self._call(subject, function, limit_s=limit_s + _STOP_S)
        except ToolFailed as exc:
            if not late.is_set():
                raise
            raise ToolFailed(
                subject,
                f"it could not be migrated within {limit_s:g} s, and goes on where it was",
                remedy="Allow more time or bandwidth, or move it cold (live: false).",
            ) from exc
        finally:
            timer.cancel()

    # Files that arrive

    def open_arrival(self, name: str, path: str) -> None:
        """Have a directory to take files in, empty, as a pool that libvirt forgets with its end."""

        def prepare() -> None:
            self._drop_pool(name)
            pool = self._connection.storagePoolCreateXML(
                _render_arrival_xml(name, path), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD
            )
            for volume in pool.listAllVolumes():
                volume.delete(0)

        self._call(f"directory {path}", prepare)

    def close_arrival(self, name: str) -> None:
        """Forget the pool; its directory stays."""
        self._call(f"pool {name}", lambda: self._drop_pool(name))

    def _drop_pool(self, name: str) -> None:
        for pool in self._connection.listAllStoragePools(0):
            if pool.name() == name:
                pool.destroy()

    def upload(self, pool: str, name: str, descriptor: int, *, limit_s: float) -> None:
        """Write a file's content into a new file of the pool; its holes are not sent."""
        size = os.fstat(descriptor).st_size

        def send() -> None:
            volume = self._connection.storagePoolLookupByName(pool).createXML(_render_file_xml(name, size), 0)
            stream = self._connection.newStream(0)
            volume.upload(stream, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
            stream.sparseSendAll(_read_section, _find_section, _skip_section, descriptor)
            stream.finish()

        os.lseek(descriptor, 0, os.SEEK_SET)
        self._call(f"file {name}", send, limit_s=limit_s)

    def download(self, pool: str, name: str) -> bytes:
        """Return a small file of a pool; empty when there is none."""

        def fetch() -> bytes:
            pools = [handle for handle in self._connection.listAllStoragePools(0) if handle.name() == pool]
            volumes = [volume for handle in pools for volume in _list_volumes(handle) if volume.name() == name]
            if not volumes:
                return b""
            stream = self._connection.newStream(0)
            volumes[0].download(stream, 0, 0, 0)
            received: list[bytes] = []
            stream.recvAll(lambda _stream, content, _opaque: received.append(content), None)
            stream.finish()
            return b"".join(received)

        return self._call(f"file {name}", fetch)


@contextlib.contextmanager
def open_migrating_host(uri: str, *, timeout_s: float) -> t.Iterator[MigratingHost]:
    """Open a libvirt host between which and others machines move."""
    with connected(MigratingHost(uri, timeout_s=timeout_s)) as host:
        yield host


def _list_volumes(pool: t.Any) -> list[t.Any]:
    """Return what is in a pool now; libvirt goes on showing what was taken out behind its back."""
    try:
        pool.refresh(0)
        return list(pool.listAllVolumes())
    except libvirt.libvirtError:  # its directory is gone, and now the pool is too
        return []


def _choose_flags(step: MigrateDomain, limits: MigrationLimits) -> int:
    flags = (
        libvirt.VIR_MIGRATE_LIVE
        | libvirt.VIR_MIGRATE_PEER2PEER
        | libvirt.VIR_MIGRATE_PERSIST_DEST
        | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        # A guest that writes faster than the network carries is slowed down; another one is not.
        | libvirt.VIR_MIGRATE_AUTO_CONVERGE
        # A machine whose disk fails on the way would be broken on both sides.
        | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    )
    copies = {"none": 0, "changes": libvirt.VIR_MIGRATE_NON_SHARED_INC, "all": libvirt.VIR_MIGRATE_NON_SHARED_DISK}
    return int(flags | copies[step.copies] | (libvirt.VIR_MIGRATE_UNSAFE if limits.trusts_storage else 0))


def _make_parameters(handle: t.Any, step: MigrateDomain, target_uri: str, limits: MigrationLimits) -> dict[str, t.Any]:
    parameters: dict[str, t.Any] = {}
    host = urllib.parse.urlsplit(target_uri).hostname
    if host:
        # By default QEMU would be sent to whatever the target takes for its own name.
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://[{host}]" if ":" in host else f"tcp://{host}"
    if limits.bandwidth_mib_s:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = limits.bandwidth_mib_s
    if step.disks:
        # By default libvirt would copy every disk, also one that the target reaches, over itself.
        targets = list_disk_targets(handle.XMLDesc(0), step.disks)
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = targets
    if step.moves:
        flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        running, defined = handle.XMLDesc(flags), handle.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_INACTIVE)
        parameters[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = relocate_domain_xml(running, dict(step.moves))
        parameters[libvirt.VIR_MIGRATE_PARAM_PERSIST_XML] = relocate_domain_xml(defined, dict(step.moves))
    return parameters


def _render_arrival_xml(name: str, path: str) -> str:
    root = ET.Element("pool", {"type": "dir"})
    add_element(root, "name", name)
    target = add_element(root, "target")
    add_element(target, "path", path)
    add_element(add_element(target, "permissions"), "mode", "0700")
    return render_document(root, subject=f"pool {name}")


def _render_file_xml(name: str, size_bytes: int) -> str:
    # Raw, whatever it holds: libvirt has to keep the bytes as they are.
    root = ET.Element("volume")
    add_element(root, "name", name)
    add_element(root, "capacity", size_bytes, unit="bytes")
    add_element(root, "allocation", 0, unit="bytes")
    target = add_element(root, "target")
    add_element(target, "format", type="raw")
    add_element(add_element(target, "permissions"), "mode", "0600")
    return render_document(root, subject=f"file {name}")


def _read_section(_stream: t.Any, count: int, descriptor: int) -> bytes:
    return os.read(descriptor, count)


def _find_section(_stream: t.Any, descriptor: int) -> tuple[bool, int]:
    """Return (whether data begin here, how many bytes it is until that changes)."""
    here = os.lseek(descriptor, 0, os.SEEK_CUR)
    end = os.fstat(descriptor).st_size
    data = _seek_or(descriptor, here, os.SEEK_DATA, end)
    border = data if data > here else _seek_or(descriptor, here, os.SEEK_HOLE, end)
    os.lseek(descriptor, here, os.SEEK_SET)
    return data == here and here < end, border - here


def _seek_or(descriptor: int, offset: int, whence: int, end: int) -> int:
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError:  # ENXIO: nothing of that kind until the end
        return end


def _skip_section(_stream: t.Any, length: int, descriptor: int) -> int:
    return os.lseek(descriptor, length, os.SEEK_CUR)

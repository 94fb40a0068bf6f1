# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt host: its machines, networks and pools. Private to this collection; may change without notice.

libvirt's calls wait for ever when its daemon hangs, so each is made with a time limit.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import typing as t

from .._core.capabilities import (
    GuestCapabilities,
    HostCapabilities,
    format_version,
    parse_guest_capabilities,
    parse_host_cpu,
)
from .._core.domain import Domain
from .._core.domain_xml import parse_domain_xml, render_domain_xml
from .._core.errors import EncompassError, StillRunning, ToolFailed, Unsupported
from .._core.network import (
    Network,
    Reservation,
    parse_network_xml,
    render_network_xml,
    render_reservation_xml,
    split_reservations,
)
from .._core.pooling import parse_pool_xml, render_pool_xml
from .._core.provider import DomainSeen, NetworkSeen, PoolSeen, Power, PowerSeen
from .._core.virt_errors import explain_virt_error, find_locked_volume

try:
    import libvirt
except ImportError:
    libvirt = None

T = t.TypeVar("T")
HostT = t.TypeVar("HostT", bound="LibvirtHost")

# virDomainState; whatever else it may be, the machine's processors run.
_POWERS = {3: Power.PAUSED, 5: Power.OFF, 6: Power.PAUSED, 7: Power.PAUSED}
_PAUSED, _PM_SUSPENDED = 3, 7
# virDomainPausedReason: those that end by themselves, since libvirt is at work on the machine.
_AT_WORK = {2: "migrated", 3: "saved", 4: "dumped", 9: "snapshotted", 11: "started", 12: "migrated", 13: "migrated"}
_PAUSE_REASONS = {1: "by an operator", 5: "a disk failed or its pool is full", 10: "its system crashed"}


@contextlib.contextmanager
def open_host(uri: str, *, timeout_s: float = 60.0) -> t.Iterator[LibvirtHost]:
    """Open a libvirt host and close it afterwards. ``timeout_s`` bounds every single call."""
    with connected(LibvirtHost(uri, timeout_s=timeout_s)) as host:
        yield host


@contextlib.contextmanager
def connected(host: HostT) -> t.Iterator[HostT]:
    """Connect a host of whatever kind, and disconnect it afterwards."""
    subject = f"libvirt at {host.uri}"
    if libvirt is None:
        raise Unsupported(
            subject,
            f"{sys.executable} has no Python bindings of libvirt",
            remedy="Install python3-libvirt, and set ansible_python_interpreter to the Python that it is for "
            "(/usr/bin/python3).",
        )
    # Without a handler of our own, libvirt prints every error to the standard error.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    host.open()
    try:
        yield host
    finally:
        host.close()


class LibvirtHost:
    """A connection to one libvirt daemon; its methods may be called from several threads."""

    def __init__(self, uri: str, *, timeout_s: float) -> None:
        self.uri = uri
        self._timeout_s = timeout_s
        self._connection: t.Any = None
        self._is_dead = False

    def open(self) -> None:
        """Connect. Raises :class:`ToolFailed` when nobody listens or answers."""
        self._connection = self._call(f"libvirt at {self.uri}", lambda: libvirt.open(self.uri))

    def close(self) -> None:
        """Disconnect; a daemon that does not answer is left alone."""
        if not self._is_dead:
            with contextlib.suppress(EncompassError):
                self._call(f"libvirt at {self.uri}", self._connection.close)

    def describe_host(self) -> HostCapabilities:
        """Return what the host is."""

        def describe() -> HostCapabilities:
            arch, model, features = parse_host_cpu(self._connection.getCapabilities())
            info = self._connection.getInfo()
            return HostCapabilities(
                arch=arch or info[0],
                cpus=info[2],
                memory_mib=_read_memory_mib(self._connection, info[1]),
                cpu_model=model,
                cpu_features=features,
                libvirt_version=format_version(self._connection.getLibVersion()),
                qemu_version=format_version(self._connection.getVersion()),
            )

        return self._call("the host's capabilities", describe)

    def describe_guests(self, arch: str, virt_type: str) -> GuestCapabilities:
        """Return what guests can have there. Raises when no guest of this kind is possible."""
        return self._call(
            f"{virt_type} guests for {arch}",
            lambda: parse_guest_capabilities(self._connection.getDomainCapabilities(None, arch, "q35", virt_type, 0)),
        )

    def observe_domains(self) -> dict[str, DomainSeen]:
        """Return every machine of the host, ours or not, as it will be at its next start."""

        def observe() -> dict[str, DomainSeen]:
            handles = self._connection.listAllDomains(0)
            seen = (_unless_gone(_read_domain, handle) for handle in handles)
            return {one.domain.name: one for one in seen if one is not None}

        return self._call("the host's domains", observe)

    def define_domain(self, domain: Domain) -> None:
        """Make the machine so, without starting it."""
        self._call(domain.subject, lambda: self._connection.defineXML(render_domain_xml(domain)))

    def undefine_domain(self, name: str) -> None:
        """Forget the machine, its firmware's variables and saved states; its volumes stay."""
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )
        self._on_domain(name, lambda handle: handle.undefineFlags(flags))

    def observe_power(self, names: t.Collection[str]) -> dict[str, PowerSeen | EncompassError | None]:
        """Return the power of each machine; None for one that is not there."""

        def observe() -> dict[str, PowerSeen | EncompassError | None]:
            handles = {handle.name(): handle for handle in self._connection.listAllDomains(0)}
            return {name: _unless_gone(_read_power, handles[name]) if name in handles else None for name in names}

        return self._call("the host's domains", observe)

    def start(self, name: str) -> None:
        """Switch it on, unless it is. Raises :class:`Conflict` when somebody else uses one of its volumes."""
        self._on_domain(name, lambda handle: None if handle.isActive() else handle.create())

    def resume(self, name: str) -> None:
        """Let a paused machine go on."""

        def resume(handle: t.Any) -> None:
            if handle.state()[0] == _PM_SUSPENDED:
                handle.pMWakeup(0)
            else:
                handle.resume()

        self._on_domain(name, resume)

    def request_shutdown(self, name: str) -> None:
        """Press its power button; returns at once."""
        button = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        self._on_domain(name, lambda handle: _unless_off(handle, lambda: handle.shutdownFlags(button)))

    def power_off(self, name: str) -> None:
        """Pull its plug, unless it is off."""
        self._on_domain(name, lambda handle: _unless_off(handle, handle.destroy))

    def observe_networks(self) -> dict[str, NetworkSeen]:
        """Return every network of the host, without its users."""

        def observe() -> dict[str, NetworkSeen]:
            handles = self._connection.listAllNetworks(0)
            seen = (_unless_gone(_read_network, handle) for handle in handles)
            return {one.network.name: one for one in seen if one is not None}

        return self._call("the host's networks", observe)

    def define_network(self, network: Network) -> None:
        """Make the definition so, without starting it; a network of this name keeps its UUID."""

        def define() -> None:
            same = [handle for handle in self._connection.listAllNetworks(0) if handle.name() == network.name]
            uuid = same[0].UUIDString() if same else ""
            self._connection.networkDefineXML(render_network_xml(network, uuid=uuid))

        self._call(network.subject, define)

    def start_network(self, name: str) -> None:
        """Bring it up, now and whenever the host starts."""
        self._on_network(name, _bring_up)

    def stop_network(self, name: str) -> None:
        """Take it down, unless it is."""
        self._on_network(name, lambda handle: handle.destroy() if handle.isActive() else None)

    def undefine_network(self, name: str) -> None:
        """Forget its definition."""
        self._on_network(name, lambda handle: handle.undefine())

    def reserve_address(self, network: str, reservation: Reservation) -> None:
        """Give the address to this MAC only, now and after a restart of the network."""

        def reserve(handle: t.Any) -> None:
            command = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
            _update_reservations(handle, command, reservation, _list_effects(handle))

        self._on_network(network, reserve)

    def release_address(self, network: str, reservation: Reservation) -> None:
        """Take the reservation back wherever it holds."""

        def release(handle: t.Any) -> None:
            command = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
            for effect, xml_flags in _list_effects(handle).items():
                if reservation in parse_network_xml(handle.XMLDesc(xml_flags)).reservations:
                    _update_reservations(handle, command, reservation, [effect])

        self._on_network(network, release)

    def observe_pools(self) -> dict[str, PoolSeen]:
        """Return every pool of the host."""

        def observe() -> dict[str, PoolSeen]:
            seen = (_unless_gone(_read_pool, handle) for handle in self._connection.listAllStoragePools(0))
            return {one.name: one for one in seen if one is not None}

        return self._call("the host's pools", observe)

    def define_pool(self, name: str, path: str) -> None:
        """Define a directory pool."""
        self._call(f"pool {name}", lambda: self._connection.storagePoolDefineXML(render_pool_xml(name, path), 0))

    def start_pool(self, name: str) -> None:
        """Bring it up, now and whenever the host starts."""
        self._call(f"pool {name}", lambda: _bring_up(self._connection.storagePoolLookupByName(name)))

    def ask_domain(self, name: str, ask: t.Callable[[t.Any], T], *, limit_s: float | None = None) -> T:
        """Return what ``ask`` makes of the library's handle of a machine."""
        return self._call(f"machine {name}", lambda: ask(self._connection.lookupByName(name)), limit_s=limit_s)

    def _on_domain(self, name: str, act: t.Callable[[t.Any], object]) -> None:
        self._call(f"machine {name}", lambda: act(self._connection.lookupByName(name)))

    def _on_network(self, name: str, act: t.Callable[[t.Any], object]) -> None:
        self._call(f"network {name}", lambda: act(self._connection.networkLookupByName(name)))

    def _call(self, subject: str, function: t.Callable[[], T], *, limit_s: float | None = None) -> T:
        """Call libvirt within the time limit, by default that of a single call, with its errors as ours."""
        try:
            return self._call_in_time(subject, function, limit_s or self._timeout_s)
        except libvirt.libvirtError as exc:
            message = exc.get_error_message() or str(exc)
            holder = self._find_holder(find_locked_volume(message))
            raise explain_virt_error(subject, exc.get_error_code() or 0, message, holder=holder) from exc

    def _call_in_time(self, subject: str, function: t.Callable[[], T], limit_s: float) -> T:
        if self._is_dead:
            raise _explain_silence(subject, self.uri, self._timeout_s)
        call = _Call(function)
        if not call.wait(limit_s):
            # One hanging machine must not be taken for a hanging daemon.
            self._is_dead = self._connection is None or not _Call(self._connection.getLibVersion).wait(5.0)
            raise _explain_silence(subject, self.uri, limit_s)
        return call.result()

    def _find_holder(self, volume: str | None) -> str:
        """Return the name of the running domain of this host that has the volume; empty when it is none of them."""
        if volume is None:
            return ""
        real = os.path.realpath(volume)
        with contextlib.suppress(EncompassError):
            for name, seen in self.observe_domains().items():
                if seen.active and real in {os.path.realpath(disk.path) for disk in seen.domain.disks}:
                    return name
        return ""


class _Call(t.Generic[T]):
    """A call in a thread of its own, which is left behind when it does not return."""

    def __init__(self, function: t.Callable[[], T]) -> None:
        self._function = function
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as exc:
            self._error = exc

    def wait(self, timeout_s: float) -> bool:
        """Return True when the call has returned in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]


def _explain_silence(subject: str, uri: str, timeout_s: float) -> ToolFailed:
    return ToolFailed(
        subject,
        f"libvirt at {uri} did not answer within {timeout_s:g} s",
        remedy="Look at its log; when the daemon hangs, restart it (running guests go on).",
    )


def _unless_off(handle: t.Any, switch: t.Callable[[], t.Any]) -> None:
    """Do what switches a domain off, unless it is off by then: it may have gone by itself in the meantime."""
    if not handle.isActive():
        return
    try:
        switch()
    except libvirt.libvirtError:
        if handle.isActive():
            raise


def _unless_gone(read: t.Callable[[t.Any], T], handle: t.Any) -> T | None:
    """Return what ``read`` returns; None for an object that vanished since it was listed."""
    gone = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_STORAGE_POOL)
    try:
        return read(handle)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() in gone:
            return None
        raise


def _read_memory_mib(connection: t.Any, known_mib: int) -> int:
    """Return the host's memory; the node information counts only what the host had when it was switched on."""
    try:
        return int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) // 1024
    except (libvirt.libvirtError, KeyError):
        return known_mib


def _read_domain(handle: t.Any) -> DomainSeen:
    active = handle.ID() != -1
    domain = parse_domain_xml(handle.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return DomainSeen(domain, active=active, persistent=not active or bool(handle.isPersistent()))


def _read_power(handle: t.Any) -> PowerSeen | EncompassError:
    state, reason = handle.state()
    power = _POWERS.get(state, Power.RUNNING)
    if state == _PAUSED and reason in _AT_WORK:
        return StillRunning(
            f"machine {handle.name()}",
            f"it is paused because it is being {_AT_WORK[reason]}",
            remedy="Wait for that to end and run again.",
        )
    return PowerSeen(handle.UUIDString(), power, _describe_pause(state, reason) if power is Power.PAUSED else "")


def _describe_pause(state: int, reason: int) -> str:
    if state != _PAUSED:
        return "its own system went to sleep" if state == _PM_SUSPENDED else "its own system crashed"
    return _PAUSE_REASONS.get(reason, "no reason is known")


def _read_network(handle: t.Any) -> NetworkSeen:
    active, persistent = bool(handle.isActive()), bool(handle.isPersistent())
    network = parse_network_xml(handle.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE if persistent else 0))
    partial: tuple[Reservation, ...] = ()
    if active and persistent:
        network, partial = split_reservations(network, parse_network_xml(handle.XMLDesc(0)))
    autostart = persistent and bool(handle.autostart())
    return NetworkSeen(network, partial=partial, active=active, autostart=autostart)


def _read_pool(handle: t.Any) -> PoolSeen:
    name, kind, path = parse_pool_xml(handle.XMLDesc(0))
    return PoolSeen(name, kind, path, active=bool(handle.isActive()), autostart=bool(handle.autostart()))


def _bring_up(handle: t.Any) -> None:
    """Start a network or pool, now and with the host."""
    if not handle.isActive():
        handle.create()
    if not handle.autostart():
        handle.setAutostart(1)


def _list_effects(handle: t.Any) -> dict[int, int]:
    """Return where an update of the network takes effect (now, later), with the flags that read its XML there."""
    effects = {}
    if handle.isActive():
        effects[libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE] = 0
    if handle.isPersistent():
        effects[libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG] = libvirt.VIR_NETWORK_XML_INACTIVE
    return effects


def _update_reservations(handle: t.Any, command: int, reservation: Reservation, effects: t.Iterable[int]) -> None:
    # -1: the network's one IPv4 address that has DHCP, wherever it stands.
    section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
    handle.update(command, section, -1, render_reservation_xml(reservation), sum(effects))

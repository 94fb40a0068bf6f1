# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libguestfs: guests' file systems, opened in an appliance and never by the host's kernel. Private to this collection.

An appliance is a small virtual machine. It has no network, and whatever a hostile image does to a kernel that
mounts it, it does in there.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import secrets
import signal
import string
import threading
import typing as t

from .._core.errors import EncompassError, Unsupported
from .._core.guestfs_errors import explained

_MEMORY_MIB = 512
_JOURNALED = ("ext3", "ext4", "xfs", "btrfs")

# A kernel that KVM cannot run may hang for ever; one that it can run is up within seconds. Remembered until a reboot.
_KVM_LAUNCH_S = 45.0
_KVM_IS_BROKEN = pathlib.Path("/run/encompass-images.no-kvm")


class Disk(t.Protocol):
    """A volume to add."""

    @property
    def path(self) -> str:
        """Its file."""
        raise NotImplementedError

    @property
    def format(self) -> str:
        """Its format, never probed."""
        raise NotImplementedError


class FileSystem(t.Protocol):
    """A file system to mount."""

    @property
    def device(self) -> str:
        """``sda1`` of the guest's own volumes, or a name like ``vg/root``."""
        raise NotImplementedError

    @property
    def mountpoint(self) -> str:
        """Where."""
        raise NotImplementedError

    @property
    def filesystem(self) -> str:
        """Its type; empty when not known."""
        raise NotImplementedError


class Appliance:
    """A running appliance with the volumes of some guests."""

    def __init__(self, handle: t.Any, labels: t.Mapping[str, t.Sequence[str]]) -> None:
        self.handle = handle
        self._labels = labels

    @property
    def is_alive(self) -> bool:
        """Whether it can still be used."""
        return bool(self.handle.is_ready())

    @contextlib.contextmanager
    def mounted(
        self, guest: str, file_systems: t.Sequence[FileSystem], *, subject: str, read_only: bool = False
    ) -> t.Iterator[t.Any]:
        """Mount a guest's file systems and yield the library's handle; all is flushed when the block has ended."""
        handle = self.handle
        with explained(subject):
            try:
                for place in sorted(file_systems, key=lambda place: place.mountpoint.rstrip("/").count("/")):
                    device = self._find_device(guest, place.device, subject)
                    (handle.mount_ro if read_only else handle.mount)(device, place.mountpoint)
                yield handle
                handle.umount_all()
                # Journaled file systems flush when they are unmounted; others (the EFI partition) only write out.
                if not read_only and any(place.filesystem not in _JOURNALED for place in file_systems):
                    handle.sync()
            finally:
                with contextlib.suppress(RuntimeError):
                    handle.umount_all()

    def list_unclean(self, guest: str, file_systems: t.Sequence[FileSystem], *, subject: str) -> list[str]:
        """Return where file systems are mounted whose journal has to be replayed: they were in use to the last.

        Only ext tells that before it is mounted.
        """
        with explained(subject):
            return [
                place.mountpoint
                for place in file_systems
                if self._needs_recovery(self._find_device(guest, place.device, subject), place.filesystem)
            ]

    def list_unclean_devices(self, subject: str) -> list[str]:
        """Return the devices of the only guest in this appliance that ``list_unclean`` would tell the places of."""
        with explained(subject):
            found = self.handle.list_filesystems()
            return [name.replace("/dev/", "") for name, kind in found.items() if self._needs_recovery(name, kind)]

    def _needs_recovery(self, device: str, filesystem: str) -> bool:
        journaled = filesystem in ("ext3", "ext4")
        return journaled and "needs_recovery" in self.handle.tune2fs_l(device)["Filesystem features"]

    def make_file_system(self, guest: str, filesystem: str, label: str, *, subject: str) -> None:
        """Make an empty file system on a guest's first volume, as a whole; what was on it is lost."""
        handle = self.handle
        with explained(subject):
            if filesystem == "xfs" and not handle.feature_available(["xfs"]):
                raise Unsupported(
                    subject,
                    "libguestfs on the provider cannot make xfs",
                    remedy="Install its support for xfs (Debian: libguestfs-xfs) there, or take ext4.",
                )
            options = {"label": label} if label else {}
            handle.mkfs(filesystem, self._find_device(guest, "sda", subject), **options)
            handle.sync()

    def _find_device(self, guest: str, device: str, subject: str) -> str:
        subvolume, name, rest = t.cast("re.Match[str]", re.fullmatch(r"(btrfsvol:)?([^/]*)(.*)", device)).groups()
        plain = re.fullmatch(r"sd([a-z])(\d*)", name)
        if not plain:
            return f"{subvolume or ''}/dev/{name}{rest}"
        labels, index = self._labels[guest], string.ascii_lowercase.index(plain[1])
        if index >= len(labels):
            raise Unsupported(subject, f"its layout names {device}, but it has only {len(labels)} volumes")
        return f"{subvolume or ''}/dev/disk/guestfs/{labels[index]}{plain[2]}{rest}"


@contextlib.contextmanager
def open_appliance(
    guests: t.Mapping[str, t.Sequence[Disk]],
    *,
    virt_type: str | None,
    subject: str,
    read_only: bool = False,
) -> t.Iterator[Appliance]:
    """Launch an appliance with the volumes of all guests, of which there must be one.

    It may block for ever: call it in a process that somebody watches (``watched``).

    Volumes are found by label, which is the disk's serial number: a kernel promises no order of the disks it finds.
    """
    letters = _make_label()
    labels: dict[str, list[str]] = {}
    disks: list[tuple[Disk, str]] = []
    for name, volumes in guests.items():
        labels[name] = [letters + _count_in_letters(len(disks) + index) for index in range(len(volumes))]
        disks += zip(volumes, labels[name])
    handle = _launch(disks, virt_type, subject, read_only=read_only)
    try:
        yield Appliance(handle, labels)
    finally:
        for end in (handle.shutdown, handle.close):
            with contextlib.suppress(RuntimeError):
                end()


def _make_label() -> str:
    """Return the start of an appliance's labels: the library takes 20 letters and nothing but letters."""
    return "encompass" + "".join(secrets.choice(string.ascii_lowercase) for _letter in range(8))


def _count_in_letters(index: int) -> str:
    return "".join(string.ascii_lowercase[(index // 26**place) % 26] for place in (2, 1, 0))


def _launch(disks: t.Sequence[tuple[Disk, str]], virt_type: str | None, subject: str, *, read_only: bool) -> t.Any:
    """Return a launched handle; without a word on how to run it, KVM is tried first, if it is there at all."""
    undecided = virt_type not in ("kvm", "qemu") and "LIBGUESTFS_BACKEND_SETTINGS" not in os.environ
    if not undecided or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return _launch_once(disks, subject, read_only=read_only, force_tcg=virt_type == "qemu")
    if not _KVM_IS_BROKEN.exists():
        with _qemu_killed_after(_KVM_LAUNCH_S, disks[0][1]), contextlib.suppress(EncompassError):
            return _launch_once(disks, subject, read_only=read_only, force_tcg=False)
    handle = _launch_once(disks, subject, read_only=read_only, force_tcg=True)
    with contextlib.suppress(OSError):  # it started without KVM, so KVM is what kept it from starting
        _KVM_IS_BROKEN.touch(mode=0o600)
    return handle


def _launch_once(disks: t.Sequence[tuple[Disk, str]], subject: str, *, read_only: bool, force_tcg: bool) -> t.Any:
    try:
        import guestfs
    except ImportError as exc:
        raise Unsupported(
            subject,
            "the Python binding of libguestfs is not installed for this interpreter",
            remedy="Run encompass.images.hypervisor, and use the system's Python (ansible_python_interpreter).",
        ) from exc
    handle = guestfs.GuestFS(python_return_dict=True)
    with explained(subject):
        # What LIBGUESTFS_TRACE prints holds the content of the files that are written.
        handle.set_trace(False)
        handle.set_verbose(False)
        handle.set_network(False)
        handle.set_memsize(max(_MEMORY_MIB, handle.get_memsize() if "LIBGUESTFS_MEMSIZE" in os.environ else 0))
        if "LIBGUESTFS_BACKEND" not in os.environ:
            handle.set_backend("direct")
        if force_tcg:
            handle.set_backend_setting("force_tcg", "1")
        for disk, label in disks:
            # cachemode=writeback: what a guest has flushed is on the host's disk, also when a later one kills us all.
            # discard: what a file system gives back (fstrim) is given back by the image as well.
            options = {} if read_only else {"cachemode": "writeback", "discard": "besteffort"}
            handle.add_drive_opts(disk.path, format=disk.format, readonly=read_only, label=label, **options)
        handle.launch()
    return handle


@contextlib.contextmanager
def _qemu_killed_after(limit_s: float, mark: str) -> t.Iterator[None]:
    """Kill the qemu that has ``mark`` in its command line when the block takes too long; what waits for it fails.

    The library offers no way to cancel a call, and does not tell qemu's process id before a launch is over.
    """
    is_over = threading.Event()

    def watch() -> None:
        if is_over.wait(limit_s):
            return
        while not is_over.wait(0.2):  # it may not even have started
            for pid in _list_children():
                with contextlib.suppress(OSError):
                    if mark.encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _list_children() -> list[int]:
    """Return the processes that this one has started (proc_pid_task(5))."""
    found: list[int] = []
    for path in pathlib.Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            found += [int(child) for child in path.read_text(encoding="ascii").split()]
    return found


class Image(t.NamedTuple):
    """A volume of a system image."""

    path: str
    format: str

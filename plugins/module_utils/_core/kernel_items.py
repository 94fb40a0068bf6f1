# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel boots, with which arguments and which modules in its initrd: an item's changes. Pure; private."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from . import boot_loaders
from .boot_loaders import Arguments, Entry
from .errors import InvalidRequest, NotFound, Unsupported
from .guest_changes import Change, SetContent
from .guest_draft import Draft

_EXTLINUX = (
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/boot/syslinux.cfg",
    "/extlinux.conf",
    "/syslinux.cfg",
)
_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/efi/EFI/*/grub.cfg")
_GRUB_SETTINGS = "/etc/default/grub"
_LOADERS = ("/boot/loader", "/boot/efi/loader", "/efi/loader", "/boot/EFI/loader")
_NEXT_KERNELS = "/etc/kernel/cmdline"  # what kernel-install gives to kernels to come
_DEBIAN_MODULES, _DRACUT_MODULES = "/etc/initramfs-tools/modules", "/etc/dracut.conf.d/encompass.conf"


@dataclasses.dataclass(frozen=True)
class Rebuild:
    """An initrd to be made anew by the guest's own program; then ``listing`` has to name the modules.

    ``settings`` is where the program finds what else to put in: whoever writes there changes the initrd.
    """

    path: str
    settings: str
    command: tuple[str, ...]
    listing: tuple[str, ...]
    modules: tuple[str, ...]

    def list_missing(self, listed: str) -> list[str]:
        """Return the modules that a listing of the initrd does not name."""
        names = {_plain(name) for name in re.findall(r"([^/\s]+)\.ko\b", listed)}
        return [module for module in self.modules if _plain(module) not in names]


class Texts:
    """Texts of a guest's files, edited one after the other; files that are not there are left out."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._texts: dict[str, str] = {}
        self.changes: dict[str, Change] = {}

    def get(self, path: str) -> str | None:
        """Return a file's text, as edited so far."""
        real = self._draft.resolve(path)
        if real is None or real in self._texts:
            return self._texts.get(real or "")
        return self._draft.read_text(real)

    def find(self, patterns: t.Sequence[str]) -> list[str]:
        """Return the files that there are."""
        return [path for path in self._draft.list_existing(patterns) if self.get(path) is not None]

    def edit(self, path: str, edit: t.Callable[[str], str]) -> None:
        """Edit a file, and say what is left to be changed in it."""
        self.put(path, edit(self.get(path) or ""))

    def put(self, path: str, text: str) -> None:
        """Give a file its text."""
        real = self._draft.resolve(path) or path
        if text == (self.get(real) or ""):
            return
        self._texts[real] = text
        self.changes[real] = SetContent(text.encode("utf-8", "surrogateescape"))


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """What an item asks for."""

    default: str = ""
    arguments: Arguments = dataclasses.field(default_factory=Arguments)
    initrd_modules: tuple[str, ...] = ()


def plan_kernel(subject: str, settings: KernelSettings, draft: Draft) -> tuple[dict[str, Change], tuple[Rebuild, ...]]:
    """Return the changed files, and the initrds to make anew once those are on the disk."""
    texts = Texts(draft)
    rebuilds = _plan_initrds(subject, settings.initrd_modules, texts, draft)
    if settings.default or settings.arguments != Arguments():
        found = [
            _edit_extlinux(subject, settings, texts),
            _edit_grub(subject, settings, texts),
            _edit_entries(subject, settings, texts),
        ]
        if not any(found):
            raise NotFound(
                subject,
                "no boot loader's configuration is found in the image (EXTLINUX, SYSLINUX, GRUB 2, systemd-boot)",
                remedy="Give the layout the file system that holds it, or the item required: false.",
            )
        if settings.arguments != Arguments():
            _edit_sources(settings.arguments, texts)
    return texts.changes, rebuilds


def _edit_extlinux(subject: str, settings: KernelSettings, texts: Texts) -> bool:
    files = texts.find(_EXTLINUX)
    for path in files:
        texts.edit(path, lambda text: boot_loaders.edit_extlinux(text, settings.arguments))
        if settings.default:
            entry = _choose(subject, settings.default, boot_loaders.list_extlinux(texts.get(path) or ""), path)
            texts.edit(path, lambda text, entry=entry: boot_loaders.default_extlinux(text, entry))  # type: ignore[misc]
    return bool(files)


def _edit_grub(subject: str, settings: KernelSettings, texts: Texts) -> bool:
    """Edit what GRUB reads now, and what the guest will make it of when it is told to."""
    menus = {path: boot_loaders.list_grub(texts.get(path) or "") for path in texts.find(_GRUB)}
    menus = {path: entries for path, entries in menus.items() if entries}  # others only lead to one of these
    for path, entries in menus.items():
        texts.edit(path, lambda text: boot_loaders.edit_grub(text, settings.arguments))
        if settings.default:
            _set_grub_default(path, _choose(subject, settings.default, entries, path), texts)
    return bool(menus)


def _set_grub_default(path: str, entry: Entry, texts: Texts) -> None:
    """Let GRUB boot an entry unless somebody chooses: set it where this grub.cfg looks for it."""
    menu = texts.get(path) or ""
    if boot_loaders.boots_saved_entry(menu):
        block = _environment_of(path)
        texts.put(block, boot_loaders.set_environment(texts.get(block) or "", "saved_entry", entry.name))
    else:
        texts.put(path, boot_loaders.default_grub(menu, entry))
        _set_grub_variable(texts, _GRUB_SETTINGS, "GRUB_DEFAULT", entry.name)


def _environment_of(menu: str) -> str:
    """Return where the GRUB of a grub.cfg keeps what lasts from boot to boot."""
    return f"{menu.rpartition('/')[0]}/grubenv"


def _edit_sources(arguments: Arguments, texts: Texts) -> None:
    """Edit what the guest makes the configuration of kernels to come of."""
    if texts.get(_NEXT_KERNELS) is not None:
        texts.edit(_NEXT_KERNELS, lambda text: f"{arguments.edit(text.strip())}\n")
    removal = dataclasses.replace(arguments, add=())
    for path in texts.find([_environment_of(menu) for menu in _GRUB]):
        block = texts.get(path) or ""
        shared = boot_loaders.get_variable(block, "kernelopts")  # what the entries of RHEL 8 refer to
        if shared is not None:
            texts.put(path, boot_loaders.set_environment(block, "kernelopts", removal.edit(shared)))
    for path in texts.find([_GRUB_SETTINGS, f"{_GRUB_SETTINGS}.d/*.cfg"]):
        for name in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"):
            value = boot_loaders.get_variable(texts.get(path) or "", name)
            is_main = path == _GRUB_SETTINGS and name == "GRUB_CMDLINE_LINUX"
            if value is not None or is_main:
                after = (arguments if is_main else removal).edit(value or "")
                if after != (value or ""):
                    _set_grub_variable(texts, path, name, after)


def _set_grub_variable(texts: Texts, path: str, name: str, value: str) -> None:
    if texts.get(path) is not None:
        texts.edit(path, lambda text: boot_loaders.set_variable(text, name, value))


def _edit_entries(subject: str, settings: KernelSettings, texts: Texts) -> bool:
    """Edit the entries of the Boot Loader Specification, which systemd-boot reads, and GRUB of Red Hat."""
    has_any = False
    for home in _LOADERS:
        paths = texts.find([f"{home}/entries/*.conf"])
        has_any = has_any or bool(paths)
        for path in paths:
            texts.edit(path, lambda text: boot_loaders.edit_entry(text, settings.arguments))
        if settings.default and paths:
            _set_entry_default(subject, settings.default, home, texts)
    return has_any


def _set_entry_default(subject: str, wanted: str, home: str, texts: Texts) -> None:
    loader, paths = f"{home}/loader.conf", texts.find([f"{home}/entries/*.conf"])
    menus = [path for path in texts.find(_GRUB) if boot_loaders.reads_entries(texts.get(path) or "")]
    if texts.get(loader) is None and not menus:
        raise Unsupported(
            subject,
            f"neither systemd-boot (no {loader}) nor GRUB (no blscfg in {', '.join(_GRUB)}) reads {home}/entries",
            remedy="Give the layout the file system that holds the boot loader's configuration.",
        )
    names = {path: path.rpartition("/")[2][: -len(".conf")] for path in paths}
    entries = [boot_loaders.parse_entry(names[path], texts.get(path) or "") for path in paths]
    entry = _choose(subject, wanted, entries, f"{home}/entries")
    if texts.get(loader) is not None:
        texts.edit(loader, lambda text: boot_loaders.set_loader_default(text, entry))
    for path in menus:
        _set_grub_default(path, entry, texts)


def _choose(subject: str, wanted: str, entries: t.Sequence[Entry], path: str) -> Entry:
    entry = boot_loaders.choose_entry(entries, wanted)
    if entry is None:
        known = ", ".join(dict.fromkeys(entry.kernel.rpartition("/")[2] or entry.name for entry in entries))
        raise NotFound(subject, f"no entry of {path} boots the kernel {wanted}", remedy=f"It has {known or 'none'}.")
    return entry


def _plan_initrds(subject: str, modules: tuple[str, ...], texts: Texts, draft: Draft) -> tuple[Rebuild, ...]:
    if not modules:
        return ()
    is_debian = "/etc/initramfs-tools/" in draft.list_existing(["/etc/initramfs-tools"])
    if is_debian:
        _refuse_dependent(subject, texts)
        known = texts.get(_DEBIAN_MODULES) or ""
        new = [module for module in modules if not re.search(rf"(?m)^\s*{re.escape(module)}(\s|$)", known)]
        if new:
            texts.put(_DEBIAN_MODULES, "".join([known, *(f"{module}\n" for module in new)]))
    elif draft.list_existing(["/etc/dracut.conf.d"]):
        texts.put(_DRACUT_MODULES, _add_drivers(texts.get(_DRACUT_MODULES) or "", modules))
    else:
        raise Unsupported(
            subject,
            "the image has neither initramfs-tools nor dracut, which could make its initrd anew",
            remedy="Put the modules into the initrd of the image itself.",
        )
    return _list_rebuilds(subject, modules, draft, is_debian=is_debian)


def _add_drivers(text: str, modules: t.Sequence[str]) -> str:
    known = re.search(r'(?m)^add_drivers\+="(.*)"$', text)
    words = list(dict.fromkeys([*(known[1].split() if known else ()), *modules]))
    # The appliance is not the machine that will boot: an initrd for what is seen here would not do there.
    return f'hostonly="no"\nadd_drivers+=" {" ".join(words)} "\n'


def _refuse_dependent(subject: str, texts: Texts) -> None:
    found = ["most"]
    for path in texts.find(["/etc/initramfs-tools/initramfs.conf", "/etc/initramfs-tools/conf.d/*"]):
        found += re.findall(r"(?m)^MODULES=(\w+)", texts.get(path) or "")
    if found[-1] == "dep":
        raise Unsupported(
            subject,
            "its initramfs-tools choose modules by the machine they run on (MODULES=dep), here an appliance's",
            remedy="Set MODULES=most in /etc/initramfs-tools by an item before this one.",
        )


def _list_rebuilds(subject: str, modules: tuple[str, ...], draft: Draft, *, is_debian: bool) -> tuple[Rebuild, ...]:
    pattern = "/boot/initrd.img-*" if is_debian else "/boot/initramfs-*.img"
    found = []
    for path in draft.list_existing([pattern]):
        version = re.sub(r"^/boot/(initrd\.img-|initramfs-)|\.img$", "", path)
        listed = draft.read_text(f"/lib/modules/{version}/modules.dep")
        if listed is None:
            continue  # a rescue image, or the copy that a package has left
        built_in = draft.read_text(f"/lib/modules/{version}/modules.builtin") or ""
        present = {_plain(name) for name in re.findall(r"([^/\s]+)\.ko[.\w]*:", listed)}
        inside = {_plain(name) for name in re.findall(r"([^/\s]+)\.ko\b", built_in)}
        missing = [module for module in modules if _plain(module) not in present | inside]
        if missing:
            raise NotFound(subject, f"the kernel {version} has no module {missing[0]}", remedy="Correct the item.")
        wanted = tuple(module for module in modules if _plain(module) not in inside)
        make, show, settings = _DEBIAN if is_debian else _DRACUT
        command = tuple(word.format(path=path, version=version) for word in make)
        found.append(Rebuild(path, settings, command, (*show, path), wanted))
    if not found:
        raise InvalidRequest(subject, f"the image has no initrd that could hold modules ({pattern})")
    return tuple(found)


_DEBIAN = (("mkinitramfs", "-o", "{path}", "{version}"), ("lsinitramfs",), "/etc/initramfs-tools")
_DRACUT = (
    ("dracut", "--force", "--no-hostonly", "--kver", "{version}", "{path}"),
    ("lsinitrd",),
    "/etc/dracut.conf.d",
)


def _plain(module: str) -> str:
    """Return a module's name as the kernel has it; files and people use dashes too."""
    return module.replace("-", "_")

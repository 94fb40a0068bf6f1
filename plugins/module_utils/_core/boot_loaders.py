# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of boot loaders as texts: their kernels, arguments and defaults. Pure; private to this collection.

EXTLINUX and SYSLINUX: https://wiki.syslinux.org/wiki/index.php?title=Config; GRUB: the grub.cfg that grub-mkconfig
writes; systemd-boot and GRUB's blscfg: https://uapi-group.org/specifications/specs/boot_loader_specification/.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

_KERNEL = re.compile(r"vmlinu|bzimage|/kernel|/linux", re.IGNORECASE)  # and not memtest86
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_ENVIRONMENT_HEADER, _ENVIRONMENT_BYTES = "# GRUB Environment Block\n", 1024


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Kernel arguments to add, and to remove: a word, or the name of one with any value."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def edit(self, line: str) -> str:
        """Return an argument list with them added and removed; one that needs no change stays as it is."""
        words = _WORD.findall(line)
        kept = [word for word in words if not self._removes(word)]
        after = [*kept, *(word for word in self.add if word not in kept)]
        return line if after == words else " ".join(after)

    def _removes(self, word: str) -> bool:
        return word not in self.add and any(word == name or word.startswith(f"{name}=") for name in self.remove)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a menu: what the loader calls it, and the kernel's file."""

    name: str
    kernel: str
    title: str = ""

    def boots(self, wanted: str) -> bool:
        """Tell whether ``wanted`` means it: its name, its title or its kernel's version."""
        if wanted in (self.name, self.title):
            return True
        is_rescue = re.search("recovery|rescue", self.name + self.title, re.IGNORECASE)
        return not is_rescue and self.kernel.rpartition("/")[2] in (wanted, f"vmlinuz-{wanted}")


def edit_extlinux(text: str, arguments: Arguments) -> str:
    """Return the configuration with the arguments of every kernel edited."""
    lines: list[str] = []
    for block in re.split(r"(?im)^(?=\s*label\s)", text):
        lines.append(_edit_label(block, arguments))
    return "".join(lines)


def _edit_label(block: str, arguments: Arguments) -> str:
    kernel = re.search(r"(?im)^(\s*)(?:linux|kernel)[ \t]+(\S+).*$", block)
    if not kernel or not _KERNEL.search(kernel[2]):
        return block
    if re.search(r"(?im)^\s*append\s", block):
        pattern = r"(?im)^(\s*append[ \t]+)(.*)$"
        return re.sub(pattern, lambda found: found[1] + arguments.edit(found[2]), block)
    added = arguments.edit("")
    return f"{block[: kernel.end()]}\n{kernel[1]}APPEND {added}{block[kernel.end() :]}" if added else block


def list_extlinux(text: str) -> list[Entry]:
    """Return the entries of the configuration."""
    found = []
    for block in re.split(r"(?im)^(?=\s*label\s)", text)[1:]:
        label = re.match(r"(?i)\s*label[ \t]+(\S+)", block)
        kernel = re.search(r"(?im)^\s*(?:linux|kernel)[ \t]+(\S+)", block)
        title = re.search(r"(?im)^\s*menu label[ \t]+(.*\S)", block)
        if label and kernel:
            found.append(Entry(label[1], kernel[1], title[1] if title else ""))
    return found


def default_extlinux(text: str, entry: Entry) -> str:
    """Return the configuration with the entry as what boots unless somebody chooses."""
    text = re.sub(r"(?im)^\s*menu default[ \t]*\n", "", text)  # which would win
    line = f"DEFAULT {entry.name}"
    edited, count = re.subn(r"(?im)^default[ \t]+\S.*$", lambda _found: line, text)
    return edited if count else f"{line}\n{text}"


def edit_grub(text: str, arguments: Arguments) -> str:
    """Return grub.cfg with the arguments of every kernel edited."""

    def edit(found: re.Match[str]) -> str:
        return found[1] + arguments.edit(found[3]) if _KERNEL.search(found[2]) else found[0]

    return re.sub(r"(?m)^(\s*linux(?:16|efi)?[ \t]+(\S+)[ \t]*)(.*)$", edit, text)


def list_grub(text: str) -> list[Entry]:
    """Return the entries of grub.cfg; names hold the submenus they are in, as GRUB_DEFAULT wants them."""
    found: list[Entry] = []
    path: list[tuple[str, int]] = []
    title, depth = "", 0
    for line in text.splitlines():
        opened = re.match(r"\s*(menuentry|submenu)\s+(['\"])(.*?)\2(.*)\{\s*$", line)
        if opened:
            identifier = re.search(r"(?:menuentry_id_option|--id)\s+['\"]?([^'\"\s]+)", opened[4])
            path.append((identifier[1] if identifier else opened[3], depth))
            title = opened[3]
        kernel = re.match(r"\s*linux(?:16|efi)?[ \t]+(\S+)", line)
        if kernel and path:
            found.append(Entry(">".join(name for name, _depth in path), kernel[1], title))
        depth += len(re.findall(r"\{\s*$", line)) - len(re.findall(r"^\s*\}", line))
        while path and depth <= path[-1][1] and not opened:
            path.pop()
    return found


def default_grub(text: str, entry: Entry) -> str:
    """Return grub.cfg with the entry as what boots unless somebody chooses, for this boot or the next one."""
    return re.sub(r'(?m)^(\s*set default=)"(?!\$\{next_entry\})[^"]*"', lambda found: f'{found[1]}"{entry.name}"', text)


def reads_entries(text: str) -> bool:
    """Tell whether grub.cfg shows entries of the Boot Loader Specification."""
    return bool(re.search(r"(?m)^\s*blscfg\b", text))


def boots_saved_entry(text: str) -> bool:
    """Tell whether grub.cfg boots what its environment block says (GRUB_DEFAULT=saved)."""
    return bool(re.search(r'(?m)^\s*set default="\$\{saved_entry\}"', text))


def set_environment(text: str, name: str, value: str) -> str:
    """Return GRUB's environment block with the variable set; GRUB writes into it where it lies, so its size is kept."""
    body = set_variable(text.rstrip("#") or _ENVIRONMENT_HEADER, name, value, quote="")
    blocks = -(-max(len(text), len(body), 1) // _ENVIRONMENT_BYTES)
    return body.ljust(blocks * _ENVIRONMENT_BYTES, "#")


def get_variable(text: str, name: str) -> str | None:
    """Return a variable's value in a file of shell assignments."""
    found = re.findall(rf"(?m)^{name}=(['\"]?)(.*?)\1[ \t]*$", text)
    return found[-1][1] if found else None


def set_variable(text: str, name: str, value: str, *, quote: str | None = None) -> str:
    """Return a file of shell assignments with the variable set."""
    if quote is None:
        quote = "'" if '"' in value else '"'
    line = f"{name}={quote}{value}{quote}"
    edited, count = re.subn(rf"(?m)^{name}=.*$", lambda _found: line, text)
    if count:
        return edited
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"


def edit_entry(text: str, arguments: Arguments) -> str:
    """Return an entry of the Boot Loader Specification with its arguments edited."""
    edited, count = re.subn(
        r"(?m)^(options[ \t]+)(.*)$", lambda found: found[1] + arguments.edit(found[2]), text, count=1
    )
    added = arguments.edit("")
    if count or not added:
        return edited
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}options {added}\n"


def parse_entry(name: str, text: str) -> Entry:
    """Return an entry of the Boot Loader Specification; ``name`` is its file's without .conf."""
    fields: dict[str, str] = dict(re.findall(r"(?m)^(\S+)[ \t]+(.*\S)", text))
    version = fields.get("version", "")
    kernel = fields.get("linux", fields.get("efi", ""))
    # Of kernel-install, the file is called "linux"; the version tells.
    return Entry(name, f"vmlinuz-{version}" if kernel.endswith("/linux") else kernel, fields.get("title", ""))


def set_loader_default(text: str, entry: Entry) -> str:
    """Return systemd-boot's loader.conf with the entry as its default."""
    line = f"default {entry.name}.conf"
    edited, count = re.subn(r"(?m)^default[ \t].*$", lambda _found: line, text)
    return edited if count else f"{line}\n{text}"


def choose_entry(entries: t.Sequence[Entry], wanted: str) -> Entry | None:
    """Return the first entry that ``wanted`` means."""
    return next((entry for entry in entries if entry.boots(wanted)), None)

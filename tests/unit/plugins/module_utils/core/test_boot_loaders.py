# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loaders' files: what is edited, and that nothing else is."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core import boot_loaders
from ansible_collections.encompass.images.plugins.module_utils._core.boot_loaders import Arguments, Entry

CONSOLE = Arguments(add=("console=ttyS0", "ro"), remove=("quiet", "splash", "console"))

EXTLINUX = """\
DEFAULT linux
PROMPT 0
LABEL linux
  MENU LABEL Debian
  LINUX /boot/vmlinuz-6.1.0-18-amd64
  INITRD /boot/initrd.img-6.1.0-18-amd64
  APPEND root=UUID=1 ro quiet
LABEL old
  LINUX /boot/vmlinuz-6.1.0-9-amd64
LABEL memtest
  LINUX /boot/memtest86+x64.bin
  APPEND quiet
"""

# As Debian 12's grub-mkconfig writes it, shortened.
GRUB = """\
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
else
   set default="0"
fi
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  fi
}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1' {
\tload_video
\techo\t'Loading Linux 6.1.0-18-amd64 ...'
\tlinux\t/boot/vmlinuz-6.1.0-18-amd64 root=UUID=1 ro  quiet
\tinitrd\t/boot/initrd.img-6.1.0-18-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1' {
\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-9-amd64 (recovery mode)' $menuentry_id_option 'gnulinux-9-recovery-1' {
\t\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
\t\tlinux\t/boot/vmlinuz-6.1.0-9-amd64 root=UUID=1 ro single
\t}
\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-9-amd64' $menuentry_id_option 'gnulinux-9-advanced-1' {
\t\tlinux\t/boot/vmlinuz-6.1.0-9-amd64 root=UUID=1 ro quiet
\t}
}
menuentry 'Memory test' {
\tlinux16\t/boot/memtest86+.bin quiet
}
"""

ENTRY = "title Debian\nversion 6.1.0-18-amd64\noptions root=UUID=1 quiet splash\nlinux /abc/6.1.0-18-amd64/linux\n"


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("root=UUID=1 ro quiet", "root=UUID=1 ro console=ttyS0"),
        ("root=UUID=1  console=tty0 console=ttyS1,115200", "root=UUID=1 console=ttyS0 ro"),
        ('dyndbg="file a.c +p" splash=off', 'dyndbg="file a.c +p" console=ttyS0 ro'),
        ("", "console=ttyS0 ro"),
    ],
)
def test_arguments(line: str, after: str) -> None:
    assert CONSOLE.edit(line) == after
    assert CONSOLE.edit(after) == after


def test_arguments_that_are_as_wanted_stay_as_they_are() -> None:
    assert Arguments(add=("ro",), remove=("quiet",)).edit("ro   root=/dev/sda1") == "ro   root=/dev/sda1"


def test_extlinux() -> None:
    edited = boot_loaders.edit_extlinux(EXTLINUX, CONSOLE)
    assert edited == EXTLINUX.replace("ro quiet", "ro console=ttyS0").replace(
        "LINUX /boot/vmlinuz-6.1.0-9-amd64\n", "LINUX /boot/vmlinuz-6.1.0-9-amd64\n  APPEND console=ttyS0 ro\n"
    )
    assert boot_loaders.edit_extlinux(edited, CONSOLE) == edited
    entries = boot_loaders.list_extlinux(EXTLINUX)
    assert [entry.name for entry in entries] == ["linux", "old", "memtest"]
    old = boot_loaders.choose_entry(entries, "6.1.0-9-amd64")
    assert old == entries[1]
    assert boot_loaders.default_extlinux(EXTLINUX, old) == EXTLINUX.replace("DEFAULT linux", "DEFAULT old")
    assert boot_loaders.default_extlinux("LABEL a\n  MENU DEFAULT\n", Entry("b", "")) == "DEFAULT b\nLABEL a\n"


def test_grub() -> None:
    edited = boot_loaders.edit_grub(GRUB, CONSOLE)
    assert edited == GRUB.replace("ro  quiet", "ro console=ttyS0").replace("ro quiet", "ro console=ttyS0").replace(
        "ro single", "ro single console=ttyS0"
    )
    entries = boot_loaders.list_grub(GRUB)
    assert [entry.name for entry in entries] == [
        "gnulinux-simple-1",
        "gnulinux-advanced-1>gnulinux-9-recovery-1",
        "gnulinux-advanced-1>gnulinux-9-advanced-1",
        "Memory test",
    ]
    old = boot_loaders.choose_entry(entries, "6.1.0-9-amd64")
    assert old == entries[2]
    assert boot_loaders.choose_entry(entries, "Debian GNU/Linux") == entries[0]
    assert boot_loaders.choose_entry(entries, "5.10") is None
    assert boot_loaders.default_grub(GRUB, old) == GRUB.replace('default="0"', f'default="{old.name}"')


def test_grub_settings() -> None:
    text = "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=''\n"
    assert boot_loaders.get_variable(text, "GRUB_DEFAULT") == "0"
    assert boot_loaders.get_variable(text, "GRUB_CMDLINE_LINUX_DEFAULT") == "quiet"
    assert boot_loaders.get_variable(text, "GRUB_CMDLINE_LINUX") == ""
    assert boot_loaders.get_variable(text, "GRUB") is None
    assert boot_loaders.set_variable(text, "GRUB_CMDLINE_LINUX", "a=b").endswith('\nGRUB_CMDLINE_LINUX="a=b"\n')
    assert boot_loaders.set_variable("X=1", "Y", 'a="b"') == "X=1\nY='a=\"b\"'\n"


def test_grub_environment() -> None:
    made = boot_loaders.set_environment("", "saved_entry", "a")
    assert made == "# GRUB Environment Block\nsaved_entry=a\n".ljust(1024, "#")
    assert boot_loaders.set_environment(made, "saved_entry", "a") == made
    both = boot_loaders.set_environment(made, "other", "x" * 1100)
    assert (len(both), both.rstrip("#")) == (2048, f"# GRUB Environment Block\nsaved_entry=a\nother={'x' * 1100}\n")


def test_boot_loader_specification() -> None:
    assert boot_loaders.edit_entry(ENTRY, CONSOLE) == ENTRY.replace("quiet splash", "console=ttyS0 ro")
    assert boot_loaders.edit_entry("linux /x", CONSOLE) == "linux /x\noptions console=ttyS0 ro\n"
    entry = boot_loaders.parse_entry("abc-6.1", ENTRY)
    assert all(entry.boots(name) for name in ("abc-6.1", "6.1.0-18-amd64", "Debian"))
    assert boot_loaders.set_loader_default("timeout 3\ndefault x.conf\n", entry) == "timeout 3\ndefault abc-6.1.conf\n"
    assert boot_loaders.set_loader_default("timeout 3\n", entry) == "default abc-6.1.conf\ntimeout 3\n"

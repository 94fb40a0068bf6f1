# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes of hostile images: each has a name, the reason for which all of it is refused, and what makes it."""

from __future__ import annotations

import random
import typing as t

Image = tuple[str, bytes]
"""The format that is declared, and the bytes."""

Make = t.Callable[[random.Random], t.Iterator[Image]]
CLASSES: dict[str, tuple[str, Make]] = {}

PATHS = (
    b"/etc/shadow",
    b"../../../etc/passwd",
    b"base.qcow2",
    b"/dev/sda",
    b"/proc/self/environ",
    b'json:{"driver":"file","filename":"/etc/shadow"}',
    b"nbd://127.0.0.1:10809/x",
    b"nbd+unix:///x?socket=/run/s",
    b"ssh://root@127.0.0.1/etc/shadow",
    b"http://169.254.169.254/latest/meta-data",
    b"rbd:pool/image",
    b"fat:rw:/etc",
    b"blkdebug::/etc/shadow",
    b"C:\\base.vhd",
    b"a\nb\xff\x00c",
    b"x" * 200,
)


def hostile(reason: str) -> t.Callable[[Make], Make]:
    """Enter a class with the reason for which all of it is refused."""

    def enter(make: Make) -> Make:
        CLASSES[make.__name__] = (reason, make)
        return make

    return enter


def make_images(name: str, seed: int = 1) -> list[Image]:
    """Return the images of a class."""
    return list(CLASSES[name][1](random.Random(f"{seed} {name}")))

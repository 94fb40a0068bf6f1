# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Good images, made by qemu-img with every option that it has for a format."""

from __future__ import annotations

import itertools
import typing as t

Recipe = tuple[str, tuple[str, ...]]
"""The format, and what `qemu-img convert` is told besides."""


def _combine(image_format: str, *words: str, **options: t.Iterable[str]) -> t.Iterator[Recipe]:
    for values in itertools.product(*options.values()):
        text = ",".join(f"{name}={value}" for name, value in zip(options, values))
        yield image_format, (*words, *(("-o", text) if text else ()))


def list_recipes() -> list[Recipe]:
    """Return how each of the images is made."""
    sizes = ("512", "4k", "64k", "1M", "2M")
    adapters = ("ide", "buslogic", "lsilogic", "legacyESX")
    switch = ("on", "off")
    return [
        *_combine("raw", preallocation=("off", "falloc", "full")),
        *_combine("qcow2", compat=("0.10", "1.1"), cluster_size=sizes),
        *_combine("qcow2", "-c", compat=("0.10", "1.1"), cluster_size=sizes),
        *_combine("qcow2", "-c", compression_type=("zlib", "zstd"), cluster_size=sizes),
        *_combine("qcow2", "-c", refcount_bits=("1", "4", "8", "32", "64"), extended_l2=switch),
        *_combine("qcow2", refcount_bits=("1", "2", "4", "8", "16", "32", "64"), lazy_refcounts=switch),
        *_combine("qcow2", extended_l2=("on",), cluster_size=("16k", "64k", "1M", "2M")),
        *_combine("qcow2", preallocation=("off", "metadata", "falloc", "full"), cluster_size=("64k", "2M")),
        *_combine("vmdk", subformat=("monolithicSparse", "streamOptimized"), adapter_type=adapters),
        *_combine("vmdk", subformat=("monolithicSparse", "streamOptimized"), compat6=switch),
        *_combine("vmdk", subformat=("monolithicSparse",), zeroed_grain=switch, hwversion=("4", "21")),
        *_combine("vpc", subformat=("dynamic", "fixed"), force_size=switch),
        *_combine("vhdx", subformat=("dynamic", "fixed"), block_size=("1M", "2M", "8M", "32M", "256M")),
        *_combine("vhdx", subformat=("dynamic",), log_size=("1M", "4M"), block_state_zero=switch),
        *_combine("vdi", static=switch),
    ]

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout usable as a collection, whatever its folder is called; print the collections path."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
COLLECTIONS = PROJECT / ".state" / "collections"


def link_checkout() -> Path:
    """Make `ansible_collections/encompass/images` below it a link to the checkout; return the collections path."""
    link = COLLECTIONS / "ansible_collections" / "encompass" / "images"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.resolve() != PROJECT:
        # made aside and renamed, because several test runs may do this at once
        partial = link.with_name(f".images.{os.getpid()}")
        partial.symlink_to(PROJECT)
        partial.replace(link)
    return COLLECTIONS


if __name__ == "__main__":
    print(link_checkout())

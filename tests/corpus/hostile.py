# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All hostile images: what a stranger could hand in, the same each time, and why each is refused.

A new class is a function in one of these files, entered with the reason that is expected of the inspector.
"""

from __future__ import annotations

from ansible_collections.encompass.images.tests.corpus import hostile_mixed, hostile_others, hostile_qcow2, hostile_vmdk
from ansible_collections.encompass.images.tests.corpus.classes import CLASSES, make_images

__all__ = ["CLASSES", "hostile_mixed", "hostile_others", "hostile_qcow2", "hostile_vmdk", "make_images"]

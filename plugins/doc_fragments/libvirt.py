# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of all modules that work on a libvirt host."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments V(libvirt) and V(libvirt.workers)."""

    DOCUMENTATION = r"""
requirements:
  - libvirt 6.9 or later, and its Python bindings (python3-libvirt) for the interpreter that runs modules on the
    provider
options:
  uri:
    description: How libvirt is reached from the provider itself.
    type: str
    default: qemu:///system
  timeout_s:
    description:
      - How long a single call of libvirt may take, in seconds. A daemon that hangs fails the task instead of
        holding it for ever.
    type: int
    default: 60
"""

    WORKERS = r"""
options:
  workers:
    description: How many items are worked on at the same time.
    type: int
    default: 4
"""

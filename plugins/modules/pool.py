#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make directories pools of a provider."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pool
short_description: Make directories pools of a provider
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Makes a directory with the layout that masters and clones need, and defines and starts it as a libvirt pool.
  - A directory that is there keeps its owner and its mode, but everybody may pass through it afterwards, since
    the hypervisor's user has to reach the volumes.
  - A pool of this name elsewhere, and a pool of another name at this place, are never touched.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.libvirt
options:
  state:
    description: Pools can only be made; to remove one is a matter for people, because of what is in it.
    type: str
    choices: [present]
    default: present
  pools:
    description: The pools, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The pool's name.
        type: str
        required: true
      path:
        description: The directory. On a shared file system, mounted already.
        type: str
        required: true
      type:
        description: The kind of pool.
        type: str
        choices: [dir]
        default: dir
      shared:
        description:
          - Whether other providers have the same directory at the same path.
          - The file system must have POSIX locks, as NFS, CephFS and GFS2 have.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Make a local pool
  encompass.images.pool:
    pools:
      - name: default
        path: /var/lib/encompass/pool

- name: Make a pool on a file system that all providers mount
  encompass.images.pool:
    pools:
      - name: shared
        path: /srv/shared/encompass
        shared: true
"""

RETURN = r"""
objects:
  description: What became of each pool.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The pool's name.
      type: str
      returned: always
    changed:
      description: Whether something was or would be done.
      type: bool
      returned: always
    failed:
      description: Whether it failed.
      type: bool
      returned: always
    msg:
      description: What failed and what to do about it.
      type: str
      returned: when the item failed
    steps:
      description: What was or would be done.
      type: list
      elements: str
      returned: always
    record:
      description: The pool as it is, or would be.
      type: dict
      returned: always
  sample:
    - name: default
      changed: true
      failed: false
      steps:
        - make directory /var/lib/encompass/pool (0711)
        - define pool default at /var/lib/encompass/pool
        - start pool default, now and with the host
      record:
        pool: default
        type: dir
        path: /var/lib/encompass/pool
        shared: false
"""

from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS
from ..module_utils._module.pools import open_pools
from ..module_utils._module.runner import run_module

POOL_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["dir"], "default": "dir"},
    "shared": {"type": "bool", "default": False},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present"], "default": "present"},
    "pools": {"type": "list", "elements": "dict", "required": True, "options": POOL_SPEC},
    **LIBVIRT_OPTIONS,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_pools)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and remove clones of masters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clone
short_description: Make and remove clones of master images
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A clone is an independent instance of a master, with volumes of its own. This module makes the volumes of any number
    of clones on one provider in one call, or deletes them.
  - A clone's directory appears at once with all its volumes finished and on the disk. A run that is killed leaves
    nothing but files in the pool's staging directory, which the next run removes.
  - A clone that is there is compared with what is asked for and never overwritten.
  - Options that are filled in from the catalog need not be given, and the clones are registered there.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
requirements:
  - qemu-img on the provider
options:
  state:
    description:
      - V(present) makes the clones.
      - V(absent) deletes their directories with all that is in them. It is refused while a guest or a tool has a volume
        open.
    type: str
    choices: [present, absent]
    default: present
  clones:
    description: The clones, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The clone's name.
        type: str
        required: true
      master:
        description: The name of the master, V(FUNCTION-vVERSION).
        type: str
      pool:
        description: The name of the pool that the clone lives in.
        type: str
        default: default
      method:
        description:
          - V(overlay) makes volumes that hold only what differs from the master's, in milliseconds.
          - V(copy) makes volumes that do not need the master any more. They share the master's blocks where the pool
            can do that (XFS, btrfs); else the master's data are copied, and compared afterwards.
          - V(auto) takes the first of these that is possible, and the result says why.
        type: str
        choices: [auto, overlay, copy]
        default: auto
      stage:
        description:
          - The stage of the clone according to the catalog.
          - In check mode the steps that come before in a play are only planned; the module goes by this then.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [planned, unassigned, assigned, attached, active]
      directory:
        description:
          - Where the clone's volumes are; always V(POOL_PATH/clones/NAME).
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      pool_path:
        description:
          - The pool's directory on the provider.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      reflink:
        description:
          - Whether files in the pool can share blocks.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: bool
        default: false
      volumes:
        description:
          - The volumes to make.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The volume's name.
            type: str
            required: true
          format:
            description: The volume's format.
            type: str
            choices: [qcow2]
            default: qcow2
          virtual_bytes:
            description: The volume's size as the guest sees it; that of its base when it is not given.
            type: int
          allocated_bytes:
            description: How many bytes the base holds, for estimates while it is not there yet.
            type: int
          base:
            description: The master's published volume.
            type: dict
            required: true
            suboptions:
              path:
                description: Where it is.
                type: str
              format:
                description: Its format.
                type: str
                choices: [qcow2]
                default: qcow2
              digest:
                description: The SHA-256 that it was registered with.
                type: str
              fingerprint:
                description:
                  - Its V(SIZE:MTIME_NS:INODE) when its digest was last known to be right. While it has this
                    fingerprint it is not read again.
                type: str
  workers:
    description: How many clones are worked on at a time.
    type: int
    default: 4
  timeout_s:
    description: How long one copy of a volume may take, in seconds.
    type: int
    default: 3600
seealso:
  - module: encompass.images.master
  - module: encompass.images.clone_info
"""

EXAMPLES = r"""
- name: Make two clones of the newest web server
  encompass.images.clone:
    clones:
      - name: web-server-v2-1
        master: web-server-v2
      - name: web-server-v2-2
        master: web-server-v2

- name: Make a clone that does not depend on its master
  encompass.images.clone:
    clones:
      - name: build-host-v1-1
        master: build-host-v1
        method: copy

- name: Delete a clone
  encompass.images.clone:
    state: absent
    clones:
      - name: web-server-v2-1

- name: Make a clone without a catalog
  encompass.images.clone:
    clones:
      - name: scratch
        pool_path: /var/lib/encompass/pool
        volumes:
          - name: root
            base:
              path: "{{ imported.objects[0].record.path }}"
              digest: "{{ imported.objects[0].record.digest }}"
"""

RETURN = r"""
objects:
  description: What became of each clone, in the order of the request.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The clone's name.
      type: str
      returned: always
    changed:
      description: Whether the clone was changed, or would be in check mode.
      type: bool
      returned: always
    failed:
      description: Whether this clone failed; the others are not touched by that.
      type: bool
      returned: always
    msg:
      description: What failed and what to do.
      type: str
      returned: when the clone failed
    steps:
      description: What was done, or would be done in check mode, in words.
      type: list
      elements: str
      returned: always
    record:
      description: The clone as it is now, or would be. Empty when it is deleted.
      type: dict
      returned: always
      contains:
        directory:
          description: Where its volumes are.
          type: str
        method:
          description: How its volumes were made.
          type: str
        reason:
          description: Why by this method.
          type: str
        rejected:
          description: Why not by the other methods, by method.
          type: dict
        volumes:
          description: Its volumes, each with name, path, format, virtual size and, for an overlay, its backing file.
          type: list
          elements: dict
        estimated_bytes:
          description: How many bytes of the pool it takes when it is new.
          type: int
        allocated_bytes:
          description: How many bytes of the pool it takes now.
          type: int
      sample:
        directory: /srv/pool/clones/web-server-v2-1
        method: overlay
        reason: >-
          the master is qcow2 in the same pool: an overlay takes milliseconds and holds only what differs
        rejected: {copy: overlay is cheaper}
        volumes:
          - name: root
            path: /srv/pool/clones/web-server-v2-1/root.qcow2
            format: qcow2
            virtual_bytes: 3221225472
            backing:
              path: /srv/pool/masters/6f1c2a90d85d5b1fbdd0ac4cf7dbb8d7d7b4b7c7ac7af7e9bcd1f4e3d2f80a11.qcow2
              format: qcow2
              digest: 6f1c2a90d85d5b1fbdd0ac4cf7dbb8d7d7b4b7c7ac7af7e9bcd1f4e3d2f80a11
        estimated_bytes: 262144
        allocated_bytes: 12288
"""

from ..module_utils._core.clone_methods import METHOD_NAMES
from ..module_utils._module.clones import open_clones
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

BASE_SPEC = {
    "path": {"type": "str"},
    "format": {"type": "str", "choices": ["qcow2"], "default": "qcow2"},
    "digest": {"type": "str"},
    "fingerprint": {"type": "str"},
}

VOLUME_SPEC = {
    "name": {"type": "str", "required": True},
    "format": {"type": "str", "choices": ["qcow2"], "default": "qcow2"},
    "virtual_bytes": {"type": "int"},
    "allocated_bytes": {"type": "int"},
    "base": {"type": "dict", "required": True, "options": BASE_SPEC},
}

CLONE_SPEC = {
    "name": {"type": "str", "required": True},
    "master": {"type": "str"},
    "pool": {"type": "str", "default": "default"},
    "method": {"type": "str", "choices": list(METHOD_NAMES), "default": "auto"},
    "stage": {"type": "str", "choices": ["planned", "unassigned", "assigned", "attached", "active"]},
    "directory": {"type": "str"},
    "pool_path": {"type": "str"},
    "reflink": {"type": "bool", "default": False},
    "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_SPEC},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "clones": {"type": "list", "elements": "dict", "required": True, "options": CLONE_SPEC},
    **OPERATIONS,
    "workers": {"type": "int", "default": 4},
    "timeout_s": {"type": "int", "default": 3600},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_clones)


if __name__ == "__main__":
    main()

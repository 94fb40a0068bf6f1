#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, grow and delete the data volumes of servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume
short_description: Make, grow and delete the data volumes of servers
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A data volume belongs to a server and outlives its clones. This module makes or grows the data volumes of any number
    of servers on one provider in one call, or deletes them. Machines get them by M(encompass.images.attach).
  - A volume appears at once, finished and on the disk. A run that is killed leaves nothing but files in the pool's
    staging directory, which the next run removes.
  - A volume that is there keeps what is in it. It can grow while its machine is off, but never shrink. A file system
    in it is left to the guest.
  - Options that are filled in from the catalog need not be given, and the volumes are registered there. Most often
    the field C(data) of a deployment, and not a task of yours, calls for volumes; see M(encompass.images.place).
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
requirements:
  - qemu-img on the provider
  - libguestfs with its Python binding on the provider, for O(volumes[].filesystem)
options:
  state:
    description:
      - V(present) makes the volumes, or grows them.
      - V(absent) deletes them with all that is in them. It is refused while a machine has the volume, or a guest or a
        tool has it open.
    type: str
    choices: [present, absent]
    default: present
  volumes:
    description: The volumes, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The volume's name, V(SERVER.VOLUME).
        type: str
        required: true
      pool:
        description: The name of the pool that the volume lives in.
        type: str
        default: default
      size_gib:
        description: The volume's size in GiB. Give this or O(volumes[].size_mib) for a volume that is new.
        type: int
      size_mib:
        description: The volume's size in MiB.
        type: int
      virtual_bytes:
        description:
          - The volume's size in bytes.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: int
      format:
        description: The volume's format. It stays.
        type: str
        choices: [qcow2, raw]
        default: qcow2
      bus:
        description: The bus that the machine sees the volume on.
        type: str
        choices: [virtio, scsi, sata]
        default: virtio
      filesystem:
        description:
          - The file system that a new volume holds as a whole, without partitions. It is made once, with the volume,
            and never again.
        type: str
        choices: [ext4, xfs]
      label:
        description: The label of O(volumes[].filesystem), at most 16 characters for V(ext4) and 12 for V(xfs).
        type: str
      idle:
        description:
          - Whether no machine runs with the volume according to the catalog.
          - In check mode the steps that come before in a play are only planned; the module goes by this then.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: bool
        default: false
      pool_path:
        description:
          - The pool's directory on the provider.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      path:
        description:
          - Where the volume is; always V(POOL_PATH/data/SERVER/VOLUME.FORMAT).
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
  workers:
    description: How many volumes are worked on at a time.
    type: int
    default: 4
  timeout_s:
    description: How long making the file systems of up to 24 volumes may take, in seconds.
    type: int
    default: 600
  virt_type:
    description: How libguestfs runs its appliance; V(auto) tries KVM first.
    type: str
    choices: [auto, kvm, qemu]
    default: auto
seealso:
  - module: encompass.images.volume_info
  - module: encompass.images.place
"""

EXAMPLES = r"""
- name: Make a data volume for a server, with an empty file system
  encompass.images.volume:
    volumes:
      - name: web-1.db
        size_gib: 10
        filesystem: ext4
        label: db

- name: Delete a volume that its deployment does not declare any more
  encompass.images.volume:
    state: absent
    volumes:
      - name: web-1.db

- name: Make a volume without a catalog
  encompass.images.volume:
    volumes:
      - name: scratch.db
        pool_path: /var/lib/encompass/pool
        size_mib: 512
        format: raw
"""

RETURN = r"""
objects:
  description: What became of each volume, in the order of the request.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The volume's name.
      type: str
      returned: always
    changed:
      description: Whether the volume was changed, or would be in check mode.
      type: bool
      returned: always
    failed:
      description: Whether this volume failed; the others are not touched by that.
      type: bool
      returned: always
    msg:
      description: What failed and what to do.
      type: str
      returned: when the volume failed
    steps:
      description: What was done, or would be done in check mode, in words.
      type: list
      elements: str
      returned: always
    record:
      description: The volume as it is now, or would be. Empty when it is deleted.
      type: dict
      returned: always
      contains:
        path:
          description: Where it is.
          type: str
        format:
          description: Its format.
          type: str
        virtual_bytes:
          description: Its size as the guest sees it.
          type: int
        allocated_bytes:
          description: How many bytes of the pool it took when it was looked at.
          type: int
      sample:
        path: /var/lib/encompass/pool/data/web-1/db.qcow2
        format: qcow2
        virtual_bytes: 10737418240
        allocated_bytes: 200704
"""

from ..module_utils._core.data_volumes import FORMATS, LABEL_MAX_CHARS
from ..module_utils._core.domain import DISK_BUSES
from ..module_utils._core.virt_type import REQUESTS
from ..module_utils._module.data_volumes import open_data_volumes
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

VOLUME_SPEC = {
    "name": {"type": "str", "required": True},
    "pool": {"type": "str", "default": "default"},
    "size_gib": {"type": "int"},
    "size_mib": {"type": "int"},
    "virtual_bytes": {"type": "int"},
    "format": {"type": "str", "choices": list(FORMATS), "default": "qcow2"},
    "bus": {"type": "str", "choices": list(DISK_BUSES), "default": "virtio"},
    "filesystem": {"type": "str", "choices": list(LABEL_MAX_CHARS)},
    "label": {"type": "str"},
    "idle": {"type": "bool", "default": False},
    "pool_path": {"type": "str"},
    "path": {"type": "str"},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "volumes": {"type": "list", "elements": "dict", "required": True, "options": VOLUME_SPEC},
    **OPERATIONS,
    "workers": {"type": "int", "default": 4},
    "timeout_s": {"type": "int", "default": 600},
    "virt_type": {"type": "str", "choices": list(REQUESTS), "default": "auto"},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_data_volumes)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give machines their clones' volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: attach
short_description: Attach clones to their machines
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Defines machines as libvirt domains with the volumes of the clones that are assigned to them, or undefines them.
    Machines are not started by it.
  - The definition names every image format and every backing file, so that nothing is ever probed. A domain carries
    in its metadata whose machine it is.
  - A domain that is there is compared in what this module says about it, and in nothing else. When that differs, it
    is defined anew; a running machine is refused instead.
  - Refused are domains of the same name that this catalog did not make, and volumes that another domain of the
    provider has.
  - Options that are filled in from the catalog need not be given, and the clones' state is registered there.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
  - encompass.images.libvirt
  - encompass.images.libvirt.workers
options:
  state:
    description:
      - V(attached) defines the machines exactly so.
      - V(detached) undefines them with their firmware variables and saved states. Volumes and addresses stay. It is
        refused while a machine runs.
    type: str
    choices: [attached, detached]
    default: attached
  machines:
    description: The machines, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The machine's name, which is the domain's as well.
        type: str
        required: true
      clone:
        description: The clone whose volumes the machine gets.
        type: str
      server:
        description:
          - The name of the server that the machine is.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      catalog:
        description:
          - The catalog's id, which marks the domain as its own.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      stage:
        description:
          - The stage of the machine's clone according to the catalog.
          - In check mode the steps that come before in a play are only planned; the module goes by this then.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [planned, unassigned, assigned, attached, active]
      uuid:
        description:
          - The machine's UUID, which it keeps for life.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      arch:
        description:
          - The machine's architecture.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [x86_64]
      firmware:
        description:
          - The machine's firmware.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [bios, uefi]
      cpus:
        description:
          - How many virtual CPUs the machine has.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: int
      memory_mib:
        description:
          - The machine's memory in MiB.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: int
      virt_type:
        description:
          - V(kvm) for the host's own processor, V(qemu) for an emulated one.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [kvm, qemu]
      nics:
        description:
          - The machine's network cards.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          network:
            description: The provider's network that the card is on.
            type: str
            required: true
          mac:
            description: The card's MAC address.
            type: str
            required: true
          address:
            description: The address that is reserved for the card; see M(encompass.images.assign).
            type: str
      disks:
        description:
          - The machine's disks; it boots from the first one.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: The volume's file.
            type: str
            required: true
          format:
            description: The volume's format.
            type: str
            choices: [qcow2, raw]
            required: true
          bus:
            description: The bus that the machine sees the disk on.
            type: str
            choices: [virtio, scsi, sata]
            default: virtio
          serial:
            description: The serial number that the machine sees, at most 20 characters.
            type: str
          backing:
            description: The whole chain of backing files, the nearest first; empty for a volume that stands alone.
            type: list
            elements: dict
            default: []
            suboptions:
              path:
                description: The backing file.
                type: str
                required: true
              format:
                description: Its format.
                type: str
                choices: [qcow2, raw]
                required: true
      seed:
        description:
          - A NoCloud disk, which the machine sees read-only beside its own ones.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
"""

EXAMPLES = r"""
- name: Attach the clones that are assigned to two machines
  encompass.images.attach:
    machines:
      - name: web-1
      - name: web-2

- name: Undefine a machine; it keeps its clone and its addresses
  encompass.images.attach:
    state: detached
    machines:
      - name: web-2

- name: Define a machine without a catalog
  encompass.images.attach:
    machines:
      - name: web-1
        uuid: 5f1d0c4e-8a07-4c9e-8a6f-3d9a5c1b7e01
        arch: x86_64
        firmware: bios
        cpus: 2
        memory_mib: 1024
        virt_type: kvm
        nics:
          - network: encompass
            mac: 52:54:00:1a:2b:3c
        disks:
          - path: /var/lib/encompass/pool/clones/web-server-v2-1/root.qcow2
            format: qcow2
            backing:
              - path: /var/lib/encompass/pool/masters/6f1c2a90d85d5b1f.qcow2
                format: qcow2
"""

RETURN = r"""
objects:
  description: What became of each machine.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The machine's name.
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
      description: What the catalog notes.
      type: dict
      returned: always
      contains:
        stage:
          description: V(attached), or V(assigned) once detached.
          type: str
          returned: success
        uuid:
          description: The machine's UUID.
          type: str
          returned: success
        domain_active:
          description: Whether the machine runs.
          type: bool
          returned: success
  sample:
    - name: web-1
      changed: true
      failed: false
      steps: ["define domain web-1: 2 CPUs, 1024 MiB, kvm, 1 disks, 1 NICs"]
      record:
        stage: attached
        uuid: 5f1d0c4e-8a07-4c9e-8a6f-3d9a5c1b7e01
        domain_active: false
"""

from ..module_utils._core.domain import ARCHES, DISK_BUSES, FIRMWARES, VIRT_TYPES
from ..module_utils._module.attachments import open_attachments
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS, WORKERS_OPTION
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

FORMATS = ["qcow2", "raw"]

NIC_SPEC = {
    "network": {"type": "str", "required": True},
    "mac": {"type": "str", "required": True},
    "address": {"type": "str"},
}

BACKING_SPEC = {
    "path": {"type": "str", "required": True},
    "format": {"type": "str", "choices": FORMATS, "required": True},
}

DISK_SPEC = {
    "path": {"type": "str", "required": True},
    "format": {"type": "str", "choices": FORMATS, "required": True},
    "bus": {"type": "str", "choices": list(DISK_BUSES), "default": "virtio"},
    "serial": {"type": "str"},
    "backing": {"type": "list", "elements": "dict", "default": [], "options": BACKING_SPEC},
}

MACHINE_SPEC = {
    "name": {"type": "str", "required": True},
    "clone": {"type": "str"},
    "server": {"type": "str"},
    "catalog": {"type": "str"},
    "stage": {"type": "str", "choices": ["planned", "unassigned", "assigned", "attached", "active"]},
    "uuid": {"type": "str"},
    "arch": {"type": "str", "choices": list(ARCHES)},
    "firmware": {"type": "str", "choices": list(FIRMWARES)},
    "cpus": {"type": "int"},
    "memory_mib": {"type": "int"},
    "virt_type": {"type": "str", "choices": list(VIRT_TYPES)},
    "nics": {"type": "list", "elements": "dict", "default": [], "options": NIC_SPEC},
    "disks": {"type": "list", "elements": "dict", "default": [], "options": DISK_SPEC},
    "seed": {"type": "str"},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["attached", "detached"], "default": "attached"},
    "machines": {"type": "list", "elements": "dict", "required": True, "options": MACHINE_SPEC},
    **OPERATIONS,
    **LIBVIRT_OPTIONS,
    **WORKERS_OPTION,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_attachments)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See what a provider has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: discover
short_description: See what a provider has
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Returns what a provider is and has, namely its processors, memory and acceleration, pools, networks and domains,
    and the volumes and masters in its pools. The provider is only looked at.
  - Whether KVM works is proved by booting a kernel under it, because C(/dev/kvm) may be there and still hang every
    guest. The proof takes at most about 4 seconds and is not repeated until the provider is booted again.
  - With the collection's action plugin, the provider and its pools are registered in the catalog, and the task is
    changed when that is news to it.
extends_documentation_fragment:
  - encompass.images.attributes.info
  - encompass.images.libvirt
options:
  pools:
    description: The pools to look at.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The pool's name.
        type: str
        required: true
      path:
        description: The pool's directory.
        type: str
        required: true
      type:
        description: The kind of pool.
        type: str
        choices: [dir]
        default: dir
      shared:
        description: Whether other providers have the same directory at the same path.
        type: bool
        default: false
  networks:
    description: The networks to tell of; all of them when none is named. Only the names count.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The network's name.
        type: str
        required: true
      mode:
        description: Not looked at.
        type: str
      subnet:
        description: Not looked at.
        type: str
      gateway:
        description: Not looked at.
        type: str
      bridge:
        description: Not looked at.
        type: str
      dhcp_range:
        description: Not looked at.
        type: list
        elements: str
      domain:
        description: Not looked at.
        type: str
      spans:
        description: Not looked at.
        type: bool
      peers:
        description:
          - Addresses of other providers on a network that spans. It is seen which of them answer at its bridge.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: str
  virt_type:
    description:
      - Which acceleration machines shall get. V(auto) is V(kvm) where that is proved to work, else V(qemu).
      - With V(kvm), the task fails where KVM does not work.
    type: str
    choices: [auto, kvm, qemu]
    default: auto
  known:
    description:
      - What is known from an earlier look.
      - Filled in from the catalog. Give it only when you run the module without one.
    type: dict
    suboptions:
      virt_type:
        description: What was found.
        type: str
      virt_reason:
        description: Why.
        type: str
      virt_requested:
        description: What was asked for.
        type: str
      boot_id:
        description: The boot of the provider that it holds for.
        type: str
"""

EXAMPLES = r"""
- name: See what a provider has
  encompass.images.discover:
    pools:
      - name: default
        path: /var/lib/encompass/pool
  register: seen

- name: Say which acceleration it has, and why
  ansible.builtin.debug:
    msg: "{{ seen.provider.virt_type }}: {{ seen.provider.virt_reason }}"
"""

RETURN = r"""
provider:
  description: What the provider is.
  returned: success
  type: dict
  contains:
    uri:
      description: How libvirt is reached there.
      type: str
      returned: success
    hostname:
      description: The host's own name.
      type: str
      returned: success
    arch:
      description: Its architecture.
      type: str
      returned: success
    cpus:
      description: How many processors it has.
      type: int
      returned: success
    memory_mib:
      description: Its memory in MiB.
      type: int
      returned: success
    cpu_model:
      description: The CPU model that libvirt takes it for; may be empty.
      type: str
      returned: success
    cpu_features:
      description: What its CPU can do beyond that model.
      type: list
      elements: str
      returned: success
    virt_type:
      description: The acceleration of its machines.
      type: str
      returned: success
    virt_reason:
      description: Why that one.
      type: str
      returned: success
    virt_requested:
      description: What was asked for.
      type: str
      returned: success
    boot_id:
      description: Which boot of the provider it holds for.
      type: str
      returned: success
    firmwares:
      description: Firmwares that machines can have.
      type: list
      elements: str
      returned: success
    versions:
      description: The versions of libvirt and QEMU.
      type: dict
      returned: success
    lock_manager:
      description: What keeps two guests from one volume; V(lockd) as it should be.
      type: str
      returned: success
  sample:
    uri: qemu:///system
    hostname: host1
    arch: x86_64
    cpus: 8
    memory_mib: 32068
    cpu_model: Skylake-Client-IBRS
    cpu_features: [pdpe1gb, vmx]
    virt_type: kvm
    virt_reason: a kernel booted under /dev/kvm and printed its first line after 0.4 s
    virt_requested: auto
    boot_id: 0c4b5c1e-3f0e-4a55-9f42-7a3f5a6a9f10
    firmwares: [bios, uefi]
    versions: {libvirt: 9.0.0, qemu: 7.2.9}
    lock_manager: lockd
pools:
  description: The pools that were asked for.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The pool's name.
      type: str
      returned: success
    path:
      description: Its directory.
      type: str
      returned: success
    type:
      description: Its kind.
      type: str
      returned: success
    shared:
      description: Whether other providers have it as well.
      type: bool
      returned: success
    filesystem:
      description: The file system that it is on.
      type: str
      returned: success
    reflink:
      description: Whether its files can share blocks.
      type: bool
      returned: success
    capacity_bytes:
      description: The file system's size.
      type: int
      returned: success
    available_bytes:
      description: What is free of it.
      type: int
      returned: success
    usable:
      description: Whether it can be used.
      type: bool
      returned: success
    problem:
      description: What is wrong with it.
      type: str
      returned: success
networks:
  description: The provider's networks.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The network's name.
      type: str
      returned: success
    active:
      description: Whether it is up.
      type: bool
      returned: success
    mode:
      description: How it reaches the outside.
      type: str
      returned: success
    bridge:
      description: The host's bridge.
      type: str
      returned: success
    subnet:
      description: Its IPv4 subnet; none if libvirt gives it no address.
      type: str
      returned: success
    gateway:
      description: The host's address in it.
      type: str
      returned: success
    dhcp_range:
      description: First and last address for machines without a reservation.
      type: list
      elements: str
      returned: success
    dhcp_hosts:
      description: The reservations with mac and address and name.
      type: list
      elements: dict
      returned: success
    spans:
      description: Whether other providers have it in common with this one.
      type: bool
      returned: success
    reaches:
      description: The other providers' addresses on it that answer here.
      type: list
      elements: str
      returned: success
domains:
  description: The provider's domains, whoever made them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The domain's name.
      type: str
      returned: success
    uuid:
      description: Its UUID.
      type: str
      returned: success
    active:
      description: Whether it runs.
      type: bool
      returned: success
    cpus:
      description: Its virtual CPUs.
      type: int
      returned: success
    memory_mib:
      description: Its memory in MiB.
      type: int
      returned: success
    disks:
      description: Its volumes.
      type: list
      elements: str
      returned: success
    disk_buses:
      description: The buses that it has these volumes on, in the same order.
      type: list
      elements: str
      returned: success
    macs:
      description: Its MAC addresses.
      type: list
      elements: str
      returned: success
    machine_metadata:
      description: Whose machine it is (catalog, machine, server, clone); none for a domain that is not ours.
      type: dict
      returned: success
volumes:
  description: All volumes of clones in the usable pools, each with clone, name, path and allocated_bytes.
  returned: success
  type: list
  elements: dict
data:
  description:
    - All data volumes of servers in the usable pools, each with name, path, pool, virtual_bytes and allocated_bytes.
    - The size of one that cannot be read is 0.
  returned: success
  type: list
  elements: dict
masters:
  description: All published volumes of masters in the usable pools, each with digest, path, fingerprint and pool.
  returned: success
  type: list
  elements: dict
"""

from ..module_utils._core.virt_type import REQUESTS
from ..module_utils._module.discovery import discover
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS
from ..module_utils._module.queries import run_query

POOL_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["dir"], "default": "dir"},
    "shared": {"type": "bool", "default": False},
}

NETWORK_SPEC = {
    "name": {"type": "str", "required": True},
    "mode": {"type": "str"},
    "subnet": {"type": "str"},
    "gateway": {"type": "str"},
    "bridge": {"type": "str"},
    "dhcp_range": {"type": "list", "elements": "str"},
    "domain": {"type": "str"},
    "spans": {"type": "bool"},
    "peers": {"type": "list", "elements": "str"},
}

KNOWN_SPEC = {
    "virt_type": {"type": "str"},
    "virt_reason": {"type": "str"},
    "virt_requested": {"type": "str"},
    "boot_id": {"type": "str"},
}

ARGUMENT_SPEC = {
    "pools": {"type": "list", "elements": "dict", "default": [], "options": POOL_SPEC},
    "networks": {"type": "list", "elements": "dict", "default": [], "options": NETWORK_SPEC},
    "virt_type": {"type": "str", "choices": list(REQUESTS), "default": "auto"},
    "known": {"type": "dict", "options": KNOWN_SPEC},
    **LIBVIRT_OPTIONS,
}


def main() -> None:
    """Run the module."""
    run_query(ARGUMENT_SPEC, discover)


if __name__ == "__main__":
    main()

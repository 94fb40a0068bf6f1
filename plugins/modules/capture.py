#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make masters of clones in maintenance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: capture
short_description: Make masters of clones in maintenance, or of machines that are not ours
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Makes the next version of its master of each clone. Items, inputs and hardware are those of the master that it is a
    clone of. The clone is spent then; it can only be deleted.
  - The clone itself is never written to. Its volumes are copied with all that they are based on, and the copies are
    sealed. The file systems of all copies are opened in one appliance of libguestfs; the host's kernel mounts nothing.
  - Sealing takes the customization back that the clone was given, as far as nobody has changed it since by hand; what
    was changed by hand is kept and reported, but for the identity and for what held a secret input. It empties the
    machine-id, and removes ssh host keys, random seeds, DHCP leases, network names, cloud-init's instance data, logs,
    caches, temporary files and shell histories. What file systems do not use is given back.
  - It looks for secrets in C(/etc), C(/root) and C(/home) and reports paths and kinds, never contents.
  - The copy is inspected, and refused when it still is somebody. Then its volumes are published together, each under
    the digest of its content. A run that is killed leaves nothing but what the next one finishes or removes.
  - Options that are filled in from the catalog need not be given, and the masters are registered there.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
requirements:
  - libguestfs with its Python binding on the provider (python3-guestfs)
  - qemu-img on the provider
options:
  clones:
    description: The clones, each once. They must be in maintenance and must not run.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The clone's name, or that of the server that runs it.
        type: str
        required: true
      master:
        description:
          - The name of the new master.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      pool_path:
        description:
          - The directory of the pool.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      directory:
        description:
          - Where the clone's volumes are, and what its customization kept.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      volumes:
        description:
          - The clone's volumes. It boots from the first.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The volume's name.
            type: str
            required: true
          path:
            description: Its file.
            type: str
            required: true
          format:
            description: Its format. It is never probed.
            type: str
            required: true
      layout:
        description:
          - The file systems of the master, as its inspection found them.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: dict
      hardware:
        description:
          - What the master asks of a machine, which the new one asks too.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: dict
      stage:
        description:
          - The stage of the clone according to the catalog.
          - In check mode the steps that come before in a play are only planned; the module goes by this then.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [planned, unassigned, assigned, attached, active]
  donors:
    description:
      - Machines that are not ours, each to become a master; instead of O(clones). They go on running, and nothing is
        installed or left on them.
      - A domain that runs goes on running. libvirt copies its disks, all as they are at one moment. Where its guest
        agent is connected its file systems are frozen for that moment, and thawed at once. Otherwise the master is what
        would have been left by a crash then. Nothing of the domain changes, and no job or snapshot stays.
      - A domain that is off must stay off while it is copied; one that is started meanwhile is refused.
      - A machine that is reached over ssh needs a POSIX shell with C(dd) and C(sha256sum), as coreutils or busybox have
        them, and C(fsfreeze) (util-linux or busybox) to freeze. The provider reads its disks as root there, part by
        part, and only those parts that differ from what it has. It does so again until the copy is of one moment, in
        the end with the file systems frozen. They are thawed after O(donors[].freeze_limit_s) even if the connection is
        lost or the provider dies.
      - A copy over ssh that is broken off is kept in the pool for a week, and the next run goes on with it.
      - The system of a machine that is no virtual one may lack drivers of virtio. Take O(donors[].disk_bus=sata) then,
        or give the master an item of type C(kernel).
      - A master that is in the catalog already is left alone. Items and inputs are added to it by
        M(encompass.images.master), which needs no C(source) for a master that is there.
    type: list
    elements: dict
    default: []
    suboptions:
      domain:
        description: The name of a libvirt domain of the provider. Its disks must be files or devices.
        type: str
      ssh:
        description:
          - The address of a machine that the provider reaches over ssh, C(HOST) or C(USER@HOST); instead of
            O(donors[].domain).
          - The provider must know its host key. No question is asked and no password given.
        type: str
      port:
        description: The port of its sshd.
        type: int
      identity_file:
        description: The private key to log in with, a file of the provider; else what ssh finds there by itself.
        type: path
      known_hosts:
        description: A file of the provider with the machine's host key; else root's own and the system's.
        type: path
      become:
        description: Whether the user there is no root, and becomes it by C(sudo -n).
        type: bool
        default: false
      provider:
        description:
          - The inventory name of the provider that takes it; others leave it alone. Without it every provider that the
            task is for does.
          - This is for the action plugin; the module itself does not look at it.
        type: str
      disks:
        description:
          - The disks to take, by their targets, such as V(vda), or over ssh by their device files, such as
            V(/dev/disk/by-id/ata-1). The master boots from the first, which becomes its volume V(root); the others are
            called by their targets.
          - When none are given, all that the domain writes to, in its own order; over ssh those that hold C(/),
            C(/usr), C(/boot) and the EFI partition.
        type: list
        elements: str
        default: []
      freeze:
        description:
          - Whether the file systems of a domain that runs are frozen by its guest agent while the copying begins, or
            those of a machine that is reached over ssh while its disks are read for the last time.
          - V(auto) does so if it can be done, V(required) refuses the machine otherwise, and V(never) does not try.
        type: str
        choices: [auto, required, never]
        default: auto
      freeze_limit_s:
        description:
          - How long file systems may be frozen over ssh, in seconds; what writes there waits meanwhile. When reading
            the disks takes longer, they are not frozen.
        type: int
        default: 60
      function:
        description: What servers of the master are for.
        type: str
        required: true
      version:
        description: The master's version.
        type: int
        default: 1
      pool:
        description: The pool that the master goes to.
        type: str
        default: default
      pool_path:
        description:
          - The directory of the pool.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      arch:
        description: The processor architecture that the master needs.
        type: str
        default: x86_64
      firmware:
        description: The firmware that boots it. When it is not given, the image tells.
        type: str
        choices: [bios, uefi]
      disk_bus:
        description: The bus of its disks.
        type: str
        choices: [virtio, scsi, sata]
        default: virtio
      min_cpus:
        description: The least number of processors.
        type: int
        default: 1
      min_memory_mib:
        description: The least memory, in MiB.
        type: int
        default: 256
  uri:
    description: How libvirt is reached from the provider itself, for O(donors).
    type: str
    default: qemu:///system
  on_secret:
    description:
      - What to do when a copy holds secrets. V(report) names them in the result and in the master's record, V(fail)
        makes nothing of that clone.
    type: str
    choices: [report, fail]
    default: report
  force:
    description:
      - Whether to capture a clone that was not shut down cleanly, as if after a crash. Only file systems of type ext3
        and ext4 tell.
    type: bool
    default: false
  current:
    description: Whether servers follow the new version by default, once it is available.
    type: bool
    default: true
  prove:
    description:
      - Whether the master has to prove itself before it is available. Until then its state is V(unproven), and it is
        cloned only for a deployment that names its version. See P(encompass.images.prove#module).
      - This is for the action plugin; the module itself does not look at it.
    type: bool
    default: false
  virt_type:
    description: How the appliance runs. V(auto) tries KVM first.
    type: str
    choices: [auto, kvm, qemu]
    default: auto
  timeout_s:
    description: How long sealing may take for one appliance, in seconds. Copying may take as long as the size warrants.
    type: float
    default: 900
  workers:
    description: How many clones are copied at the same time.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Make the next version of what was changed in maintenance
  encompass.images.capture:
    clones:
      - name: web-server-maintenance-1

- name: Make a master of a domain that has nothing to do with this collection
  encompass.images.capture:
    donors:
      - domain: old-shop
        function: shop
        min_memory_mib: 1024
        freeze: required

- name: Make a master of a machine in the next rack, while it runs
  encompass.images.capture:
    donors:
      - ssh: root@accounting.example.com
        function: accounting
        min_memory_mib: 4096

- name: The first again, but not with a private key in it
  encompass.images.capture:
    on_secret: fail
    clones:
      - name: web-server-maintenance-1
"""

RETURN = r"""
masters:
  description: The masters by the names of the clones that they were captured from, now or before.
  returned: always
  type: dict
  sample:
    web-server-v1-4: web-server-v2
objects:
  description: What became of each clone.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The clone's name.
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
      description: What the catalog notes of the master, as M(encompass.images.master) reports it.
      type: dict
      returned: success
      contains:
        master:
          description: The master's name.
          type: str
          returned: success
        captured:
          description:
            - What sealing told. C(changed_by_hand) are files of customization items that somebody changed since, and
              whether they were V(kept) or V(taken back); C(secrets) are paths and kinds; C(password_hashes) counts
              accounts with a password; C(not_trimmed) are file systems that cannot give back what they do not use;
              C(replayed) are those that were in use to the last, so that their journal was replayed.
            - Of a donor C(consistency) is V(frozen), V(crash) or V(off), and C(consistency_reason) is why a V(crash).
              Over ssh C(passes) is how often its disks were read, C(fetched_bytes) what came of them, and C(frozen_s)
              how long its file systems were frozen.
            - None in check mode.
          type: dict
          returned: success
  sample:
    - name: web-server-v1-4
      changed: true
      failed: false
      steps:
        - copy /var/lib/encompass/pool/clones/web-server-v1-4/root.qcow2 with what it is based on (about 1.1 GiB)
        - take back the customization of the copy, remove its identity, logs and caches, look for secrets
        - publish it as web-server-v2
      record:
        master: web-server-v2
        captured:
          changed_by_hand:
            - {path: /etc/motd, item: message of the day, became: kept}
          secrets:
            - {path: /etc/ssl/private/shop.key, kind: private key}
          password_hashes: 1
          not_trimmed: []
          replayed: []
"""

from ..module_utils._core.donation import FREEZE_CHOICES
from ..module_utils._module.donating import open_captures
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

VOLUME_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "format": {"type": "str", "required": True},
}

CLONE_SPEC = {
    "name": {"type": "str", "required": True},
    "master": {"type": "str"},
    "pool_path": {"type": "str"},
    "directory": {"type": "str"},
    "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_SPEC},
    "layout": {"type": "dict"},
    "hardware": {"type": "dict"},
    "stage": {"type": "str", "choices": ["planned", "unassigned", "assigned", "attached", "active"]},
}

DONOR_SPEC = {
    "domain": {"type": "str"},
    "ssh": {"type": "str"},
    "port": {"type": "int"},
    "identity_file": {"type": "path", "no_log": False},
    "known_hosts": {"type": "path"},
    "become": {"type": "bool", "default": False},
    "provider": {"type": "str"},
    "disks": {"type": "list", "elements": "str", "default": []},
    "freeze": {"type": "str", "choices": list(FREEZE_CHOICES), "default": "auto"},
    "freeze_limit_s": {"type": "int", "default": 60},
    "function": {"type": "str", "required": True},
    "version": {"type": "int", "default": 1},
    "pool": {"type": "str", "default": "default"},
    "pool_path": {"type": "str"},
    "arch": {"type": "str", "default": "x86_64"},
    "firmware": {"type": "str", "choices": ["bios", "uefi"]},
    "disk_bus": {"type": "str", "choices": ["virtio", "scsi", "sata"], "default": "virtio"},
    "min_cpus": {"type": "int", "default": 1},
    "min_memory_mib": {"type": "int", "default": 256},
}

ARGUMENT_SPEC = {
    "clones": {"type": "list", "elements": "dict", "default": [], "options": CLONE_SPEC},
    "donors": {"type": "list", "elements": "dict", "default": [], "options": DONOR_SPEC},
    "uri": {"type": "str", "default": "qemu:///system"},
    "on_secret": {"type": "str", "choices": ["report", "fail"], "default": "report", "no_log": False},
    "force": {"type": "bool", "default": False},
    "prove": {"type": "bool", "default": False},
    "current": {"type": "bool", "default": True},
    "virt_type": {"type": "str", "choices": ["auto", "kvm", "qemu"], "default": "auto"},
    "timeout_s": {"type": "float", "default": 900},
    "workers": {"type": "int", "default": 2},
    **OPERATIONS,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_captures)


if __name__ == "__main__":
    main()

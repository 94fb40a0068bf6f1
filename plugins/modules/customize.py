#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make clones servers of their own, offline."""

from __future__ import annotations

DOCUMENTATION = r"""
module: customize
short_description: Give clones an identity and apply their master's customization items
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Fresh clones are all alike. This module gives each one a host name, a machine-id, ssh host keys and a random seed of
    its own, removes its master's DHCP leases and network names, and applies the customization items of the master in
    order. Then it reads the identity back.
  - It works on the clone's disk while the guest is off, in an appliance of libguestfs; the host's kernel mounts
    nothing. Many clones share one appliance. A clone that fails does not lose the others.
  - What a file held before it was changed is kept beside the clone, in C(undo) in its directory, so that all can be
    taken back byte by byte. It is on the disk before the clone is touched. A run that is killed is finished by the
    next one, from these originals, so that nothing is applied twice.
  - An item that changed is taken back and applied anew, and with it those behind it that write the same path, or one
    above or below it. Files that only other items wrote are left alone.
  - A clone whose items cannot all be applied is not changed at all, but for an initrd that its own tools cannot make.
  - An item of type V(kernel) edits what boots now and what the guest would make that of, so that no program of the
    guest need be run. For EXTLINUX and SYSLINUX this is C(extlinux.conf) or C(syslinux.cfg) in C(/boot); for GRUB 2
    C(grub.cfg) below C(/boot), C(/etc/default/grub) and C(/etc/default/grub.d); for systemd-boot and for GRUB on Red
    Hat C(loader/entries) and C(loader/loader.conf) in C(/boot) or the EFI partition, and C(/etc/kernel/cmdline).
    Where C(grub.cfg) boots what was saved (C(GRUB_DEFAULT=saved), as Red Hat does), that is changed in C(grubenv).
  - An initrd is made anew by the guest's C(mkinitramfs) (modules are listed in C(/etc/initramfs-tools/modules)) or
    C(dracut) (C(/etc/dracut.conf.d/encompass.conf), not bound to hardware). It runs in the appliance, without network
    and with no other clone's disks there. Then the new initrd must list the modules. Without KVM it takes minutes.
  - Options that are filled in from the catalog need not be given, and the clones are registered there.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
requirements:
  - libguestfs with its Python binding on the provider (python3-guestfs)
  - ssh-keygen on the provider
  - xorriso (or genisoimage, whose disks differ at each run) on the provider, for NoCloud disks
options:
  state:
    description:
      - V(present) customizes the clones.
      - V(absent) takes all of it back, the identity included.
    type: str
    choices: [present, absent]
    default: present
  until:
    description:
      - The name of the last item to be applied. Items behind it that are applied already stay; without this option a
        later call applies the rest.
    type: str
  rollback_to:
    description:
      - The name of the last item that stays applied. Those behind it are taken back; nothing is applied.
      - An empty name takes everything back, like O(state=absent).
      - Contents, modes, owners, SELinux labels and other extended attributes are put back, and the times of change
        of files; deleted files, links and directories are there again, and what was created is not.
    type: str
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
      directory:
        description:
          - Where the clone's volumes are.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      volumes:
        description:
          - The clone's volumes, the one with the operating system first.
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
        suboptions:
          mounts:
            description: The file systems.
            type: list
            elements: dict
            default: []
            suboptions:
              device:
                description: Its device, V(sda1) for the first partition of the first volume, or like V(vg/root).
                type: str
                required: true
              mountpoint:
                description: Where it belongs in the guest.
                type: str
                required: true
              filesystem:
                description: Its type.
                type: str
          batchable:
            description: Whether many clones of this master may be in one appliance.
            type: bool
            default: false
      hostname:
        description:
          - The host name of the clone.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      machine_id:
        description:
          - The machine-id of the clone, 32 lower-case hexadecimal digits.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      items:
        description:
          - The customization items in order, with their texts rendered.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The item's name, each once.
            type: str
            required: true
          type:
            description:
              - V(file) and V(template) give a file its content.
              - V(regexp) replaces what a pattern matches in a file.
              - V(firstboot) runs a script once, when the guest boots first. The result tells what starts it there;
                systemd, C(/etc/rc.local) or C(/etc/init.d).
              - V(seed) stands for the NoCloud disk of O(clones[].seed).
              - V(delete), V(link), V(mode), V(service) and V(kernel) are as M(encompass.images.master) tells.
            type: str
            choices: [file, template, regexp, firstboot, seed, delete, link, mode, service, kernel]
            required: true
          volume:
            description: The volume that the path is on. V(auto) finds it by the layout.
            type: str
            default: auto
          path:
            description:
              - The file. Its directory must exist in the image.
              - Links are followed inside the guest; by V(delete) and V(link) not the last one.
              - Files of the identity (C(/etc/hostname), C(/etc/machine-id), ssh host keys, random seeds) are refused.
            type: str
          content:
            description: The content of a file or script that holds no secret.
            type: str
          secret_content:
            description: The content, when O(clones[].items[].secret) is set.
            type: str
          pattern:
            description: A regular expression of Python. V(^) and V($) match at every line.
            type: str
          replacement:
            description: What replaces each match, with V(\\1) or V(\\g<name>) for groups, when it holds no secret.
            type: str
          secret_replacement:
            description: What replaces each match, when O(clones[].items[].secret) is set.
            type: str
          mode:
            description: The permissions in octal. An existing file keeps its own by default, a new one has V(0644).
            type: str
          owner:
            description: The numeric owner. An existing file keeps its own by default, a new one is root's.
            type: int
          group:
            description: The numeric group. An existing file keeps its own by default, a new one is root's.
            type: int
          required:
            description: Whether it is an error that what the item is about is not there, or that no text matches.
            type: bool
            default: true
          target:
            description: Where a V(link) leads, a text that is taken as it is.
            type: str
          recursive:
            description:
              - Whether V(delete) takes a directory with all that is in it, and V(mode) changes that too.
              - With it a directory can also be entered by whom O(clones[].items[].mode) lets read.
            type: bool
            default: false
          service:
            description: The name of a unit of systemd (V(ssh), V(apt-daily.timer)), or of a script of C(/etc/init.d).
            type: str
          state:
            description: What becomes of O(clones[].items[].service) at the next boot.
            type: str
            choices: [enabled, disabled, masked]
          default:
            description:
              - The kernel that boots unless somebody chooses, by its version (V(6.1.0-18-cloud-amd64)) or by the name
                or title of the boot loader's entry.
            type: str
          arguments:
            description: Kernel arguments of all entries of the boot loader.
            type: dict
            suboptions:
              add:
                description: Arguments to add at the end, unless they are there.
                type: list
                elements: str
                default: []
              remove:
                description: Arguments to remove; V(console) removes V(console=ttyS0) too.
                type: list
                elements: str
                default: []
          initrd_modules:
            description: Modules that the initrds shall hold, which are then made anew.
            type: list
            elements: str
          secret:
            description: Whether the item's text holds a secret. It is then shown nowhere.
            type: bool
            default: false
          digest:
            description:
              - What tells this item from an earlier form of it. It must not be computed of a secret.
              - By default it is computed of the item, without its text when that is secret.
            type: str
          description:
            description: What the item is for.
            type: str
          inputs:
            description: The names of the inputs that the item uses.
            type: list
            elements: str
            default: []
      seed:
        description:
          - The files of a NoCloud disk for cloud-init, C(seed.iso) in the clone's directory.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: dict
        suboptions:
          meta_data:
            description: The file C(meta-data).
            type: str
          user_data:
            description: The file C(user-data).
            type: str
          network_config:
            description: The file C(network-config).
            type: str
      inputs:
        description:
          - The inputs that are no secrets, for the record.
          - Filled in from the catalog.
        type: dict
        default: {}
      secrets_given:
        description:
          - The names of the secrets that were given, for the record.
          - Filled in from the catalog.
        type: list
        elements: str
        default: []
  deployments:
    description:
      - The declared deployments, of which each server's C(inputs) are taken, as M(encompass.images.place) takes them.
      - This is for the action plugin; the module itself gets texts that are rendered already.
    type: list
    elements: dict
    default: []
  reassign:
    description:
      - Machines that serve another function than their deployment's, with the C(inputs) for it, as
        M(encompass.images.place) takes them. This, too, is for the action plugin.
    type: list
    elements: dict
    default: []
  virt_type:
    description:
      - How the appliance runs. V(kvm) is fast; V(qemu) works everywhere.
      - V(auto) does as E(LIBGUESTFS_BACKEND_SETTINGS) says when that is set. Else it tries KVM, and turns to V(qemu)
        until the next boot of the provider when an appliance does not start with it.
    type: str
    choices: [auto, kvm, qemu]
    default: auto
  timeout_s:
    description:
      - The longest that one appliance may take, in seconds. Then it is stopped; the clone that it was working on fails,
        and the others go on in another one.
    type: float
    default: 900
  workers:
    description: How many appliances run at a time, at most one per processor.
    type: int
    default: 4
"""

EXAMPLES = r"""
- name: Customize two clones as their master says
  encompass.images.customize:
    clones:
      - name: web-server-v1-1
      - name: web-server-v1-2
    deployments: "{{ encompass_deployments }}"

- name: Apply the items up to one, and later the rest
  encompass.images.customize:
    until: home page
    clones:
      - name: web-server-v1-1

- name: Take back what came behind an item
  encompass.images.customize:
    rollback_to: home page
    clones:
      - name: web-server-v1-1

- name: Take all customization back
  encompass.images.customize:
    state: absent
    clones:
      - name: web-server-v1-1

- name: Customize a volume without a catalog
  encompass.images.customize:
    clones:
      - name: scratch
        directory: /srv/pool/clones/scratch
        volumes:
          - {name: root, path: /srv/pool/clones/scratch/root.qcow2, format: qcow2}
        layout:
          mounts:
            - {device: sda1, mountpoint: /, filesystem: ext4}
          batchable: true
        hostname: scratch
        machine_id: 0f1e2d3c4b5a69788796a5b4c3d2e1f0
        items:
          - {name: greeting, type: file, path: /etc/motd, content: "Welcome\n"}
          - {name: no mail, type: service, service: exim4, state: disabled, required: false}
"""

RETURN = r"""
objects:
  description: One entry per clone.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The clone's name.
      returned: always
      type: str
      sample: web-server-v1-1
    changed:
      description: Whether anything was to be done.
      returned: always
      type: bool
    failed:
      description: Whether this clone failed.
      returned: always
      type: bool
    msg:
      description: What failed, and what to do.
      returned: when it failed
      type: str
    steps:
      description: What was done, or would be done, in words.
      returned: always
      type: list
      elements: str
      sample: ["apply item greeting (file) to /etc/motd"]
    record:
      description: What the catalog keeps of it.
      returned: always
      type: dict
      contains:
        customization:
          description: How many items are applied, which, and with which inputs.
          type: dict
          returned: always
          sample:
            pointer: 1
            applied:
              - {name: greeting, digest: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}
            inputs: {}
            secrets_given: []
        identity:
          description: The identity as read back from the disk. In check mode, what is not made yet is null.
          type: dict
          returned: always
          sample:
            hostname: web-1
            machine_id: 0f1e2d3c4b5a69788796a5b4c3d2e1f0
            random_seed_sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
            host_keys:
              ed25519: SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8
        seed:
          description: The NoCloud disk; null when there is none.
          type: str
          returned: always
"""

from ..module_utils._module.customize_options import CLONE
from ..module_utils._module.customizing import make_job
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module


def main() -> None:
    """Run the module."""
    run_module(
        {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "until": {"type": "str"},
            "rollback_to": {"type": "str"},
            "clones": {"type": "list", "elements": "dict", "required": True, "options": CLONE},
            "virt_type": {"type": "str", "choices": ["auto", "kvm", "qemu"], "default": "auto"},
            "timeout_s": {"type": "float", "default": 900},
            "workers": {"type": "int", "default": 4},
            "deployments": {"type": "list", "elements": "dict", "default": []},
            "reassign": {"type": "list", "elements": "dict", "default": []},
            **OPERATIONS,
        },
        make_job,
        mutually_exclusive=[("until", "rollback_to")],
    )


if __name__ == "__main__":
    main()

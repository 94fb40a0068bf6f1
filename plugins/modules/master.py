#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish master images in the library, take them out of service, and remove them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: master
short_description: Keep the versions of master images in a provider's library
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - A master is a system image that is never booted, only cloned. This module converts foreign images to qcow2 files in
    a pool of the provider, named by their SHA-256, finished, on the disk and read-only once they have their name.
  - An image is copied or fetched into a directory that nobody else can write to. There its digest and signature are
    verified and its header is checked, before qemu-img reads it, which then has limits of time, memory and output.
  - Refused are images that need another file (a backing file, a parent, an external data file), that are not of the
    format they are said to be, or of a second one too, that are encrypted, corrupt, not closed cleanly, or too large,
    that hold internal snapshots or unknown features, and whose tables are not where they can be.
  - The published file is inspected for its firmware, its file systems, its operating system, its kernels, boot loader
    and init system, and the packages that are installed in it.
  - A master that is published and unchanged is left alone, and not read again.
  - A function has versions 1, 2, 3 and so on, of which one is current, as long as any is available. New servers are
    made of the current version unless their deployment asks for another one.
  - Every run also deletes from the provider what was to be deleted once nobody needs it (O(when_unused), O(keep)), if
    that is so by now. With an empty list of O(masters) that is all it does.
extends_documentation_fragment:
  - encompass.images.attributes
requirements:
  - qemu-img on the provider
  - gpgv or minisign on the provider, for O(masters[].signature)
  - libguestfs with its Python binding on the provider, unless O(masters[].inspect=false)
options:
  state:
    description:
      - V(present) publishes the masters. Their state is V(importing), then V(available). One that is deprecated
        stays so.
      - V(deprecated) keeps masters from being current. They can still be cloned by who asks for their version. It is
        refused when no version would be left for the deployments that follow the current one.
      - V(available) takes V(deprecated) back, and also that a master is to be deleted.
      - V(absent) deletes their files from the pool, and their records with their last files. It is refused while a
        clone in the catalog is made of them, or a deployment asks for their version, or a file in the pool is an
        overlay on theirs; a file that another master needs stays.
      - V(hashed) only tells the SHA-256 of each O(masters[].source). It is what the action asks of the provider for
        masters without O(masters[].version), and not for you.
    type: str
    choices: [present, deprecated, available, absent, hashed]
    default: present
  when_unused:
    description:
      - For O(state=absent). What somebody needs is not refused but deprecated now, and deleted later by the first run
        of this module, or of the playbooks C(deploy) and C(retire), that finds it unused.
    type: bool
    default: false
  keep:
    description:
      - For O(state=present). How many versions of each function in O(masters) are kept, the newest ones, from 1 on.
        Without it all are.
      - The others are deleted, those that somebody needs as soon as nobody does, as with O(when_unused). The current
        version is kept, and so is one that the same task declares.
    type: int
  masters:
    description: The masters, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      function:
        description: What a server of this master is for.
        type: str
        required: true
      version:
        description:
          - The master's version, from 1 on. What a version holds never changes.
          - It may be left out with O(state=present). Then it is the version that is the same image files with the same
            items, inputs and hardware, and if there is none, the next one. A number is not used again.
        type: int
      current:
        description:
          - Whether new servers are to be made of this version, also when a newer one is there.
          - By default a version that is added is current if it is newer than the current one; with V(false) the present
            one stays. For a version that is there already only V(true) does something. This is for the catalog.
        type: bool
      name:
        description:
          - The master's name, always V(FUNCTION-vVERSION).
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      source:
        description:
          - The image to import, an absolute path on the provider, or a URL (C(http), C(https)) that the provider can
            reach. It is needed until the master is published.
          - A URL asks for O(masters[].sha256), so that every provider and every run gets the same image. It is fetched
            only when the master is not published yet. Proxies are not used, and a URL with a user is refused; what
            follows C(?) in it is not written down.
        type: str
      format:
        description:
          - The format of O(masters[].source). It is never guessed, and must be what the image's header says.
          - V(ova) is a package as virtual machines are exported in; its disks must be VMDKs of one file each.
          - V(vpc) is VHD.
        type: str
        choices: [qcow2, raw, vmdk, vdi, vhdx, vpc, ova]
      disk:
        description:
          - Which disk of a package is meant, from 1 on, in the order of its description. A package with one disk needs
            none; of one with several each disk can become a volume, see O(masters[].volumes).
        type: int
      signature:
        description: A detached signature of O(masters[].source), which must hold before anything reads the image.
        type: dict
        suboptions:
          type:
            description:
              - What made it. It is verified with C(gpgv) or C(minisign), which must be installed on the provider.
              - C(gpgv) trusts every key of the keyring, also one that is expired.
            type: str
            required: true
            choices: [openpgp, minisign]
          file:
            description: The signature, an absolute path on the provider or a URL.
            type: str
            required: true
          key:
            description:
              - Whose signature it must be, an absolute path on the provider. For V(openpgp) a keyring as
                C(gpg --export) writes it, for V(minisign) a public key.
            type: str
            required: true
      max_gib:
        description:
          - How many GiB of a disk O(masters[].source) may take, and what is made of it as well. Holes do not count.
        type: int
        default: 128
      max_virtual_gib:
        description: How large the disk may be to a guest, in GiB.
        type: int
        default: 2048
      allow_private:
        description:
          - Whether a URL may lead to private addresses and to the provider itself. Addresses of the link
            (C(169.254.0.0/16), C(fe80::/10)) and of multicast are never asked.
        type: bool
        default: false
      ca_path:
        description: A file of the provider with the authorities that may vouch for a URL's host, instead of its own.
        type: str
      volume:
        description: The name of the master's volume.
        type: str
        default: root
      sha256:
        description: The SHA-256 that O(masters[].source) must have.
        type: str
      volumes:
        description:
          - The volumes of a master that has several, instead of O(masters[].source), O(masters[].format),
            O(masters[].disk), O(masters[].volume), O(masters[].sha256) and O(masters[].signature). It boots from the
            first.
          - A clone has all of them, in this order, and a domain sees them as its first disks.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The volume's name.
            type: str
            required: true
          source:
            description: The image to import, as O(masters[].source). It is needed until it is published.
            type: str
          format:
            description: The format of O(masters[].volumes[].source). It is never guessed.
            type: str
            choices: [qcow2, raw, vmdk, vdi, vhdx, vpc, ova]
          disk:
            description: As O(masters[].disk).
            type: int
          sha256:
            description: The SHA-256 that O(masters[].volumes[].source) must have.
            type: str
          signature:
            description: As O(masters[].signature).
            type: dict
            suboptions:
              type:
                description: As O(masters[].signature.type).
                type: str
                required: true
                choices: [openpgp, minisign]
              file:
                description: As O(masters[].signature.file).
                type: str
                required: true
              key:
                description: As O(masters[].signature.key).
                type: str
                required: true
          digest:
            description:
              - The SHA-256 that the published file is registered with.
              - Filled in from the catalog. Give it only when you run the module without one.
            type: str
          fingerprint:
            description:
              - As O(masters[].fingerprint).
              - Filled in from the catalog. Give it only when you run the module without one.
            type: str
      arch:
        description: The CPU architecture that the master needs.
        type: str
        default: x86_64
      firmware:
        description: The firmware that the master boots with; as the inspection tells when it is not given.
        type: str
        choices: [bios, uefi]
      disk_bus:
        description: The bus that the master's disks are on.
        type: str
        choices: [virtio, scsi, sata]
        default: virtio
      min_cpus:
        description: How many CPUs a machine needs at least.
        type: int
        default: 1
      min_memory_mib:
        description: How much memory a machine needs at least, in MiB.
        type: int
        default: 256
      inspect:
        description: Whether to look inside the published file for its operating system and file systems.
        type: bool
        default: true
      pool:
        description: The name of the pool that the master is published in. This is for the catalog.
        type: str
        default: default
      items:
        description:
          - What is changed in each clone of the master, in this order. This is for the catalog; the image stays.
          - Texts may be templates over the inputs and the server, such as V({{ server_name }}).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The item's name.
            type: str
            required: true
          type:
            description:
              - V(file) and V(template) write O(masters[].items[].content) to O(masters[].items[].path).
              - V(regexp) replaces what O(masters[].items[].pattern) matches in the file at O(masters[].items[].path).
              - V(firstboot) runs O(masters[].items[].content) once, when the server boots for the first time.
              - V(seed) gives O(masters[].items[].content) to cloud-init as its user data.
              - V(delete) has nothing at O(masters[].items[].path); a directory needs O(masters[].items[].recursive).
              - V(link) makes O(masters[].items[].path) a symbolic link to O(masters[].items[].target).
              - V(mode) changes O(masters[].items[].mode), O(masters[].items[].owner) and O(masters[].items[].group).
              - V(service) gives O(masters[].items[].service) its O(masters[].items[].state), by the links that
                C(systemctl) or C(update-rc.d) would make.
              - V(kernel) sets O(masters[].items[].default), O(masters[].items[].arguments) and
                O(masters[].items[].initrd_modules). M(encompass.images.customize) tells which boot loaders it knows.
            type: str
            required: true
            choices: [file, template, regexp, firstboot, seed, delete, link, mode, service, kernel]
          volume:
            description: The volume that holds the path; V(auto) finds it.
            type: str
            default: auto
          path:
            description: The absolute path in the guest.
            type: str
          content:
            description:
              - The text to write, run or give. In a playbook or inventory write templates with the tag C(!unsafe), so
                that Ansible leaves them as they are; they are rendered for each server, when it is customized.
            type: str
          src:
            description:
              - A file on the controller with the content; searched as M(ansible.builtin.template) does, or absolute.
            type: str
          pattern:
            description: A regular expression of Python, in which C(^) and C($) match at each line.
            type: str
          replacement:
            description: What takes the place of a match.
            type: str
          mode:
            description: The file's mode, in octal.
            type: str
          owner:
            description: The file's owner, as a number.
            type: int
          group:
            description: The file's group, as a number.
            type: int
          required:
            description:
              - Whether it is an error that a pattern matches nothing, or that a directory, file, service, kernel or
                boot loader is not there. For V(delete) it never is.
            type: bool
            default: true
          target:
            description: Where a V(link) leads, a text that is taken as it is.
            type: str
          recursive:
            description:
              - Whether V(delete) takes a directory with all that is in it, and V(mode) changes that too.
              - With it a directory can also be entered by whom O(masters[].items[].mode) lets read.
            type: bool
            default: false
          service:
            description: The name of a unit of systemd (V(ssh), V(apt-daily.timer)), or of a script of C(/etc/init.d).
            type: str
          state:
            description:
              - What becomes of O(masters[].items[].service) at the next boot.
              - V(masked) is for units alone.
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
          description:
            description: What the item is for.
            type: str
      inputs:
        description: What a deployment of the master may set. This is for the catalog.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The input's name, a variable's name.
            type: str
            required: true
          description:
            description: What the input is for.
            type: str
          prompt:
            description: The question to ask a person for it.
            type: str
          default:
            description: The value when none is given.
            type: raw
          required:
            description: Whether a value must be given.
            type: bool
            default: false
          secret:
            description: Whether the value is a secret, which is never stored.
            type: bool
            default: false
      pool_path:
        description:
          - The pool's directory on the provider.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      digest:
        description:
          - The SHA-256 that the published file is registered with.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      fingerprint:
        description:
          - The V(SIZE:MTIME_NS:INODE) of the published file when its digest was last known to be right. While it has
            this fingerprint it is not read again.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
  workers:
    description: How many masters are worked on at a time.
    type: int
    default: 4
  timeout_s:
    description: How long one download, one conversion or one inspection may take, in seconds.
    type: int
    default: 3600
seealso:
  - module: encompass.images.clone
  - module: encompass.images.master_info
"""

EXAMPLES = r"""
- name: Publish version 1 of the web server
  encompass.images.master:
    masters:
      - function: web-server
        version: 1
        source: /srv/images/debian-12-nginx.qcow2
        format: qcow2
        min_memory_mib: 512
        inputs:
          - name: greeting
            prompt: What shall the home page say?
            default: It works
        items:
          - name: home page
            type: template
            path: /var/www/html/index.html
            content: !unsafe "{{ greeting }} on {{ server_name }}"
          - {name: no samples, type: delete, path: /usr/share/doc/nginx, recursive: true}
          - {name: time zone, type: link, path: /etc/localtime, target: /usr/share/zoneinfo/Europe/Berlin}
          - {name: private logs, type: mode, path: /var/log/nginx, mode: "0640", recursive: true}
          - {name: no timers, type: service, service: apt-daily.timer, state: masked}
          - {name: console, type: kernel, arguments: {add: ["console=ttyS0"], remove: [quiet]}}

- name: Publish an image of VMware, proved by its digest
  encompass.images.master:
    masters:
      - function: mail-relay
        version: 3
        source: /srv/images/relay.vmdk
        format: vmdk
        sha256: 0f343b0931126a20f133d67c2b018a3b5f1b5a3c8d5a2b0b4f0a5e3a5c0f5d7e
        disk_bus: sata

- name: Publish a file server that has its files on a disk of their own
  encompass.images.master:
    masters:
      - function: file-server
        version: 1
        volumes:
          - {name: root, source: /srv/images/files-system.qcow2, format: qcow2}
          - {name: srv, source: /srv/images/files-srv.raw, format: raw}

- name: Publish an image of the web, signed by who made it
  encompass.images.master:
    masters:
      - function: mail-relay
        version: 4
        source: https://images.example.com/relay-4.qcow2
        format: qcow2
        sha256: 4d1c6a2f0b7e9f3a5c8d7e6b1a0f9e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a29
        max_gib: 4
        signature:
          type: openpgp
          file: https://images.example.com/relay-4.qcow2.sig
          key: /etc/encompass/images.gpg

- name: Publish the disk of an exported virtual machine
  encompass.images.master:
    masters:
      - function: time-server
        version: 1
        source: /srv/images/time-server.ova
        format: ova

- name: Publish the next version, whichever that is, and keep three
  encompass.images.master:
    keep: 3
    masters:
      - function: web-server
        source: /srv/images/debian-12-nginx-new.qcow2
        format: qcow2
        min_memory_mib: 512
  register: published

- name: Say which version it became
  ansible.builtin.debug:
    msg: "{{ published.objects[0].name }} is version {{ published.objects[0].record.version }}"

- name: Have everybody follow version 1 again
  encompass.images.master:
    state: available
    masters:
      - function: web-server
        version: 1
        current: true

- name: Have nobody made of version 2 who does not ask for it
  encompass.images.master:
    state: deprecated
    masters:
      - function: web-server
        version: 2

- name: Delete version 2 once its last clone is gone
  encompass.images.master:
    state: absent
    when_unused: true
    masters:
      - function: web-server
        version: 2

- name: Delete what has been waiting for that
  encompass.images.master:
    state: absent
    masters: []

- name: Delete a master
  encompass.images.master:
    state: absent
    masters:
      - function: mail-relay
        version: 2
"""

RETURN = r"""
objects:
  description: What became of each master, in the order of the request.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The master's name.
      type: str
      returned: always
    changed:
      description: Whether the master was changed, or would be in check mode.
      type: bool
      returned: always
    failed:
      description: Whether this master failed; the others are not touched by that.
      type: bool
      returned: always
    msg:
      description: What failed and what to do.
      type: str
      returned: when the master failed
    steps:
      description: What was done, or would be done in check mode, in words.
      type: list
      elements: str
      returned: always
    record:
      description:
        - The master as it is now, or would be. Empty when it is deleted.
        - In check mode, what only the work itself can tell (V(digest), V(fingerprint), V(software), V(layout)) is null.
          Of a URL so are V(virtual_bytes) and V(allocated_bytes).
      type: dict
      returned: always
      contains:
        digest:
          description: The SHA-256 of the published file, of the first one when there are several.
          type: str
        volumes:
          description:
            - The published files, each with its C(name), C(digest), C(path), C(fingerprint), C(format),
              C(virtual_bytes), C(allocated_bytes) and C(source). The first of them stands in the record itself too.
          type: list
          elements: dict
        function:
          description: What a server of the master is for.
          type: str
        version:
          description: The master's version, also when the task did not name it.
          type: int
        state:
          description: V(importing), V(available), V(deprecated) or V(removing).
          type: str
        current:
          description: Whether it is the current version of its function.
          type: bool
        delete_when_unused:
          description: Whether it is deleted once nobody needs it.
          type: bool
        path:
          description: Where the published file is.
          type: str
        fingerprint:
          description: The published file's V(SIZE:MTIME_NS:INODE).
          type: str
        format:
          description: The published file's format.
          type: str
        virtual_bytes:
          description: The disk's size as a guest sees it.
          type: int
        allocated_bytes:
          description: How many bytes of the pool the published file takes.
          type: int
        hardware:
          description: What a machine must offer.
          type: dict
        software:
          description:
            - What was found in it, V(type), V(distro), V(product), V(major), V(minor), V(arch), V(package_format),
              V(kernels), V(boot_loader) and V(init).
            - The packages are in the catalog; see M(encompass.images.master_info).
          type: dict
        layout:
          description: The file systems that were found, by mount point.
          type: dict
        sealed:
          description: Which traces of an earlier life the image holds.
          type: dict
        source:
          description: The image that the master was made of, with its format and SHA-256; of a URL without its query.
          type: dict
      sample:
        digest: 6f1c2a90d85d5b1fbdd0ac4cf7dbb8d7d7b4b7c7ac7af7e9bcd1f4e3d2f80a11
        path: /srv/pool/masters/6f1c2a90d85d5b1fbdd0ac4cf7dbb8d7d7b4b7c7ac7af7e9bcd1f4e3d2f80a11.qcow2
        fingerprint: "577634304:1763632431000000000:1835042"
        format: qcow2
        virtual_bytes: 3221225472
        allocated_bytes: 577638400
        hardware: {arch: x86_64, firmware: bios, disk_bus: virtio, min_cpus: 1, min_memory_mib: 512}
        function: web-server
        version: 3
        state: available
        current: true
        delete_when_unused: false
        software:
          type: linux
          distro: debian
          product: Debian GNU/Linux 12 (bookworm)
          major: 12
          minor: 0
          arch: x86_64
          package_format: deb
          kernels: [6.1.0-28-amd64]
          boot_loader: grub
          init: systemd
        layout: {mounts: [{device: sda1, mountpoint: /, filesystem: ext4}], batchable: true}
        source:
          path: /srv/images/debian-12-nginx.qcow2
          sha256: 9d0b1a55c1b0f14d0f60a3c4b11c6c3b4a7bfc3f6f9d7c6e3f9a1b2c3d4e5f60
          format: qcow2
deleted:
  description:
    - Names of the masters that were deleted from this provider because nobody needs them any more, beside those of
      O(masters).
  returned: success
  type: list
  elements: str
deferred:
  description: The masters of the catalog that are still to be deleted.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The master's name.
      type: str
    reason:
      description: Who needs it, or where its files are still.
      type: str
  sample: [{name: web-server-v1, reason: web-server-v1-2 depends on it}]
kept:
  description: The masters that O(keep) does not keep for their age, but that stay nevertheless.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The master's name.
      type: str
    reason:
      description: Why it stays.
      type: str
  sample: [{name: web-server-v2, reason: it is the current version}]
"""

from ..module_utils._core.image_header import IMPORTABLE_FORMATS
from ..module_utils._module.item_options import ITEM_OPTIONS
from ..module_utils._module.masters import open_masters
from ..module_utils._module.runner import run_module

ITEM_SPEC = {**ITEM_OPTIONS, "content": {"type": "str"}, "src": {"type": "str"}, "replacement": {"type": "str"}}

INPUT_SPEC = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str"},
    "prompt": {"type": "str"},
    "default": {"type": "raw"},
    "required": {"type": "bool", "default": False},
    "secret": {"type": "bool", "default": False, "no_log": False},
}

SIGNATURE_SPEC = {
    "type": {"type": "str", "required": True, "choices": ["openpgp", "minisign"]},
    "file": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": False},
}

VOLUME_SPEC = {
    "name": {"type": "str", "required": True},
    "source": {"type": "str"},
    "format": {"type": "str", "choices": list(IMPORTABLE_FORMATS)},
    "disk": {"type": "int"},
    "sha256": {"type": "str"},
    "signature": {"type": "dict", "options": SIGNATURE_SPEC},
    "digest": {"type": "str"},
    "fingerprint": {"type": "str"},
}

MASTER_SPEC = {
    "function": {"type": "str", "required": True},
    "version": {"type": "int"},
    "current": {"type": "bool"},
    "name": {"type": "str"},
    "source": {"type": "str"},
    "format": {"type": "str", "choices": list(IMPORTABLE_FORMATS)},
    "disk": {"type": "int"},
    "volume": {"type": "str", "default": "root"},
    "sha256": {"type": "str"},
    "signature": {"type": "dict", "options": SIGNATURE_SPEC},
    "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_SPEC},
    "max_gib": {"type": "int", "default": 128},
    "max_virtual_gib": {"type": "int", "default": 2048},
    "allow_private": {"type": "bool", "default": False},
    "ca_path": {"type": "str"},
    "arch": {"type": "str", "default": "x86_64"},
    "firmware": {"type": "str", "choices": ["bios", "uefi"]},
    "disk_bus": {"type": "str", "choices": ["virtio", "scsi", "sata"], "default": "virtio"},
    "min_cpus": {"type": "int", "default": 1},
    "min_memory_mib": {"type": "int", "default": 256},
    "inspect": {"type": "bool", "default": True},
    "pool": {"type": "str", "default": "default"},
    "items": {"type": "list", "elements": "dict", "default": [], "options": ITEM_SPEC},
    "inputs": {"type": "list", "elements": "dict", "default": [], "options": INPUT_SPEC},
    "pool_path": {"type": "str"},
    "digest": {"type": "str"},
    "fingerprint": {"type": "str"},
}

ARGUMENT_SPEC = {
    "state": {
        "type": "str",
        "choices": ["present", "deprecated", "available", "absent", "hashed"],
        "default": "present",
    },
    "when_unused": {"type": "bool", "default": False},
    "keep": {"type": "int"},
    "masters": {"type": "list", "elements": "dict", "required": True, "options": MASTER_SPEC},
    "workers": {"type": "int", "default": 4},
    "timeout_s": {"type": "int", "default": 3600},
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_masters)


if __name__ == "__main__":
    main()

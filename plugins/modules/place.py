#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: place
short_description: Plan deployments and reserve what they need
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Compares what is declared (O(deployments)), what the catalog says and what M(encompass.images.discover) saw, and
    plans for each server what has to happen, on which provider, and why.
  - Reserves in the catalog, in the same transaction, the clones, machines and addresses that the plan needs, and holds
    the deployments until M(encompass.images.settle) releases them. A deployment that another run holds is refused,
    naming it.
  - When everything is as declared, nothing is written.
  - Instead of bringing deployments about, it plans to move them to another version (O(update)), back again
    (O(rollback)), to have machines serve another function (O(reassign)), or to move them to other providers
    (O(migrate)). What a machine served before is kept on
    standby, so that it can go back without any copy.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes
options:
  deployments:
    description: The deployments that are wanted. Deployments that are not named are left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the deployment; its servers are called V(name-1), V(name-2) and so on.
          - At most 40 lower-case letters, digits and hyphens, starting with a letter.
        type: str
        required: true
      function:
        description: What the servers are for; the library must have a master of this function.
        type: str
        required: true
      count:
        description: How many servers are wanted.
        type: int
        default: 1
      version:
        description:
          - Version of the master for new servers, or V(current) for the newest.
          - Servers that exist keep theirs.
        type: raw
        default: current
      cpus:
        description: Virtual CPUs of each server; by default the least that the master needs.
        type: int
      memory_mib:
        description: Memory of each server in MiB; by default the least that the master needs.
        type: int
      networks:
        description:
          - Names of the networks, or dictionaries with V(name) and V(addresses).
          - The addresses are given to the members in order.
        type: list
        elements: raw
        default: [encompass]
      pool:
        description: Pool for the volumes.
        type: str
        default: default
      method:
        description: How clones are made.
        type: str
        choices: [auto, overlay, copy]
        default: auto
      placement:
        description: How providers are chosen.
        type: dict
        suboptions:
          strategy:
            description: V(spread) over the providers that fit, or V(pack) into as few as possible.
            type: str
            choices: [spread, pack]
            default: spread
          providers:
            description: Inventory names of the only providers that may be used.
            type: list
            elements: str
      inputs:
        description:
          - Values for the inputs that the master's customization asks for.
          - Those that the master calls secret are not stored; all others are, in the clear.
        type: dict
      ready:
        description: When a server counts as active; by default as soon as its machine runs.
        type: dict
        suboptions:
          port:
            description: TCP port that accepts connections.
            type: int
          url:
            description: URL that answers, in which V({address}) stands for the server's address.
            type: str
          status:
            description: HTTP status that is expected of O(deployments[].ready.url).
            type: int
            default: 200
          timeout_s:
            description: How long the server may take.
            type: int
            default: 180
      stop_timeout_s:
        description: How long a server may take to shut down before its machine is switched off.
        type: int
        default: 60
      standby:
        description:
          - How many clones that a machine served before are kept, besides those that the last update needs to go back.
        type: int
        default: 1
      vars:
        description: Inventory variables of the servers. They are stored in the clear.
        type: dict
      data:
        description:
          - Data volumes. Each server gets its own one of each, which is made once and kept over updates, rollbacks,
            reassignments and a clone that is made anew, and also when the server is taken away. When a server of the
            same name comes back, it gets its volumes again, on a provider that reaches them.
          - The guest finds a volume by its serial number, V(SERVER-VOLUME), that is at
            C(/dev/disk/by-id/virtio-web-1-db). Of one with more than 20 characters, the first 11 stay, followed by a
            hyphen and the first 8 hexadecimal digits of the SHA-256 of the whole.
          - A volume that is added, grows, or is not declared any more takes effect by a stop of the server, like
            another size. What is no longer declared is detached and kept; M(encompass.images.volume) deletes it.
            The file system in a volume that grew is left to the guest (C(resize2fs), C(xfs_growfs)).
          - A volume that is lost is not made again by itself. The server is left as it is, and the run fails at its
            end; see O(recreate_data).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the volume, at most 32 lower-case letters, digits and hyphens.
            type: str
            required: true
          size_gib:
            description: Size in GiB. Give this or O(deployments[].data[].size_mib). It may grow, never shrink.
            type: int
          size_mib:
            description: Size in MiB.
            type: int
          pool:
            description: Pool that the volume lives in; by default that of the deployment.
            type: str
          bus:
            description: Bus that the server sees the volume on.
            type: str
            choices: [virtio, scsi, sata]
            default: virtio
          format:
            description: Format of the volume. It stays.
            type: str
            choices: [qcow2, raw]
            default: qcow2
          filesystem:
            description:
              - File system that a new volume holds as a whole, without partitions. It is made once, with the volume,
                and never again; without it, the guest finds an empty disk.
            type: str
            choices: [ext4, xfs]
          label:
            description: Label of that file system.
            type: str
  retire:
    description: Names of deployments that are to be taken away with all their servers.
    type: list
    elements: str
    default: []
  update:
    description:
      - Names of deployments among O(deployments) whose servers move to the version that is declared; all of them when
        the list is empty. Not given, nothing is updated.
    type: list
    elements: str
  rollback:
    description: Names of deployments whose servers go back to what they served when their last update began.
    type: list
    elements: str
    default: []
  reassign:
    description: Machines that are to serve another function, or their own again.
    type: list
    elements: dict
    default: []
    suboptions:
      function:
        description: What the machines are to serve.
        type: str
        required: true
      deployment:
        description: All machines of this deployment; or give O(reassign[].machines).
        type: str
      machines:
        description: Names of machines.
        type: list
        elements: str
      version:
        description: Version of the master; by default that of the clone on standby, else the current one.
        type: raw
        default: current
      inputs:
        description: Values for the inputs that the master's customization asks for.
        type: dict
      ready:
        description: When a server counts as active, as in O(deployments[].ready); by default as its deployment says.
        type: dict
  restore:
    description:
      - Machines that are to serve a clone on standby again, because another did not come up; the clone's name by the
        machine's.
    type: dict
  retire_data:
    description:
      - Whether servers that are taken away, by O(retire) or a lower count, take their data volumes with them. So do
        those of the deployment that were taken away earlier.
      - By default data volumes are kept.
    type: bool
    default: false
  recreate_data:
    description:
      - Names of data volumes, like V(web-1.db), that are made again, empty, when they are lost.
      - A volume that is there is not touched by this.
    type: list
    elements: str
    default: []
  migrate:
    description: Machines that are to be at another provider.
    type: list
    elements: dict
    default: []
    suboptions:
      deployment:
        description: All machines of this deployment; or give O(migrate[].machines).
        type: str
      machines:
        description: Names of machines.
        type: list
        elements: str
      to:
        description: Inventory name of the provider; by default the one of the others that placement likes best.
        type: str
      live:
        description:
          - With V(true) they go on running on their way, with V(false) they are stopped. With V(auto) those go on that
            run and can.
        type: str
        choices: [auto, "true", "false"]
        default: auto
      fenced:
        description:
          - Providers of which you know for certain that no machine runs there any more, because they are off or cut off
            from the volumes. Only then machines of theirs come up elsewhere, from a shared pool.
        type: list
        elements: str
  waves:
    description:
      - How many servers change together, as numbers or percentages of all, like a play's C(serial). The last one is
        repeated.
    type: list
    elements: str
    default: ["100%"]
  observed:
    description:
      - What M(encompass.images.discover) returned, by provider.
      - Servers on providers that are missing here are left alone.
    type: dict
  hosts:
    description:
      - Inventory pattern of the providers; of each the variable C(encompass_observed) is taken, which the role
        P(encompass.images.discover#role) registers. In place of O(observed).
    type: str
seealso:
  - module: encompass.images.settle
"""

EXAMPLES = r"""
- name: Plan three web servers
  encompass.images.place:
    deployments:
      - name: web
        function: web-server
        count: 3
        memory_mib: 256
        ready:
          url: http://{address}/
    observed: "{{ {'hv1': hostvars['hv1'].encompass_observed} }}"
  register: plan

- name: Plan to move them to the current version, one first, then half of them at a time
  encompass.images.place:
    deployments: "{{ encompass_deployments }}"
    update: [web]
    waves: [1, 50%]
    observed: "{{ {'hv1': hostvars['hv1'].encompass_observed} }}"
  register: plan

- name: Plan that one machine goes to another provider, and goes on running
  encompass.images.place:
    migrate:
      - machines: [web-1]
        to: hv2
        live: true
    observed: "{{ {'hv1': hostvars['hv1'].encompass_observed, 'hv2': hostvars['hv2'].encompass_observed} }}"
  register: plan

- name: Plan to take them away
  encompass.images.place:
    retire: [web]
    observed: "{{ {'hv1': hostvars['hv1'].encompass_observed} }}"
  register: plan
"""

RETURN = r"""
operations:
  description: Ids of the operations that hold the deployments, for the steps and for M(encompass.images.settle).
  returned: success
  type: list
  elements: str
deployments:
  description: Names of the deployments that were planned.
  returned: success
  type: list
  elements: str
members:
  description: What happens to each server.
  returned: success
  type: list
  elements: dict
  contains:
    server:
      description: Name of the server.
      type: str
    action:
      description:
        - One of V(keep), V(create), V(repair), V(change), V(update), V(return), V(reassign), V(retire), V(wait)
          and V(refuse).
      type: str
    provider:
      description: The provider it is or will be on.
      type: str
    machine:
      description: Its machine.
      type: str
    clone:
      description: Its clone.
      type: str
    master:
      description: The master of its clone.
      type: str
    verbs:
      description: The steps, in order.
      type: list
    reasons:
      description: Why, in words.
      type: list
    rejected:
      description: Why not on other providers, by provider.
      type: dict
    method:
      description: How the clone will be made, empty when it is there already.
      type: str
    estimated_bytes:
      description: What the clone will take of its pool when it is new.
      type: int
    served:
      description: The clone that the machine serves until then, when that is another one.
      type: str
    spares:
      description: Clones of the machine that are deleted when all is done.
      type: list
    data:
      description: Its data volumes that something is done to, by step.
      type: dict
refused:
  description:
    - The servers that are left as they are, because a data volume is lost or out of reach, and why; for
      M(encompass.images.settle).
  returned: success
  type: dict
work:
  description: The work by provider and verb, as the modules of the verbs take it.
  returned: success
  type: dict
stages:
  description: The same work in stages, of which each has to succeed before the next begins.
  returned: success
  type: list
  elements: dict
  contains:
    title:
      description: The stage in words.
      type: str
    tasks:
      description: The tasks of role P(encompass.images.deploy#role) that do it, V(work) or V(switch).
      type: str
    halts:
      description: Whether nothing more may be done when not all went well.
      type: bool
    work:
      description: Its work by provider and verb.
      type: dict
    expected:
      description: The stage that each clone must have then, by the clone's name.
      type: dict
"""

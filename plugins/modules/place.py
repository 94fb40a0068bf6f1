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
      vars:
        description: Inventory variables of the servers. They are stored in the clear.
        type: dict
  retire:
    description: Names of deployments that are to be taken away with all their servers.
    type: list
    elements: str
    default: []
  observed:
    description:
      - What M(encompass.images.discover) returned, by provider.
      - Servers on providers that are missing here are left alone.
    type: dict
    required: true
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
      description: One of V(keep), V(create), V(repair), V(change), V(retire) and V(wait).
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
work:
  description: The work by provider and verb, as the modules of the verbs take it.
  returned: success
  type: dict
"""

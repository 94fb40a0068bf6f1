#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps by which machines go to another provider."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Move machines to another provider, running or not
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Each state is one step of a migration, on the provider that has to do it. M(encompass.images.place) plans them, and
    the role P(encompass.images.migrate#role) puts them in order. Where a machine is going stands in the catalog.
  - A machine that runs is moved by libvirt, peer to peer, so its processors run on one of the two providers at any
    time. A migration that was cut off is looked at on both sides, and finished or left where it runs.
  - The files of clones that are not in a shared pool go through libvirt's own connection to the target, without their
    holes. They arrive in a directory of their own, and get their names once their digests are proved.
  - Nothing is deleted at the old provider before the machine is active at the new one.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
  - encompass.images.libvirt
  - encompass.images.libvirt.workers
options:
  state:
    description:
      - V(sent), on the machine's provider, carries the files of its clone to the target.
      - V(received), on the target, proves and publishes them. A machine that is off is there then.
      - V(migrated), on the machine's provider, moves it to the target while it runs.
      - V(vacated), on a provider that a machine left or failed to reach, removes what is left of it there; only when it
        is active elsewhere.
      - V(abandoned) is the same for a machine that is about to be taken away.
    type: str
    choices: [sent, received, migrated, vacated, abandoned]
    default: migrated
  uris:
    description: How libvirt of other providers is reached from this one, by their names.
    type: dict
    default: {}
  bandwidth_mib_s:
    description: How much of the network each running machine may use, in MiB per second; 0 for all of it.
    type: int
    default: 0
  limit_s:
    description:
      - How long moving a running machine, or sending one file, may take. A machine that is not there by then goes on
        where it was.
    type: int
    default: 600
  trust_storage:
    description:
      - Whether shared pools may be used at once by several hosts even where libvirt does not know that of their file
        system.
    type: bool
    default: false
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
      stage:
        description:
          - The stage of the machine's clone according to the catalog.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [planned, unassigned, assigned, attached, active]
      uuid:
        description:
          - The UUID that the domain must have.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      to:
        description:
          - The provider that it goes to.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      live:
        description:
          - Whether it goes on running.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: bool
        default: false
      nics:
        description:
          - The machine's cards, whose addresses are released.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        suboptions:
          network:
            description: The card's network.
            type: str
            required: true
          mac:
            description: The card's MAC address.
            type: str
            required: true
          address:
            description: The address that is reserved for it.
            type: str
          hostname:
            description: The name that is reserved with it.
            type: str
      clones:
        description:
          - The machine's clones.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        suboptions:
          name:
            description: The clone's name.
            type: str
            required: true
          pool_path:
            description: The directory of its pool.
            type: str
            required: true
          target_pool_path:
            description: The directory of the pool of this name at the target.
            type: str
          shared:
            description: Whether both are one and the same.
            type: bool
            default: false
          served:
            description: Whether the machine serves this clone; others are on standby.
            type: bool
            default: false
          volumes:
            description: Its volumes, each with C(name), C(path), C(format), C(virtual_bytes) and C(backing).
            type: list
            elements: dict
      data:
        description:
          - The pools that hold data volumes of the machine's server which the other provider does not reach.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: list
        elements: dict
        suboptions:
          name:
            description: The server.
            type: str
            required: true
          pool_path:
            description: The directory of the pool.
            type: str
            required: true
          target_pool_path:
            description: The directory of the pool of this name at the target.
            type: str
          volumes:
            description: Those that are disks of the machine, as of a clone. Others in the same place go along.
            type: list
            elements: dict
"""

EXAMPLES = r"""
- name: Move a running machine to where the catalog says that it goes
  encompass.images.migrate:
    uris:
      hv2: qemu+ssh://root@192.0.2.12/system?no_tty=1
    machines:
      - name: web-1

- name: Clear what it left here
  encompass.images.migrate:
    state: vacated
    machines:
      - name: web-1
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
      description: Where the machine and its clones are; empty after V(vacated).
      type: dict
      returned: always
      contains:
        to:
          description: The provider.
          type: str
          returned: success
        clones:
          description: The clones that go along, each with C(name), C(pool_path) and C(target_pool_path).
          type: list
          elements: dict
          returned: success
        data:
          description: Where the server's data volumes go along, each with C(name), C(pool_path), C(target_pool_path).
          type: list
          elements: dict
          returned: success
  sample:
    - name: web-1
      changed: true
      failed: false
      steps:
        - migrate running domain web-1 to hv2, its volumes are shared
      record:
        to: hv2
        clones:
          - name: web-server-v1-1
            pool_path: /srv/pool
            target_pool_path: /srv/pool
        data: []
"""

import contextlib
import typing as t

from ..module_utils._module.arrivals import open_arrivals, open_vacancies
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS, WORKERS_OPTION
from ..module_utils._module.migrations import open_moves
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import Job, run_module

NIC_SPEC = {
    "network": {"type": "str", "required": True},
    "mac": {"type": "str", "required": True},
    "address": {"type": "str"},
    "hostname": {"type": "str"},
}

CLONE_SPEC = {
    "name": {"type": "str", "required": True},
    "pool_path": {"type": "str", "required": True},
    "target_pool_path": {"type": "str"},
    "shared": {"type": "bool", "default": False},
    "served": {"type": "bool", "default": False},
    "volumes": {"type": "list", "elements": "dict"},
}

DATA_SPEC = {key: CLONE_SPEC[key] for key in ("name", "pool_path", "target_pool_path", "volumes")}

MACHINE_SPEC = {
    "name": {"type": "str", "required": True},
    "stage": {"type": "str", "choices": ["planned", "unassigned", "assigned", "attached", "active"]},
    "uuid": {"type": "str"},
    "to": {"type": "str"},
    "live": {"type": "bool", "default": False},
    "nics": {"type": "list", "elements": "dict", "options": NIC_SPEC},
    "clones": {"type": "list", "elements": "dict", "options": CLONE_SPEC},
    "data": {"type": "list", "elements": "dict", "options": DATA_SPEC},
}

JOBS = {
    "sent": open_moves,
    "received": open_arrivals,
    "migrated": open_moves,
    "vacated": open_vacancies,
    "abandoned": open_vacancies,
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": list(JOBS), "default": "migrated"},
    "uris": {"type": "dict", "default": {}},
    "bandwidth_mib_s": {"type": "int", "default": 0},
    "limit_s": {"type": "int", "default": 600},
    "trust_storage": {"type": "bool", "default": False},
    "machines": {"type": "list", "elements": "dict", "required": True, "options": MACHINE_SPEC},
    **OPERATIONS,
    **LIBVIRT_OPTIONS,
    **WORKERS_OPTION,
}


def open_job(params: dict[str, t.Any]) -> contextlib.AbstractContextManager[Job]:
    """Return the job that the module's parameters ask for."""
    return JOBS[params["state"]](params)


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_job)


if __name__ == "__main__":
    main()

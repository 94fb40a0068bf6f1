#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start machines until their servers answer, and stop them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: activate
short_description: Start machines until their servers answer, or stop them
version_added: 0.1.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Starts the domains of any number of machines at once, and then waits for all of their servers together. A server
    is active once it answers as O(machines[].ready) says.
  - Stopping asks all guests at once by ACPI to shut down, and switches off those that still run after their time.
  - A machine that runs and whose server answers is left alone.
  - When a server does not answer in time, its machine is left running, so that one can see why.
  - That two guests never write one volume is watched over by libvirt's lock manager and by QEMU; the start of the
    second is refused, naming the volume.
  - Options that are filled in from the catalog need not be given, and the clones' state is registered there.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.operations
  - encompass.images.libvirt
  - encompass.images.libvirt.workers
options:
  state:
    description:
      - V(active) starts the machines and waits until their servers answer.
      - V(inactive) stops them.
    type: str
    choices: [active, inactive]
    default: active
  power_off:
    description:
      - Whether a guest that does not shut down in time is switched off. With V(false) that fails instead, and the
        guest is left running.
    type: bool
    default: true
    version_added: 0.2.0
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
          - In check mode the steps that come before in a play are only planned; the module goes by this then.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
        choices: [planned, unassigned, assigned, attached, active]
      uuid:
        description:
          - The UUID that the domain must have.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      address:
        description:
          - The address that the server answers at.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: str
      ready:
        description:
          - How to see that the server answers, from the provider. When nothing is given, a machine counts as active
            as soon as it runs.
          - Filled in from the catalog. Give it only when you run the module without one.
        type: dict
        suboptions:
          port:
            description:
              - A TCP port that must accept connections; with O(machines[].ready.url) the port that is asked there.
            type: int
          url:
            description:
              - What a GET must succeed on. Either a path on the machine, or a whole http or https URL, in which
                V({address}) stands for the machine's address.
              - Neither proxies nor redirects are followed, and certificates are not checked.
            type: str
          status:
            description: The HTTP status that must be answered.
            type: int
            default: 200
          timeout_s:
            description: How long the server has to answer, in seconds from the machine's start.
            type: int
            default: 180
      stop_timeout_s:
        description: How long the guest has to shut down before it is switched off, in seconds.
        type: int
        default: 60
"""

EXAMPLES = r"""
- name: Start two machines; done when both answer
  encompass.images.activate:
    machines:
      - name: web-1
      - name: web-2

- name: Stop a machine, and give it two minutes for it
  encompass.images.activate:
    state: inactive
    machines:
      - name: web-2
        stop_timeout_s: 120

- name: Start a machine without a catalog
  encompass.images.activate:
    machines:
      - name: web-1
        address: 10.45.0.11
        ready:
          url: /health
          timeout_s: 120
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
          description: V(active), or V(attached) once stopped.
          type: str
          returned: success
        answered:
          description:
            - How the server answered; none in check mode, when nothing was asked, and for a machine that is
              stopped.
          type: dict
          returned: success
          contains:
            after_s:
              description: After how many seconds from the machine's start; 0 when it answered at once.
              type: float
              returned: success
            status:
              description: The HTTP status, if HTTP was asked for.
              type: int
              returned: success
        stopped:
          description:
            - V(shut down) or V(destroyed), for a machine that this run stopped.
          type: str
          returned: success
  sample:
    - name: web-1
      changed: true
      failed: false
      steps:
        - start domain web-1
        - wait until http://10.45.0.11/ answers with 200, at most 180 s
      record:
        stage: active
        answered: {after_s: 3.2, status: 200}
        stopped: null
"""

from ..module_utils._module.activations import open_activations
from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS, WORKERS_OPTION
from ..module_utils._module.options import OPERATIONS
from ..module_utils._module.runner import run_module

READY_SPEC = {
    "port": {"type": "int"},
    "url": {"type": "str"},
    "status": {"type": "int", "default": 200},
    "timeout_s": {"type": "int", "default": 180},
}

MACHINE_SPEC = {
    "name": {"type": "str", "required": True},
    "stage": {"type": "str", "choices": ["planned", "unassigned", "assigned", "attached", "active"]},
    "uuid": {"type": "str"},
    "address": {"type": "str"},
    "ready": {"type": "dict", "options": READY_SPEC},
    "stop_timeout_s": {"type": "int", "default": 60},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["active", "inactive"], "default": "active"},
    "machines": {"type": "list", "elements": "dict", "required": True, "options": MACHINE_SPEC},
    "power_off": {"type": "bool", "default": True},
    **OPERATIONS,
    **LIBVIRT_OPTIONS,
    **WORKERS_OPTION,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_activations)


if __name__ == "__main__":
    main()

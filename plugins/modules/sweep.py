#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what belongs to nobody."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sweep
short_description: Remove what verify found to be nobody's
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Removes volumes of clones that were deleted, domains and reserved addresses of machines that are gone, and what
    killed runs left in the staging directory of a pool, as M(encompass.images.verify) lists them in C(remains).
  - Each is looked at again. What runs, what is open, what is a disk of any domain, and what somebody is at work on is
    refused; so is what the catalog has come to know meanwhile.
  - Data volumes and masters are never removed by it.
extends_documentation_fragment:
  - encompass.images.attributes
  - encompass.images.libvirt
options:
  remains:
    description: What to remove, each once.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description: What it is.
        type: str
        choices: [directory, staged, domain, reservation]
        required: true
      path:
        description: Of a clone's directory or of something staged, its path.
        type: str
      domain:
        description: Of a domain, its name.
        type: str
      uuid:
        description: Of a domain, its UUID.
        type: str
      network:
        description: Of a reserved address, its network.
        type: str
      mac:
        description: Of a reserved address, the card that it is for.
        type: str
      address:
        description: Of a reserved address, the address.
        type: str
seealso:
  - module: encompass.images.verify
"""

EXAMPLES = r"""
- name: Remove the volumes of a clone that was deleted
  encompass.images.sweep:
    remains:
      - type: directory
        path: /var/lib/encompass/pool/clones/web-server-v1-7
"""

RETURN = r"""
objects:
  description: What became of each item.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The path, the domain's name, or the address and its network.
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
      description: What is gone.
      type: dict
      returned: always
  sample:
    - name: /var/lib/encompass/pool/clones/web-server-v1-7
      changed: true
      failed: false
      steps:
        - delete /var/lib/encompass/pool/clones/web-server-v1-7
      record:
        type: directory
        path: /var/lib/encompass/pool/clones/web-server-v1-7
"""

from ..module_utils._module.libvirt_options import LIBVIRT_OPTIONS
from ..module_utils._module.runner import run_module
from ..module_utils._module.sweeping import open_sweep

REMAINS_SPEC = {
    "type": {"type": "str", "choices": ["directory", "staged", "domain", "reservation"], "required": True},
    "path": {"type": "str"},
    "domain": {"type": "str"},
    "uuid": {"type": "str"},
    "network": {"type": "str"},
    "mac": {"type": "str"},
    "address": {"type": "str"},
}

ARGUMENT_SPEC = {
    "remains": {"type": "list", "elements": "dict", "required": True, "options": REMAINS_SPEC},
    **LIBVIRT_OPTIONS,
}


def main() -> None:
    """Run the module."""
    run_module(ARGUMENT_SPEC, open_sweep)


if __name__ == "__main__":
    main()

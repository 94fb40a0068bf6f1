#!/usr/bin/python
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Hold the catalog against what the providers have
version_added: 0.2.0
author:
  - The encompass.images authors (@encompass-images)
description:
  - Compares all records of the catalog with what M(encompass.images.discover) saw of domains, volumes, masters, staging
    directories, networks and reserved addresses, and with each other. It finds what is missing, left over, doubled,
    or not what the record says, and tells of each how grave it is and what to do.
  - Nothing is changed. What M(encompass.images.sweep) can remove is in C(remains).
  - What somebody is at work on, or has changed since the providers were asked, is not judged; nor are providers that
    were not reached.
  - This is an action that runs on the controller alone.
extends_documentation_fragment:
  - encompass.images.attributes.info
options:
  observed:
    description: What M(encompass.images.discover) returned, by provider.
    type: dict
  hosts:
    description:
      - Inventory pattern of the providers; of each the variable C(encompass_observed) is taken, which the role
        P(encompass.images.discover#role) registers. In place of O(observed).
    type: str
  fail_on:
    description:
      - The task fails when a finding is at least as grave as this.
      - V(critical) are findings by which data are in danger, V(error) are servers and masters that are not what the
        catalog says, V(warning) is what is left over or half done.
    type: str
    choices: [critical, error, warning, never]
    default: critical
seealso:
  - module: encompass.images.discover
  - module: encompass.images.sweep
"""

EXAMPLES = r"""
- name: Look for anything that is not as it should be
  encompass.images.verify:
    hosts: encompass_providers
    fail_on: warning
"""

RETURN = r"""
findings:
  description: What is not as it should be, the gravest first.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind of finding.
      type: str
      returned: always
    severity:
      description: How grave it is.
      type: str
      returned: always
    subject:
      description: What it is about.
      type: str
      returned: always
    provider:
      description: Where; empty for what the catalog alone shows.
      type: str
      returned: always
    problem:
      description: What is wrong.
      type: str
      returned: always
    remedy:
      description: What to do.
      type: str
      returned: always
    remains:
      description: What M(encompass.images.sweep) would remove.
      type: dict
      returned: always
  sample:
    - kind: domain_missing
      severity: error
      subject: machine web-1
      provider: hv1
      problem: it is active, and its domain is gone
      remedy: Run encompass.images.deploy.
      remains: null
counts:
  description: How many findings there are of each severity.
  returned: success
  type: dict
  sample: {critical: 0, error: 1, warning: 0}
remains:
  description: What M(encompass.images.sweep) can remove, by provider.
  returned: success
  type: dict
"""

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ``ansible_collections.encompass.images``, whatever its folder is called."""

from __future__ import annotations

import os
import sys


def pytest_configure() -> None:
    """Set the paths, unless ansible-test has done it: it loads this file too, with an import hook of its own."""
    if "ANSIBLE_CONTROLLER_MIN_PYTHON_VERSION" in os.environ:
        return
    from tests.tools.collection_path import link_checkout

    directory = str(link_checkout())
    sys.path.insert(0, directory)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = directory

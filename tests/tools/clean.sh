#!/bin/sh
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Remove what tests and builds left behind: abandoned labs, caches, build folders. Never the demo's servers: see make demo-clean.
set -eu
cd "$(dirname "$0")/../.."
[ ! -x .venv/bin/python ] || .venv/bin/python -m tests.lab.hosts clean
rm -rf .state/ansible-test .state/build .state/images .state/newest .state/results
rm -rf .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output encompass-images-*.tar.gz
find . -path ./.venv -prune -o -path ./.git -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf

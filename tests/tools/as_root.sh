#!/bin/sh
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run a command as root: namespaces, loop mounts and libvirt's system instance need it.
[ "$(id -u)" != 0 ] || exec "$@"
command -v sudo >/dev/null || { echo "this needs root: run it as root, or install sudo" >&2; exit 1; }
exec sudo -- env "PATH=$PATH" "$@"

#!/bin/sh
# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what the tests and the demo need: Debian packages (as root or through sudo) and the virtual environment .venv.
# Does nothing when all of it is there.
set -eu
cd "$(dirname "$0")/../.."

stop() {
  echo "set-up: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# dpkg-query says nothing about packages that dpkg has never heard of, so each name is asked for alone
missing_packages() {
  grep -v '^#' tests/requirements/debian.txt | while read -r package; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed$' || echo "$package"
  done
  # libguestfs boots a kernel of the machine; a container or a virtual machine may have none
  ls /boot/vmlinuz-* >/dev/null 2>&1 || echo linux-image-cloud-amd64
}

command -v apt-get >/dev/null || stop "this is not Debian: apt-get is missing, and all of this is made of Debian packages"
packages=$(missing_packages | tr '\n' ' ')
if [ -n "$packages" ]; then
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    stop "these Debian packages are missing, and neither root nor sudo is there to install them: $packages"
  echo "set-up: installing Debian packages: $packages"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -q || stop "apt-get update failed: the Debian mirror in /etc/apt cannot be reached"
  # shellcheck disable=SC2086 # a list of names
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages ||
    stop "apt-get could not install: $packages"
fi

wanted=$(sha256sum <tests/requirements/python.txt | cut -d ' ' -f 1)
if [ "$(cat .venv/.requirements 2>/dev/null)" != "$wanted" ]; then
  echo "set-up: making .venv from tests/requirements/python.txt"
  # Debian's own Python, because the bindings of libvirt and guestfs are built for it
  [ -x .venv/bin/python ] || /usr/bin/python3 -m venv --system-site-packages .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements/python.txt ||
    stop "pip could not install tests/requirements/python.txt: the package index cannot be reached or lacks a version"
  echo "$wanted" >.venv/.requirements
fi
.venv/bin/python -c 'import guestfs, libvirt' || stop "the bindings of guestfs and libvirt do not load in .venv: remove it and try again"
.venv/bin/python -m tests.tools.collection_path >/dev/null

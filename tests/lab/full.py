# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full guest: Debian 12 with systemd, OpenSSH and nginx or cloud-init; sealed, a clone gets its own identity."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.commands import LabError, run

GUESTS = Path(__file__).parent / "guests"
SUITE = "bookworm"
SIZE_MIB = 3072
PACKAGES = (
    "systemd-sysv",
    "udev",
    "dbus",
    "iproute2",
    "netbase",
    "openssh-server",
    "python3",
    "qemu-guest-agent",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "lz4",
    "zstd",
    "e2fsprogs",
    "ca-certificates",
)
WEB_PACKAGES = ("nginx-light",)
# without a web server the image takes its identity and settings from a NoCloud seed disk
PLAIN_PACKAGES = ("cloud-init",)

# periodic work that costs a slow guest its first minute, and mounts and waits that no test needs
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
)
ENABLED = ("serial-getty@ttyS0.service", "ssh.service", "systemd-networkd.service")
# what makes a machine itself, and what would be copied into every clone for nothing
REMOVED = (
    "etc/ssh/ssh_host_*",
    "var/cache/debconf/*-old",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/*.log",
    "var/log/apt/*",
)


def build_rootfs(work: Path, *, web: bool, public_key: str) -> Path:
    """Make the root file system with mmdebstrap and return it as a tar file in `work`."""
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap is missing: apt-get install mmdebstrap")
    files = stage_files(work / "files", web=web, public_key=public_key)
    packages = [*PACKAGES, *(WEB_PACKAGES if web else PLAIN_PACKAGES)]
    archive = work / "rootfs.tar"
    hooks = [
        # before the kernel's own package makes the initrd
        f"--essential-hook=copy-in {files / 'etc/initramfs-tools'} /etc",
        f"--essential-hook=copy-in {files / 'usr/share/initramfs-tools'} /usr/share",
        f"--customize-hook=sync-in {files} /",
        f'--customize-hook=chroot "$1" systemctl --quiet enable {" ".join(ENABLED)}',
        f'--customize-hook=chroot "$1" systemctl --quiet mask {" ".join(MASKED)}',
        f'--customize-hook=cd "$1" && rm -rf -- {" ".join(REMOVED)}',
    ]
    options = ["--mode=root", "--variant=apt", '--aptopt=APT::Install-Recommends "false"']
    options += [f"--include={','.join(packages)}"]
    run("mmdebstrap", "--quiet", *options, *hooks, SUITE, archive, timeout_s=1800)
    return archive


def stage_files(folder: Path, *, web: bool, public_key: str) -> Path:
    """Lay out the files that are added to Debian's, owned by root."""
    shutil.copytree(GUESTS / "full", folder)
    if not web:
        shutil.rmtree(folder / "var/www")
        shutil.copytree(GUESTS / "cloud", folder, dirs_exist_ok=True)
    if public_key:
        keys = folder / "root/.ssh/authorized_keys"
        keys.parent.mkdir(parents=True)
        keys.write_text(public_key, encoding="ascii")
        keys.chmod(0o600)
        keys.parent.chmod(0o700)
        (folder / "root").chmod(0o700)
    return folder

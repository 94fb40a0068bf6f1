# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a root file system (folder or tar) with a kernel into a bootable qcow2 image: MBR, ext4, EXTLINUX."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from tests.lab.commands import LabError, run

PARTITION_START_BYTES = 2048 * 512
MBR = Path("/usr/lib/EXTLINUX/mbr.bin")

# - no_timer_check: the kernel's self-check of its timer panics now and then on an overloaded machine without KVM
# - lpj, tsc: spare the guest measurements that take long without KVM
# - panic=3: a crashed guest starts again instead of hanging
KERNEL_ARGUMENTS = (
    "ro console=ttyS0 quiet mitigations=off no_timer_check panic=3 tsc=reliable lpj=4000000 random.trust_cpu=on"
)

# Runs in a mount namespace of its own with a loop device that frees itself: nothing stays behind when it is killed.
# SYSLINUX cannot read files with holes, so the kernel and its initrd are written in full.
FILL = """
disk=$1 mount=$2 source=$3 uuid=$4 arguments=$5
mount -o loop,offset=1048576 "$disk" "$mount"
if [ -d "$source" ]; then
  cp -a "$source/." "$mount/"
else
  tar -C "$mount" --numeric-owner --xattrs --xattrs-include='*' -xf "$source"
fi
echo "UUID=$uuid / ext4 defaults 0 1" >"$mount/etc/fstab"
cd "$mount/boot"
for file in vmlinuz-* initrd.img-*; do cp -p --sparse=never "$file" full.tmp; mv full.tmp "$file"; done
version=$(ls -v -d vmlinuz-* | tail -n 1 | cut -d - -f 2-)
mkdir extlinux
cat >extlinux/extlinux.conf <<END
DEFAULT linux
PROMPT 0
LABEL linux
  LINUX /boot/vmlinuz-$version
  INITRD /boot/initrd.img-$version
  APPEND root=UUID=$uuid $arguments
END
extlinux --install extlinux
cd /
umount "$mount"
"""


def build_disk(source: Path, image: Path, *, size_mib: int, work: Path) -> None:
    """Build the image from a folder or tar file; `work` is a private scratch folder on a disk with room for it."""
    if not MBR.exists():
        raise LabError(f"{MBR} is missing: apt-get install extlinux syslinux-common")
    disk, mount = work / "disk.raw", work / "mount"
    mount.mkdir()
    root_uuid = str(uuid.uuid4())
    with disk.open("wb") as stream:
        stream.write(MBR.read_bytes()[:440])
        stream.truncate(size_mib << 20)
    run("sfdisk", "-q", disk, stdin="label: dos\n2048,,83,*\n")
    # without 64bit and metadata_csum, because SYSLINUX reads neither; the raw file is all zeros already
    extended = f"offset={PARTITION_START_BYTES},assume_storage_prezeroed=1,nodiscard"
    features = ["-O", "^64bit,^metadata_csum", "-E", extended]
    blocks = f"{(size_mib << 10) - PARTITION_START_BYTES // 1024}k"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", root_uuid, *features, disk, blocks)
    fill = ("sh", "-euc", FILL, "fill", disk, mount, source, root_uuid, KERNEL_ARGUMENTS)
    run("unshare", "--mount", "--propagation", "private", *fill, timeout_s=600)
    image.parent.mkdir(parents=True, exist_ok=True)
    partial = image.with_name(f".{image.name}.{os.getpid()}")
    try:
        run("qemu-img", "convert", "-W", "-m", "4", "-f", "raw", "-O", "qcow2", disk, partial, timeout_s=600)
        partial.rename(image)
    finally:
        partial.unlink(missing_ok=True)
        disk.unlink()

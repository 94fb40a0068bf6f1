# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a root file system (folder or tar) with a kernel into a bootable qcow2 image: MBR, ext4, EXTLINUX or GRUB 2."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError, run

FIRST_SECTOR = 2048
ESP_SECTORS = 16384

# - no_timer_check: the kernel's self-check of its timer panics now and then on an overloaded machine without KVM
# - lpj, tsc: spare the guest measurements that take long without KVM
# - panic=3: a crashed guest starts again instead of hanging
KERNEL_ARGUMENTS = (
    "ro console=ttyS0 quiet mitigations=off no_timer_check panic=3 tsc=reliable lpj=4000000 random.trust_cpu=on"
)

# Runs in a mount namespace of its own with a loop device that frees itself: nothing stays behind when it is killed.
# SYSLINUX cannot read files with holes, so the kernel and its initrd are written in full.
FILL = """
disk=$1 mount=$2 source=$3 uuid=$4 arguments=$5 start=$6 lab=$7
mount -o loop,offset=$start "$disk" "$mount"
if [ -d "$source" ]; then
  cp -a "$source/." "$mount/"
else
  tar -C "$mount" --numeric-owner --xattrs --xattrs-include='*' -xf "$source"
fi
echo "UUID=$uuid / ext4 defaults 0 1" >"$mount/etc/fstab"
cd "$mount/boot"
for file in vmlinuz-* initrd.img-*; do cp -p --sparse=never "$file" full.tmp; mv full.tmp "$file"; done
version=$(ls -v -d vmlinuz-* | tail -n 1 | cut -d - -f 2-)
"""
EXTLINUX = """
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
# One loader for BIOS and one for UEFI; both find the menu by the root's UUID.
GRUB = f"""
cp -p vmlinuz-$version vmlinuz-other
mkdir grub
sed "s/@VERSION@/$version/; s/@ARGUMENTS@/root=UUID=$uuid $arguments/" "$lab/guests/grub/grub.cfg" >grub/grub.cfg
cd /
umount "$mount"
printf 'search.fs_uuid %s root\\nset prefix=($root)/boot/grub\\n' "$uuid" >"$disk.cfg"
modules="part_msdos ext2 fat search_fs_uuid normal configfile loadenv test linux"
grub-mkimage -O x86_64-efi -p /boot/grub -c "$disk.cfg" -o "$disk.efi" $modules
mkfs.vfat -C -n ESP "$disk.esp" {ESP_SECTORS // 2} >/dev/null
mmd -i "$disk.esp" ::EFI ::EFI/BOOT
mcopy -i "$disk.esp" "$disk.efi" ::EFI/BOOT/BOOTX64.EFI
dd if="$disk.esp" of="$disk" bs=512 seek={FIRST_SECTOR} conv=notrunc status=none
grub-mkimage -O i386-pc -p /boot/grub -c "$disk.cfg" -o "$disk.core" biosdisk $modules
dd if="$disk.core" of="$disk" bs=512 seek=1 conv=notrunc status=none
"""


@dataclass(frozen=True)
class Loader:
    """A boot loader: the MBR's code, the partition table's rows, where the root's begins, what installs the loader."""

    mbr: Path
    table: str
    start_sector: int
    install: str
    packages: str

    @property
    def start_bytes(self) -> int:
        return self.start_sector * 512


LOADERS = {
    "extlinux": Loader(
        Path("/usr/lib/EXTLINUX/mbr.bin"),
        f"{FIRST_SECTOR},,83,*",
        FIRST_SECTOR,
        EXTLINUX,
        "extlinux syslinux-common",
    ),
    "grub": Loader(
        Path("/usr/lib/grub/i386-pc/boot.img"),
        f"{FIRST_SECTOR},{ESP_SECTORS},ef\n{FIRST_SECTOR + ESP_SECTORS},,83,*",
        FIRST_SECTOR + ESP_SECTORS,
        GRUB,
        "dosfstools grub-common grub-efi-amd64-bin grub-pc-bin mtools",
    ),
}


def build_disk(source: Path, image: Path, *, size_mib: int, work: Path, loader: str = "extlinux") -> None:
    """Build the image from a folder or tar file; `work` is a private scratch folder on a disk with room for it."""
    boot = LOADERS[loader]
    if not boot.mbr.exists():
        raise LabError(f"{boot.mbr} is missing: apt-get install {boot.packages}")
    disk, mount = work / "disk.raw", work / "mount"
    mount.mkdir()
    root_uuid = str(uuid.uuid4())
    with disk.open("wb") as stream:
        stream.write(boot.mbr.read_bytes()[:440])
        stream.truncate(size_mib << 20)
    run("sfdisk", "-q", disk, stdin=f"label: dos\n{boot.table}\n")
    # without 64bit and metadata_csum, because SYSLINUX reads neither; the raw file is all zeros already
    extended = f"offset={boot.start_bytes},assume_storage_prezeroed=1,nodiscard"
    features = ["-O", "^64bit,^metadata_csum", "-E", extended]
    blocks = f"{(size_mib << 10) - boot.start_bytes // 1024}k"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", root_uuid, *features, disk, blocks)
    script = FILL + boot.install
    words = (disk, mount, source, root_uuid, KERNEL_ARGUMENTS, str(boot.start_bytes), Path(__file__).parent)
    run("unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "fill", *words, timeout_s=600)
    image.parent.mkdir(parents=True, exist_ok=True)
    partial = image.with_name(f".{image.name}.{os.getpid()}")
    try:
        run("qemu-img", "convert", "-W", "-m", "4", "-f", "raw", "-O", "qcow2", disk, partial, timeout_s=600)
        partial.rename(image)
    finally:
        partial.unlink(missing_ok=True)
        disk.unlink()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mini guest: Debian's cloud kernel, busybox and dropbear; answers HTTP and ssh within seconds without KVM."""

from __future__ import annotations

import gzip
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError, run

GUESTS = Path(__file__).parent / "guests"
SIZE_MIB = 96
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "button", "evdev")
PROGRAMS = ("/usr/sbin/dropbear", "/usr/bin/dropbearkey", "/usr/bin/dropbearconvert")
PACKAGES = ("busybox-static", "dropbear-bin")
FOLDERS = (
    *(
        "bin",
        "boot",
        "dev",
        "etc/rc2.d",
        "etc/ssh",
        "mnt",
        "proc",
        "root/.ssh",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr/bin",
        "usr/sbin",
    ),
    *("etc/rc2.d", "var/lib/dpkg", "var/lib/systemd", "var/log"),
)
BROKEN = """\
#!/bin/sh
echo 'web server: broken on purpose'
exit 1
"""


@dataclass(frozen=True)
class Kernel:
    """An unpacked linux-image package: `tree` holds boot/ and lib/modules/<version>/."""

    tree: Path
    version: str

    @property
    def image(self) -> Path:
        return self.tree / "boot" / f"vmlinuz-{self.version}"


def find_kernel(work: Path) -> Kernel:
    """Return the newest installed cloud kernel, or fetch and unpack Debian's."""
    found = [kernel for kernel in kernels_in(Path("/")) if kernel.image.exists()]
    return found[-1] if found else fetch_kernel(work / "kernel")


def kernels_in(tree: Path) -> list[Kernel]:
    versions = sorted((path.name for path in (tree / "lib/modules").glob("*-cloud-amd64")), key=version_key)
    return [Kernel(tree, version) for version in versions]


def version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def fetch_kernel(tree: Path) -> Kernel:
    tree.mkdir()
    depends = run("apt-cache", "depends", "linux-image-cloud-amd64").stdout
    package = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
    if not package:
        raise LabError("Debian's linux-image-cloud-amd64 is not known here: run apt-get update")
    run("sh", "-c", 'cd "$1" && apt-get -q download "$2"', "fetch", tree, package[1], timeout_s=300)
    run("dpkg-deb", "-x", next(tree.glob("*.deb")), tree)
    kernel = kernels_in(tree)[-1]
    run("depmod", "-b", tree, kernel.version)
    return kernel


def build_mini_root(work: Path, *, public_key: str = "", broken: bool = False) -> Path:
    """Lay out the mini guest's root in `work` and return it; `broken` has a web server that does not start."""
    root = work / "root"
    shutil.copytree(GUESTS / "mini", root)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for script in (
        *(root / "etc/init.d").iterdir(),
        *(root / "var/www/cgi-bin").iterdir(),
        root / "etc/acpi/PWRF/00000080",
        root / "usr/share/udhcpc/default.script",
    ):
        script.chmod(0o755)
    add_busybox(root)
    for program in PROGRAMS:
        add_program(root, Path(program))
    kernel = find_kernel(work)
    shutil.copy2(kernel.image, root / "boot")
    add_initrd(root / f"boot/initrd.img-{kernel.version}", kernel, work / "initrd")
    add_identity(root)
    (root / "var/lib/dpkg/status").write_text(describe_packages(kernel), encoding="utf-8")
    if public_key:
        (root / "root/.ssh/authorized_keys").write_text(public_key, encoding="ascii")
    if broken:
        (root / "etc/init.d/web").write_text(BROKEN, encoding="ascii")
    for path, mode in {"root": 0o700, "root/.ssh": 0o700, "etc/shadow": 0o600, "tmp": 0o1777}.items():
        (root / path).chmod(mode)
    return root


def describe_packages(kernel: Kernel) -> str:
    """Return what dpkg would have noted of the packages that the guest is made of; an empty line ends each."""
    fetched = next(kernel.tree.glob("*.deb"), None)
    installed = PACKAGES if fetched else (*PACKAGES, f"linux-image-{kernel.version}")
    status = run("dpkg-query", "--status", *installed).stdout + "\n"
    if fetched:
        status += run("dpkg-deb", "--field", fetched).stdout + "Status: install ok installed\n\n"
    return status


def add_busybox(root: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None or "dynamically linked" in run("busybox").stdout:
        raise LabError("busybox-static is missing: apt-get install busybox-static")
    shutil.copy2(busybox, root / "bin/busybox")
    for applet in run(busybox, "--list").stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for applet in ("init", "reboot", "poweroff", "halt"):
        (root / "sbin" / applet).symlink_to("../bin/busybox")


def add_program(root: Path, program: Path) -> None:
    """Copy a program and the libraries it needs."""
    if not program.exists():
        raise LabError(f"{program} is missing: apt-get install dropbear-bin")
    shutil.copy2(program, root / str(program).lstrip("/"))
    for library in re.findall(r"(/\S+)", run("ldd", program).stdout):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(library).resolve(), target)


def add_initrd(archive: Path, kernel: Kernel, tree: Path) -> None:
    """Pack the first stage: busybox and the virtio drivers in the order in which they are loaded."""
    for folder in ("bin", "proc", "dev", "root", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy2(GUESTS / "initrd/init", tree / "init")
    (tree / "init").chmod(0o755)
    shutil.copy2(archive.parents[1] / "bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    needed = run("modprobe", "-d", kernel.tree, "-S", kernel.version, "--show-depends", "-a", *DRIVERS).stdout
    modules = dict.fromkeys(re.findall(r"^insmod (\S+)", needed, re.MULTILINE))
    for module in modules:
        shutil.copy(module, tree / "modules")
    (tree / "order").write_text("".join(f"{Path(module).name}\n" for module in modules), encoding="ascii")
    run("sh", "-c", 'cd "$1" && find . | cpio -o -H newc --quiet -F "$2"', "pack", tree, tree.with_suffix(".cpio"))
    archive.write_bytes(gzip.compress(tree.with_suffix(".cpio").read_bytes(), compresslevel=1))


def add_identity(root: Path) -> None:
    """Give the master an identity of its own, so that a clone that shares it can be told."""
    (root / "etc/machine-id").write_text(secrets.token_hex(16) + "\n", encoding="ascii")
    (root / "var/lib/systemd/random-seed").write_bytes(os.urandom(512))
    (root / "var/lib/systemd/random-seed").chmod(0o600)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@master", "-f", root / "etc/ssh/ssh_host_ed25519_key")

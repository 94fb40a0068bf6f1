# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the images that tests and the demo boot: `python -m tests.lab.images mini|broken|grub|full|debian OUT`.

`mini` is built within a second from programs of this machine; `broken` is a mini whose web server does not start;
`grub` is a mini that GRUB boots by BIOS or UEFI; `full` is a Debian 12 web server (systemd, nginx, OpenSSH) made of
Debian packages; `debian` is the same with cloud-init instead of the web server. All of it needs root.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import tempfile
import time
from pathlib import Path

from tests.lab import disk, full, mini
from tests.lab.commands import LabError, run

CACHE = Path(__file__).resolve().parents[2] / ".state" / "images"
FULL_RECIPE = ("full.py", "guests/full", "guests/cloud")
KEEP_S = 3 * 24 * 3600
KINDS = ("mini", "broken", "grub", "full", "debian")
SMALL = ("mini", "broken", "grub")


def build_image(kind: str, image: Path, *, public_key: str = "") -> None:
    """Build one image; `public_key` may log in as root."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=CACHE) as folder:
        work = Path(folder)
        if kind in SMALL:
            root = mini.build_mini_root(work, public_key=public_key, broken=kind == "broken")
            loader = "grub" if kind == "grub" else "extlinux"
            disk.build_disk(root, image, size_mib=mini.SIZE_MIB, work=work, loader=loader)
        else:
            archive = full.build_rootfs(work, web=kind == "full", public_key=public_key)
            disk.build_disk(archive, image, size_mib=full.SIZE_MIB, work=work)


def ensure_image(kind: str) -> Path:
    """Return the image from the cache, built now when its recipe has changed; the guest key may log in as root."""
    public_key = Path(f"{ensure_guest_key()}.pub").read_text(encoding="ascii")
    image = CACHE / f"{kind}-{recipe_key(kind, public_key)}.qcow2"
    with (CACHE / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once build it once
        if not image.exists():
            remove_old_images(kind)
            build_image(kind, image, public_key=public_key)
    return image


def remove_old_images(kind: str) -> None:
    """Make room: remove images that no test has asked for lately; younger ones may be in use by another run."""
    for image in CACHE.glob(f"{kind}-*.qcow2"):
        if time.time() - image.stat().st_mtime > KEEP_S:
            image.unlink(missing_ok=True)


def ensure_guest_key() -> Path:
    """Return the private key for the guests of all tests, made on first use."""
    folder = CACHE / "guest-key"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".key-", dir=CACHE))
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "encompass-tests", "-f", made / "id_ed25519")
        try:
            made.rename(folder)
        except OSError:  # another run was faster: its key counts
            shutil.rmtree(made)
    return folder / "id_ed25519"


def recipe_key(kind: str, public_key: str) -> str:
    """Digest all that decides what is in an image of this kind."""
    here = Path(__file__).parent
    names = ("mini.py", "guests/mini", "guests/initrd", "guests/grub") if kind in SMALL else FULL_RECIPE
    paths = [here / "disk.py", *(here / name for name in names)]
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()}
    digest = hashlib.sha256(public_key.encode())
    for file in sorted(files):
        digest.update(f"{file.relative_to(here)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build an image for tests and the demo.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("image", type=Path, help="the qcow2 file to make")
    parser.add_argument("--public-key", type=Path, help="a public key that may log in as root")
    arguments = parser.parse_args()
    public_key = arguments.public_key.read_text(encoding="ascii") if arguments.public_key else ""
    try:
        build_image(arguments.kind, arguments.image, public_key=public_key)
    except LabError as error:
        raise SystemExit(f"images: {error}") from error


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools and images for the tests of masters and clones; all made by the real qemu-img."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import subprocess
from pathlib import Path

from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import LAYOUT

MIB = 1 << 20


def qemu_img(*arguments: object) -> str:
    """Run qemu-img and return what it prints."""
    return subprocess.run(
        ["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=120
    ).stdout


def spoil(path: Path) -> None:
    """Change the last bit of a file."""
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([content[-1] ^ 1]))


def make_raw(path: Path, *, data_bytes: int, virtual_bytes: int) -> Path:
    """Make a raw image with random data at its start and in its middle, and holes elsewhere."""
    with path.open("wb") as stream:
        stream.write(os.urandom(data_bytes // 2))
        stream.seek(virtual_bytes // 2)
        stream.write(os.urandom(data_bytes // 2))
        stream.truncate(virtual_bytes)
    return path


@dataclasses.dataclass(frozen=True)
class Master:
    """A published volume."""

    path: Path
    digest: str

    @property
    def base(self) -> dict:
        """Return it as the base that module clone takes."""
        status = self.path.stat()
        fingerprint = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
        return {"path": str(self.path), "format": "qcow2", "digest": self.digest, "fingerprint": fingerprint}


def make_layout(pool: Path) -> None:
    """Make what makes a directory a pool."""
    for below, mode in LAYOUT.items():
        directory = Path(f"{pool}{below}")
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(mode)


@dataclasses.dataclass(frozen=True)
class PoolDir:
    """A directory pool."""

    path: Path

    def __post_init__(self) -> None:
        """Make its directories, as module pool would."""
        make_layout(self.path)

    def publish(self, raw: Path, *options: str) -> Master:
        """Publish an image by hand, as module master would."""
        draft = self.path / "draft.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, draft)
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()
        return Master(draft.rename(self.path / "masters" / f"{digest}.qcow2"), digest)

    def clone_entry(self, name: str, base: dict, **options: object) -> dict:
        """Return a clone as module clone takes it, completed as from a catalog."""
        volume = {"name": "root", "base": base, "virtual_bytes": options.pop("virtual_bytes", None)}
        return {"name": name, "master": "web-v1", "pool_path": str(self.path), "volumes": [volume], **options}

    def master_entry(self, source: Path, image_format: str, **options: object) -> dict:
        """Return a master as module master takes it."""
        return {
            "function": "web",
            "version": 1,
            "source": str(source),
            "format": image_format,
            "pool_path": str(self.path),
            "inspect": False,
            **options,
        }

    def volume(self, clone: str) -> Path:
        """Return where a clone's volume is."""
        return self.path / "clones" / clone / "root.qcow2"

    def staged(self) -> list[str]:
        """Return what lies in the staging directory."""
        staging = self.path / ".staging"
        return sorted(path.name for path in staging.iterdir()) if staging.is_dir() else []

    def clones(self) -> list[str]:
        """Return the names of the clones that are there."""
        return sorted(path.name for path in (self.path / "clones").iterdir())

    def snapshot(self) -> dict[str, tuple]:
        """Return everything in the pool, to see that nothing was touched."""
        return {
            str(path.relative_to(self.path)): (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in sorted(self.path.rglob("*"))
        }


@contextlib.contextmanager
def mounted_tmpfs(path: Path, size_bytes: int):
    """Mount a small file system in memory."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "encompass-test", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def mounted_xfs(image: Path, path: Path):
    """Make and mount a small XFS in a file."""
    path.mkdir()
    with image.open("wb") as stream:
        stream.truncate(400 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, path], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)

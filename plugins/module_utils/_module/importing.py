# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source brought into a private directory and proved there, before any tool reads it. Private to this collection."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

from .._core.errors import Conflict, InvalidRequest, NoSpace
from .._core.image_formats.facts import ImageHeader
from .._core.library_types import MasterRequest, MasterVolume, VolumeImport
from .._core.pool_layout import explain_full_pool, require_room
from .._core.sources import (
    DISK_FORMAT,
    PACKAGE_FORMAT,
    ImportLimits,
    Signature,
    WebAccess,
    is_url,
    refuse_bytes,
    refuse_disk,
    refuse_source,
    show_source,
)
from .._drivers import image_files, qemu_img, signatures, staging, volumes, web

_MAX_SIGNATURE_BYTES = 1 << 20
_OUTPUT_SLACK_BYTES = 1 << 20
"""No conversion was seen to write more than was measured; another qemu may count its tables otherwise."""
_MODE_PUBLISHED = 0o444
_GIB = 1 << 30


class StagedImage(t.NamedTuple):
    """A disk image in a folder of its own that only we can enter, and that is what it was said to be."""

    path: str
    format: str
    folder: pathlib.Path


def parse_limits(entry: t.Mapping[str, t.Any]) -> ImportLimits:
    """Return what the import of a declared master may take."""
    return ImportLimits(entry["max_gib"] * _GIB, entry["max_virtual_gib"] * _GIB)


def parse_signature(subject: str, declared: t.Mapping[str, str] | None) -> Signature | None:
    """Return a declared signature."""
    if not declared:
        return None
    for name in ("file", "key"):
        path = declared[name]
        if not path.startswith("/") and not (name == "file" and is_url(path)):
            raise InvalidRequest(subject, f"the path {show_source(path)!r} of its signature's {name} is not absolute")
    return Signature(declared["type"], declared["file"], declared["key"])


def read_source_header(path: str, volume: MasterVolume) -> ImageHeader:
    """Return what the header of an image says, of a package that of its disk."""
    subject = f"image {path}"
    if volume.format == PACKAGE_FORMAT:
        _package, _disk, header = image_files.read_package(path, volume.disk, subject)
        return header
    return image_files.read_header(path, subject)


def import_image(
    request: MasterRequest, one: VolumeImport, path: pathlib.Path, *, subject: str, timeout_s: float
) -> None:
    """Convert an image into a finished file, in a private copy that is gone when that is done.

    qemu-img gets no more of the machine than that may take.
    """
    with _explained_room(request, one.source.size_bytes, path.parent, subject):
        image = _stage_image(request, one, path.parent, subject=subject, timeout_s=timeout_s)
    needed_bytes = qemu_img.measure(
        image.path, image.format, subject=subject, limits=qemu_img.limit_stranger(timeout_s=timeout_s)
    )
    refuse_bytes(needed_bytes, request.limits.max_bytes, "as qcow2 it would take", subject)
    free_bytes = volumes.count_free_bytes(request.pool.path, subject)
    require_room(subject, request.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes)
    limits = qemu_img.limit_stranger(timeout_s=timeout_s, file_bytes=needed_bytes + _OUTPUT_SLACK_BYTES)
    with _explained_room(request, needed_bytes, path.parent, subject):
        qemu_img.convert(image.path, image.format, str(path), subject=subject, timeout_s=timeout_s, limits=limits)
        # Whatever in the source has told us another size than qemu: this is what guests will get.
        refuse_disk(image_files.read_header(str(path), subject).virtual_bytes, request.limits, subject)
        volumes.seal_file(path, _MODE_PUBLISHED, subject)
    volumes.remove_tree(image.folder, subject)


@contextlib.contextmanager
def _explained_room(request: MasterRequest, needed_bytes: int, staged: pathlib.Path, subject: str) -> t.Iterator[None]:
    """Tell a pool that got full in bytes, as it is once what was staged is gone."""
    try:
        yield
    except NoSpace as exc:
        volumes.remove_tree(staged, subject)
        free_bytes = volumes.count_free_bytes(request.pool.path, subject)
        raise explain_full_pool(subject, request.pool.path, needed_bytes=needed_bytes, free_bytes=free_bytes) from exc


def _stage_image(
    request: MasterRequest, one: VolumeImport, staged: pathlib.Path, *, subject: str, timeout_s: float
) -> StagedImage:
    """Bring the source into a new folder; return its disk once all that is demanded of it holds for these bytes."""
    volume = next(volume for volume in request.volumes if volume.name == one.volume)
    folder, source = staged / "source", f"image {one.source.path}"
    path = str(folder / "image")
    volumes.make_private(folder, subject)
    fetch = _Fetch(request.web, source, timeout_s)
    fetch.bring(volume.source, path, request.limits.max_bytes)
    _require_digest(volume, one, image_files.hash_file(path, subject), subject)
    if volume.signature is not None:
        written = str(folder / "signature")
        fetch.bring(volume.signature.file, written, _MAX_SIGNATURE_BYTES)
        signatures.verify_signature(volume.signature.type, path, written, key=volume.signature.key, subject=source)
    if one.format != PACKAGE_FORMAT:
        refuse_source(image_files.read_header(path, source), one.format, request.limits, source)
        return StagedImage(path, one.format, folder)
    return StagedImage(_unpack_disk(path, volume, request, source), DISK_FORMAT, folder)


class _Fetch(t.NamedTuple):
    """How what belongs to one image is brought here."""

    web: WebAccess
    subject: str
    timeout_s: float

    def bring(self, source: str, target: str, max_bytes: int) -> None:
        """Make a new file of a path's or a URL's content."""
        if is_url(source):
            limits = web.WebLimits(max_bytes, self.timeout_s)
            web.download(source, target, limits, access=self.web, subject=self.subject)
        else:
            staging.copy_file(source, target, max_bytes=max_bytes, subject=self.subject)


def _require_digest(volume: MasterVolume, one: VolumeImport, digest: str, subject: str) -> None:
    if digest == one.sha256:
        return
    if is_url(volume.source):
        raise InvalidRequest(
            subject,
            f"its source {one.source.path} has the SHA-256 {digest}, {one.sha256} was expected",
            remedy="Correct the digest, or find out who changed the image.",
        )
    raise Conflict(
        subject,
        f"{one.source.path} changed while it was being read",
        remedy="Wait until nothing writes to it any more and run again.",
    )


def _unpack_disk(path: str, volume: MasterVolume, request: MasterRequest, subject: str) -> str:
    """Return the path of the disk of a package that holds what its manifest says."""
    package, member, header = image_files.read_package(path, volume.disk, subject)
    refuse_source(header, PACKAGE_FORMAT, request.limits, subject)
    staging.refuse_digests(path, package, subject)
    refuse_bytes(member.length, request.limits.max_bytes, f"its disk {member.name} takes", subject)
    disk = f"{path}.disk"
    staging.copy_member(path, member, disk, subject)
    return disk

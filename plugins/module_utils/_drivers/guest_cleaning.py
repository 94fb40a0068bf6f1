# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sealing asks of a guest that libguestfs has mounted. Private to this collection."""

from __future__ import annotations

import pathlib
import stat
import typing as t

from .._core.guestfs_errors import explain_guestfs_error, explained, says_not_there


class GuestCleaning:
    """Removes, empties and reads files of a mounted guest, in its own root inside the appliance."""

    def __init__(self, handle: t.Any, subject: str, scratch: pathlib.Path) -> None:
        """``scratch`` is a private directory of the host for lists that no message would hold."""
        self._handle = handle
        self._subject = subject
        self._scratch = scratch

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it; nothing there is success."""
        with explained(self._subject):
            self._handle.rm_rf(path.rstrip("/"))

    def empty(self, path: str) -> None:
        """Have a file without content; it keeps its owner and mode."""
        with explained(self._subject):
            self._handle.truncate(path)

    def list_files(self, directory: str) -> dict[str, int]:
        """Return the sizes of the regular files below a directory, by path; nothing when it is not there."""
        listing = self._scratch / "files"
        try:
            if not self._handle.is_dir(directory):  # a link to elsewhere is not followed
                return {}
            self._handle.find0(directory, str(listing))
            folders = _group_by_folder(listing.read_bytes().decode("utf-8", "surrogateescape"), directory)
            found = {folder: self._handle.lstatnslist(folder, names) for folder, names in folders.items()}
        except RuntimeError as exc:
            raise explain_guestfs_error(self._subject, exc) from exc
        return {
            f"{folder}/{name}": status["st_size"]
            for folder, names in folders.items()
            for name, status in zip(names, found[folder])
            if stat.S_ISREG(status["st_mode"])
        }

    def read_small(self, path: str, most_bytes: int) -> bytes:
        """Return the beginning of a file; nothing when it is not there."""
        try:
            return bytes(self._handle.pread(path, most_bytes, 0))
        except RuntimeError as exc:
            if says_not_there(exc):
                return b""
            raise explain_guestfs_error(self._subject, exc) from exc

    def trim(self, mountpoints: t.Sequence[str]) -> list[str]:
        """Give back what the file systems do not use; return those that cannot do that."""
        unable = []
        for place in mountpoints:
            try:
                self._handle.fstrim(place)
            except RuntimeError:  # the image is larger then, and no worse
                unable.append(place)
        return unable


def _group_by_folder(listing: str, directory: str) -> dict[str, list[str]]:
    """Return what find0 lists as names by folder, which is how many can be looked at in one call."""
    folders: dict[str, list[str]] = {}
    for path in filter(None, listing.split("\0")):
        folder, _slash, name = f"{directory}/{path.lstrip('/')}".rpartition("/")
        folders.setdefault(folder, []).append(name)
    return folders

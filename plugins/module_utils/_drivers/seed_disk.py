# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NoCloud disks for cloud-init. The same files give the same bytes. Private to this collection.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

from .._core.errors import Unsupported
from .._core.os_errors import explain_os_error
from .process import run_tool

_LABEL = "CIDATA"
# genisoimage (cdrkit 1.1.11) stamps the hour of its run into the disk, whatever SOURCE_DATE_EPOCH says: second choice.
_TOOLS = (("xorriso", "-as", "mkisofs"), ("genisoimage",))
_LONG_AGO = 315532800  # 1980-01-01, the first day that every reader of ISO 9660 knows


def write_seed(path: str, files: t.Mapping[str, str], directory: pathlib.Path, *, subject: str) -> None:
    """Make or replace the disk, all at once, readable for its owner only.

    The files pass through ``directory``, which is to be private and short-lived, for they may hold secrets.
    """
    target, made, tree = pathlib.Path(path), directory / "seed.iso", directory / "seed"
    options = ["-quiet", "-V", _LABEL, "-r", "-J", "-o", str(made), str(tree)]
    try:
        tree.mkdir()
        for name, text in files.items():
            (tree / name).write_text(text, encoding="utf-8")
        for entry in (*tree.iterdir(), tree):
            os.utime(entry, (_LONG_AGO, _LONG_AGO))
        run_tool(
            [*_choose_tool(subject), *options],
            subject=subject,
            timeout_s=60,
            env={"SOURCE_DATE_EPOCH": str(_LONG_AGO)},
        )
        _publish(made, target.with_name(f"{target.name}.new"), target)
    except OSError as exc:
        raise explain_os_error(subject, "write its NoCloud disk", exc) from exc


def remove_seed(path: str, *, subject: str) -> None:
    """Delete the disk; none there is success."""
    try:
        pathlib.Path(path).unlink(missing_ok=True)
    except OSError as exc:
        raise explain_os_error(subject, "delete its NoCloud disk", exc) from exc


def has_seed(path: str) -> bool:
    """Tell whether the disk is there."""
    return pathlib.Path(path).is_file()


def _publish(made: pathlib.Path, staged: pathlib.Path, target: pathlib.Path) -> None:
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _choose_tool(subject: str) -> tuple[str, ...]:
    for tool in _TOOLS:
        if shutil.which(tool[0]):
            return tool
    raise Unsupported(
        subject, "neither xorriso nor genisoimage is installed here", remedy="Run encompass.images.hypervisor."
    )

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libguestfs' errors as ours. Pure; private to this collection; may change without notice."""

from __future__ import annotations

import contextlib
import typing as t

from .errors import EncompassError, NoSpace, ToolFailed


@contextlib.contextmanager
def explained(subject: str) -> t.Iterator[None]:
    """Turn the library's errors, which are all RuntimeError, into ours; they never hold the content of a file."""
    try:
        yield
    except RuntimeError as exc:
        raise explain_guestfs_error(subject, exc) from exc


def explain_guestfs_error(subject: str, error: RuntimeError) -> EncompassError:
    """Return the error in our family; of the library's text only what names the call and the reason."""
    lines = str(error).strip().splitlines() or ["it gave no reason"]
    if "No space left on device" in str(error):
        return NoSpace(
            subject, f"a file system inside it is full ({lines[0][:300]})", remedy="Use a master with more room."
        )
    if lines[0].startswith("guestfs_launch failed"):
        return ToolFailed(
            subject, "libguestfs could not start its appliance", remedy="Run libguestfs-test-tool there to see why."
        )
    # The appliance's kernel makes a file system read-only when it cannot write to it.
    is_disk = any(words in str(error) for words in ("Input/output error", "Read-only file system"))
    place = "for errors of the pool's disk in the provider's kernel log" if is_disk else "at its disk"
    return ToolFailed(subject, f"libguestfs failed: {lines[0][:300]}", remedy=f"Look {place} and run again.")


def says_not_there(error: RuntimeError) -> bool:
    """Tell whether the call failed only because there is nothing at its path."""
    return "No such file or directory" in str(error) or "Not a directory" in str(error)

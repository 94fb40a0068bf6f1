# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, paths and room in a pool."""

from __future__ import annotations

import errno

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    InvalidRequest,
    NoSpace,
    NotFound,
    ToolFailed,
)
from ansible_collections.encompass.images.plugins.module_utils._core.os_errors import (
    explain_os_error,
    explain_tool_error,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import (
    check_object_name,
    check_pool_path,
    explain_full_pool,
    format_bytes,
    require_room,
)


@pytest.mark.parametrize("name", ["web-server-v1-3", "a", "A.b_c-1", "a" * 100])
def test_a_plain_name_is_taken(name):
    check_object_name("clone x", name)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "a~b", "-a", "a\n", "ü", "a" * 101])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(InvalidRequest, match="cannot be a file's name"):
        check_object_name("clone x", name)


@pytest.mark.parametrize("path", ["", "pool", "nbd:host", "/", "//", "/srv/../etc", "/srv/.."])
def test_a_pools_path_must_be_absolute(path):
    with pytest.raises(InvalidRequest, match="is not absolute"):
        check_pool_path("clone x", path)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 << 30, "3.0 GiB"), (5000 << 40, "5000.0 TiB")],
)
def test_sizes_are_readable(count, shown):
    assert format_bytes(count) == shown


def test_room():
    require_room("clone x", "/pool", needed_bytes=10, free_bytes=10)
    with pytest.raises(NoSpace, match=r"has 9 bytes free \(9 bytes\), and 10 bytes \(10 bytes\) are needed"):
        require_room("clone x", "/pool", needed_bytes=10, free_bytes=9)
    full = explain_full_pool("clone x", "/pool", needed_bytes=2048, free_bytes=3)
    assert "about 2048 bytes (2.0 KiB) are needed, 3 bytes (3 bytes) are free" in full.problem


@pytest.mark.parametrize(
    ("number", "error", "remedy"),
    [
        (errno.ENOSPC, NoSpace, "Free room"),
        (errno.EDQUOT, NoSpace, "Free room"),
        (errno.ENOENT, NotFound, "is mounted"),
        (errno.EIO, ToolFailed, "kernel log"),
        (errno.EROFS, ToolFailed, "mount it writable"),
        (errno.EACCES, ToolFailed, "Put that right"),
    ],
)
def test_the_systems_errors_become_ours(number, error, remedy):
    explained = explain_os_error("clone x", "write it", OSError(number, "why", "/pool/a"))
    assert explained.__class__ is error
    assert explained.problem == "cannot write it (/pool/a): why"
    assert remedy in explained.remedy


@pytest.mark.parametrize(
    ("printed", "error", "problem", "remedy"),
    [
        ("cp: a: Input/output error\n\n", ToolFailed, "cp failed: cp: a: Input/output error", "kernel log"),
        ("cp: a: No space left on device\ncp: gave up", NoSpace, "cp failed: cp: gave up", "Free room"),
        ("cp: a: Read-only file system", ToolFailed, "cp failed: cp: a: Read-only file system", "writable"),
        ("", ToolFailed, "cp failed: it printed no reason", "Put that right"),
        ("a" * 400 + ": why", ToolFailed, f"cp failed: {'a' * 150} ... {'a' * 145}: why", "Put that right"),
    ],
)
def test_what_a_tool_prints_becomes_an_error_with_its_reason(printed, error, problem, remedy):
    explained = explain_tool_error("clone x", "cp failed", printed)
    assert explained.__class__ is error
    assert explained.problem == problem
    assert remedy in explained.remedy

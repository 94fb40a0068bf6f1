# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private copies of sources: whole, sparse, and never waited for."""

from __future__ import annotations

import os

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    EncompassError,
    ImageRefused,
    InvalidRequest,
)
from ansible_collections.encompass.images.plugins.module_utils._drivers import staging

MIB = 1 << 20


def copy(source, tmp_path, *, max_bytes=64 * MIB):
    """Copy a file; return the copy."""
    target = tmp_path / "copy"
    staging.copy_file(str(source), str(target), max_bytes=max_bytes, subject="image x")
    return target


@pytest.mark.parametrize("places", [(), (0,), (0, 5 * MIB), (3 * MIB + 17, 9 * MIB, 16 * MIB - 5)])
def test_a_copy_has_the_bytes_and_the_holes(places, tmp_path):
    source = tmp_path / "source"
    with source.open("wb") as stream:
        for place in places:
            stream.seek(place)
            stream.write(b"bytes")
        stream.truncate(16 * MIB)
    target = copy(source, tmp_path)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 <= 8192 * len(places) + 8192
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_large_file_is_copied_whole(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB + 5))
    assert copy(source, tmp_path).read_bytes() == source.read_bytes()


def test_holes_that_are_filled_while_it_is_copied_count_too(tmp_path, monkeypatch):
    source = tmp_path / "source"
    with source.open("wb") as stream:
        stream.truncate(4 * MIB)
    lseek = os.lseek

    def fill_first(descriptor, *place):
        source.write_bytes(bytes(range(256)) * (MIB // 64))
        return lseek(descriptor, *place)

    monkeypatch.setattr(os, "lseek", fill_first)
    with pytest.raises(ImageRefused, match=r"at most 2.0 MiB are allowed"):
        copy(source, tmp_path, max_bytes=2 * MIB)


def test_a_pipe_that_took_the_files_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "source")
    with pytest.raises(InvalidRequest, match="is not a regular file"):
        copy(tmp_path / "source", tmp_path)


def test_what_is_too_large_or_gone_or_there_already_is_told(tmp_path):
    source = tmp_path / "source"
    with pytest.raises(EncompassError, match="No such file"):
        copy(source, tmp_path)
    source.write_bytes(bytes(100))
    with pytest.raises(ImageRefused, match="at most 99 bytes are allowed"):
        copy(source, tmp_path, max_bytes=99)
    (tmp_path / "copy").unlink()
    copy(source, tmp_path)
    with pytest.raises(EncompassError, match="File exists"):
        copy(source, tmp_path)

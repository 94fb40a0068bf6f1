# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change makes of a file: tables of (what was there, change) -> what is there."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest, Unsupported
from ansible_collections.encompass.images.plugins.module_utils._core.guest_changes import (
    CallAtEnd,
    EditHosts,
    MakeDirectory,
    MakeLink,
    Remove,
    SetContent,
    Substitute,
)
from ansible_collections.encompass.images.plugins.module_utils._core.guest_files import (
    DIRECTORY,
    FILE,
    LINK,
    MOST_SHOWN,
    NOTHING,
    FileState,
    require_restorable,
    show_state,
)

OLD = FileState(kind=FILE, content=b"a=1\nb=2\n", mode=0o640, uid=5, gid=6, xattrs=(("user.x", b"1"),), mtime_ns=9)


def text(content: bytes, **fields) -> FileState:
    return FileState(kind=FILE, content=content, **{"mode": 0o644, **fields})


def substitute(pattern: str, replacement: str, **fields) -> Substitute:
    return Substitute("clone c: customization item i", "/etc/f", pattern, replacement, **fields)


class TestSetContent:
    def test_a_new_file_is_root_s_and_readable(self) -> None:
        assert SetContent(b"x").apply(NOTHING) == text(b"x")

    def test_an_existing_file_keeps_mode_owner_and_attributes(self) -> None:
        assert SetContent(b"x").apply(OLD) == dataclasses.replace(OLD, content=b"x", mtime_ns=None)

    def test_what_is_given_wins(self) -> None:
        new = SetContent(b"x", 0o600, 0, 7).apply(OLD)
        assert (new.mode, new.uid, new.gid) == (0o600, 0, 7)

    def test_a_file_that_is_right_already_keeps_its_time(self) -> None:
        assert SetContent(OLD.content).apply(OLD) is OLD

    def test_a_link_is_replaced_by_a_file(self) -> None:
        assert SetContent(b"x").apply(FileState(kind=LINK, target="/nowhere")) == text(b"x")


class TestSubstitute:
    @pytest.mark.parametrize(
        ("pattern", "replacement", "content"),
        [
            ("^b=.*", "b=3", b"a=1\nb=3\n"),
            ("^([ab])=", r"\1:", b"a:1\nb:2\n"),
            ("[12]$", "9", b"a=9\nb=9\n"),
            (r"\Aa=1\n", "", b"b=2\n"),
            ("a=1", "a=1", b"a=1\nb=2\n"),
        ],
    )
    def test_every_match_is_replaced_and_lines_have_ends(self, pattern: str, replacement: str, content: bytes) -> None:
        assert substitute(pattern, replacement).apply(OLD).content == content

    @pytest.mark.parametrize("content", [b"\xff\xfe=1\n", "größe=1\n".encode(), b"\x00=1\n"])
    def test_bytes_that_it_does_not_touch_stay(self, content: bytes) -> None:
        new = substitute("=1", "=2").apply(text(content))
        assert new.content == content.replace(b"=1", b"=2")

    def test_no_match_is_an_error_that_names_item_path_and_pattern(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            substitute("^c=", "c=1").apply(OLD)
        for named in ("clone c", "item i", "/etc/f", "^c="):
            assert named in str(caught.value)

    @pytest.mark.parametrize("old", [OLD, NOTHING, FileState(kind=DIRECTORY)])
    def test_no_match_is_fine_when_not_required(self, old: FileState) -> None:
        assert substitute("^c=", "c=1", required=False).apply(old) is old

    def test_no_file_is_an_error(self) -> None:
        with pytest.raises(InvalidRequest, match="is not there"):
            substitute("a", "b").apply(NOTHING)

    def test_a_replacement_that_does_not_fit_is_not_quoted(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            substitute("a", r"hush\7").apply(OLD)
        assert "hush" not in str(caught.value)


class TestCallAtEnd:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"", b"#!/bin/sh\n/run\n"),
            (b"#!/bin/sh\nx\n", b"#!/bin/sh\nx\n/run\n"),
            (b"#!/bin/sh\nx", b"#!/bin/sh\nx\n/run\n"),
            (b"#!/bin/sh\nx\nexit 0\n", b"#!/bin/sh\nx\n/run\nexit 0\n"),
            (b"#!/bin/sh\nexit 0\n\n", b"#!/bin/sh\n/run\nexit 0\n\n"),
            (b"#!/bin/sh\n/run\nexit 0\n", b"#!/bin/sh\n/run\nexit 0\n"),
        ],
    )
    def test_the_call_comes_before_the_final_exit_and_once(self, before: bytes, after: bytes) -> None:
        old = text(before, mode=0o755) if before else NOTHING
        assert CallAtEnd("/run").apply(old).content == after

    def test_the_script_is_made_executable(self) -> None:
        assert CallAtEnd("/run").apply(text(b"#!/bin/sh\n", mode=0o640)).mode == 0o755


class TestEditHosts:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b"127.0.0.1 localhost\n", b"127.0.0.1 localhost\n127.0.1.1\tweb-1.example.org web-1\n"),
            (
                b"127.0.0.1 localhost\n127.0.1.1 master\n::1 localhost\n",
                b"127.0.0.1 localhost\n127.0.1.1\tweb-1.example.org web-1\n::1 localhost\n",
            ),
            (b"# none\n", b"127.0.1.1\tweb-1.example.org web-1\n# none\n"),
            (b"127.0.1.10 other\n", b"127.0.1.1\tweb-1.example.org web-1\n127.0.1.10 other\n"),
        ],
    )
    def test_the_own_name_has_its_line(self, before: bytes, after: bytes) -> None:
        edited = EditHosts("web-1.example.org").apply(text(before))
        assert edited.content == after
        assert EditHosts("web-1.example.org").apply(edited) is edited

    def test_a_name_without_domain_stands_alone(self) -> None:
        assert EditHosts("web-1").apply(text(b"")).content == b"127.0.1.1\tweb-1\n"

    def test_no_file_stays_no_file(self) -> None:
        assert EditHosts("web-1").apply(NOTHING) is NOTHING


def test_directories_links_and_removals() -> None:
    there = FileState(kind=DIRECTORY, mode=0o700)
    assert MakeDirectory(0o755).apply(there) is there
    assert MakeDirectory(0o700).apply(NOTHING) == there
    link = FileState(kind=LINK, target="../x")
    assert MakeLink("../x").apply(link) is link
    assert MakeLink("../y").apply(link) == FileState(kind=LINK, target="../y")
    assert Remove().apply(OLD) == NOTHING


def test_only_what_is_said_is_compared() -> None:
    assert OLD.is_as(dataclasses.replace(OLD, mtime_ns=None, xattrs=None))
    assert not OLD.is_as(dataclasses.replace(OLD, mtime_ns=10))
    assert not OLD.is_as(dataclasses.replace(OLD, xattrs=()))
    assert not OLD.is_as(dataclasses.replace(OLD, uid=0))


class TestRestorable:
    def test_a_rewritten_file_keeps_its_attributes_anyway(self) -> None:
        old = dataclasses.replace(OLD, xattrs=(("security.capability", b"\0\1\0\2"),))
        require_restorable("clone c", "/f", old, text(b"x"))

    def test_a_removed_file_with_attributes_that_cannot_be_set_is_refused(self) -> None:
        old = dataclasses.replace(OLD, xattrs=(("security.capability", b"\0\1\0\2"),))
        with pytest.raises(Unsupported, match=r"security\.capability"):
            require_restorable("clone c", "/f", old, NOTHING)

    def test_a_security_label_can_be_set(self) -> None:
        old = dataclasses.replace(OLD, xattrs=(("security.selinux", b"system_u:object_r:etc_t:s0\0"),))
        require_restorable("clone c", "/f", old, NOTHING)


class TestShowState:
    def test_a_secret_s_content_is_left_out(self) -> None:
        assert show_state(OLD, secret=False) == {"mode": "0640", "owner": "5:6", "content": ["a=1", "b=2"]}
        assert show_state(OLD, secret=True) == {"mode": "0640", "owner": "5:6", "content": "(secret)"}

    def test_binary_content_is_named_by_its_digest(self) -> None:
        assert "(3 bytes, SHA-256 " in show_state(text(b"\0\xff\1"), secret=False)["content"]

    def test_a_long_content_is_cut(self) -> None:
        lines = show_state(text(b"x\n" * MOST_SHOWN), secret=False)["content"]
        assert len(lines) == MOST_SHOWN // 2 + 1
        assert lines[-1] == f"({MOST_SHOWN} more characters)"

    def test_other_kinds(self) -> None:
        assert show_state(NOTHING, secret=False) is None
        assert show_state(FileState(kind=LINK, target="x"), secret=False) == {"link": "x"}
        assert show_state(FileState(kind=DIRECTORY, mode=0o755), secret=False) == {"mode": "0755", "owner": "0:0"}

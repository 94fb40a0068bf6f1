# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which URLs and addresses may be asked."""

from __future__ import annotations

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.module_utils._core.sources import check_source, show_source
from ansible_collections.encompass.images.plugins.module_utils._core.web import (
    WebPlace,
    follow_redirect,
    may_connect,
    parse_url,
)

GOOD = {
    "https://example.com": WebPlace("https", "example.com", 443, "/"),
    "http://Example.com:8080/a/b?c=d#e": WebPlace("http", "example.com", 8080, "/a/b?c=d"),
    "https://[2001:db8::1]/x": WebPlace("https", "2001:db8::1", 443, "/x"),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_url_is_taken_apart(url):
    assert parse_url(url, "image x") == GOOD[url]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://example.com/x", "the scheme 'ftp'"),
        ("file:///etc/shadow", "the scheme 'file'"),
        ("nbd://example.com/x", "the scheme 'nbd'"),
        ("https://user:hunter2@example.com/x", "holds a user"),
        ("https://user@example.com/x", "holds a user"),
        ("https:///x", "cannot be understood"),
        ("https://example.com:99999/x", "cannot be understood"),
        ("https://example.com:0/x", "cannot be understood"),
        ("https://[::1/x", "cannot be understood"),
        ("https://example.com/a b", "cannot be understood"),
        ("https://example.com/a\x7f", "cannot be understood"),
        ("https://b\u00fccher.example/x", "cannot be understood"),
    ],
)
def test_an_odd_url_is_refused_without_its_secrets(url, sentence):
    with pytest.raises(InvalidRequest, match=sentence) as refusal:
        parse_url(url, "image x")
    assert "hunter2" not in str(refusal.value)


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "2002:0a00:0001::",
]
NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fec0::1",
    "2001:db8::1",
    "240.0.0.1",
]


def test_only_public_addresses_are_asked_unless_private_ones_are_allowed():
    for address in ("93.184.215.14", "2606:2800:21f::1", "64:ff9b::5db8:d70e"):
        assert may_connect(address, allow_private=False)
    for address in PRIVATE:
        assert not may_connect(address, allow_private=False), address
        assert may_connect(address, allow_private=True), address
    for address in NEVER:
        assert not may_connect(address, allow_private=True), address


def test_a_redirect_is_followed_to_where_it_may_lead():
    place = parse_url("https://example.com:444/a/b?c", "image x")
    assert follow_redirect(place, "../d?e=f", "image x") == WebPlace("https", "example.com", 444, "/d?e=f")
    assert follow_redirect(place, "//other.example/g", "image x").host == "other.example"
    for location in ("http://example.com/a", "file:///etc/shadow", "https://u:p@example.com/", "gopher://x"):
        with pytest.raises(InvalidRequest):
            follow_redirect(place, location, "image x")


def test_a_port_is_told_when_it_is_not_the_schemes_own():
    urls = {
        "https://a.example/": "a.example",
        "http://a.example:443/": "a.example:443",
        "https://[2600::1]": "[2600::1]",
    }
    assert {url: parse_url(url, "image x").authority for url in urls} == urls


def test_what_is_shown_of_a_url_holds_no_secret():
    assert show_source("https://u:p@example.com/a?token=t#f") == "https://example.com/a"
    assert show_source("/srv/a?b") == "/srv/a?b"
    assert parse_url("http://example.com:81/a?token=t", "image x").shown == "http://example.com:81/a"


@pytest.mark.parametrize(
    ("source", "sha256", "sentence"),
    [
        ("https://example.com/a?token=t", "", "https://example.com/a is a URL, and its sha256 is not given"),
        ("https://example.com/a", "abc", "is not a digest"),
        ("a.qcow2", "", "is not absolute"),
        ("json:{}", "", "is not absolute"),
    ],
)
def test_a_source_that_nothing_holds_to_its_content_is_refused(source, sha256, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        check_source("master x", source, sha256)
    check_source("master x", "https://example.com/a", "0" * 64)
    check_source("master x", "/srv/a", "")

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that answer, lead astray, lie, stall and never end: real ones, on the loopback interface."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import (
    EncompassError,
    ImageRefused,
    InvalidRequest,
    ToolFailed,
)
from ansible_collections.encompass.images.plugins.module_utils._core.sources import WebAccess
from ansible_collections.encompass.images.plugins.module_utils._drivers import web

CONTENT = os.urandom(1 << 20)
LIMITS = web.WebLimits(max_bytes=2 << 20, total_s=10, connect_s=2, idle_s=0.5)
HERE = WebAccess(allow_private=True)


class Site(http.server.BaseHTTPRequestHandler):
    """A site with a page for every way to be a bad server."""

    protocol_version = "HTTP/1.1"
    asked: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.close_connection = True
        with contextlib.suppress(OSError):
            getattr(self, f"show_{self.path[1:].partition('?')[0]}")()

    def begin(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def show_image(self) -> None:
        self.begin(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def show_chunks(self) -> None:
        self.begin(Transfer_Encoding="chunked")
        for start in range(0, len(CONTENT), 100_000):
            chunk = CONTENT[start : start + 100_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def show_torn_chunks(self) -> None:
        self.begin(Transfer_Encoding="chunked")
        self.wfile.write(b"ffff\r\nnot that much")

    def show_near(self) -> None:
        self.begin(302, Location="/image?token=hunter2", Content_Length=0)

    def show_metadata(self) -> None:
        self.begin(302, Location="http://169.254.169.254/latest/", Content_Length=0)

    def show_file(self) -> None:
        self.begin(302, Location="file:///etc/shadow", Content_Length=0)

    def show_loop(self) -> None:
        self.begin(302, Location="/loop", Content_Length=0)

    def show_missing(self) -> None:
        self.begin(404, Content_Length=0)

    def show_part(self) -> None:
        self.begin(206, Content_Length=4)
        self.wfile.write(b"part")

    def show_boast(self) -> None:
        self.begin(Content_Length=1 << 40)
        self.wfile.write(CONTENT)

    def show_short(self) -> None:
        self.begin(Content_Length=len(CONTENT) + 1)
        self.wfile.write(CONTENT)

    def show_endless(self) -> None:
        self.begin()
        while True:
            self.wfile.write(CONTENT)

    def show_silent(self) -> None:
        time.sleep(3)

    def show_stalled(self) -> None:
        self.begin(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT[:1000])
        time.sleep(3)

    def show_trickle(self) -> None:
        self.begin(Content_Length=len(CONTENT))
        for byte in CONTENT:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def show_slow_headers(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Never: " + b"x" * 10_000:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def show_gzip(self) -> None:
        self.begin(Content_Encoding="gzip", Content_Length=3)
        self.wfile.write(b"abc")

    def log_message(self, *_: t.Any) -> None:
        pass


@contextlib.contextmanager
def serve(tls: ssl.SSLContext | None = None) -> t.Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        server.block_on_close = False
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site():
    with serve() as port:
        yield f"http://127.0.0.1:{port}"


def fetch(url, tmp_path, *, limits=LIMITS, access=HERE):
    """Fetch a URL; return the file."""
    target = tmp_path / "fetched"
    web.download(url, str(target), limits, access=access, subject="image x")
    return target


@pytest.fixture
def fetch_page(site, tmp_path):
    """Return what fetches a page of the site."""
    return lambda page: fetch(f"{site}/{page}", tmp_path)


@pytest.mark.parametrize("page", ["image", "chunks", "near"])
def test_what_is_answered_is_what_is_written_in_private(page, site, tmp_path):
    target = fetch(f"{site}/{page}", tmp_path)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("page", "error", "sentence"),
    [
        ("metadata", InvalidRequest, "169.254.169.254 has the address 169.254.169.254, which is not to be asked"),
        ("file", InvalidRequest, "the scheme 'file'"),
        ("loop", ToolFailed, "leads on more than 5 times"),
        ("missing", ToolFailed, "answered 404"),
        ("part", ToolFailed, "answered 206"),
        ("boast", ImageRefused, "answers more than the 2.0 MiB that are allowed"),
        ("endless", ImageRefused, "answers more than the 2.0 MiB that are allowed"),
        ("short", ToolFailed, f"ended after {len(CONTENT)} of {len(CONTENT) + 1} bytes"),
        ("torn_chunks", ToolFailed, "cannot be fetched"),
        ("silent", ToolFailed, "fell silent"),
        ("stalled", ToolFailed, "fell silent"),
        ("gzip", ToolFailed, "in an encoding that was not asked for"),
    ],
)
def test_a_bad_answer_ends_in_one_sentence(page, error, sentence, fetch_page):
    with pytest.raises(error) as failure:
        fetch_page(f"{page}?token=hunter2")
    assert sentence in failure.value.problem
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("page", ["trickle", "slow_headers", "endless"])
def test_the_whole_time_is_limited_however_the_server_stretches_it(page, site, tmp_path):
    started = time.monotonic()
    limits = web.WebLimits(max_bytes=1 << 40, total_s=1)
    with pytest.raises(ToolFailed, match="did not answer within 1 s"):
        fetch(f"{site}/{page}", tmp_path, limits=limits)
    assert time.monotonic() - started < 3


def test_a_loop_is_left_after_a_few_turns(site, tmp_path):
    Site.asked.clear()
    with pytest.raises(ToolFailed):
        fetch(f"{site}/loop", tmp_path)
    assert len(Site.asked) == 6


def test_a_private_address_is_not_asked_unless_that_is_allowed(site, tmp_path):
    Site.asked.clear()
    with pytest.raises(InvalidRequest, match="set allow_private"):
        fetch(f"{site}/image", tmp_path, access=WebAccess())
    assert Site.asked == []


def test_the_address_that_was_checked_is_the_one_that_is_asked(site, tmp_path, monkeypatch):
    """A name that means a harmless address at first and another one later is looked up once."""
    answers = iter(["127.0.0.1", "169.254.169.254"])
    looked_up = []
    resolve = socket.getaddrinfo

    def rebind(host, *arguments, **options):
        if host == "images.example":
            looked_up.append(host)
            host = next(answers)
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    assert fetch(site.replace("127.0.0.1", "images.example") + "/image", tmp_path).read_bytes() == CONTENT
    assert looked_up == ["images.example"]
    with pytest.raises(InvalidRequest, match="169\\.254\\.169\\.254"):
        fetch(site.replace("127.0.0.1", "images.example") + "/image", tmp_path / "again")


def test_a_name_that_is_not_found_in_time_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: time.sleep(2) or [])
    started = time.monotonic()
    with pytest.raises(ToolFailed, match=r"the name images.example is not found"):
        fetch("http://images.example/", tmp_path, limits=web.WebLimits(1, 10, connect_s=0.2))
    assert time.monotonic() - started < 1.5


def test_the_whole_time_is_limited_however_many_addresses_a_name_has(tmp_path, monkeypatch):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))] * 1000
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: addresses)

    def never_answer(_address, timeout):
        time.sleep(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", never_answer)
    started = time.monotonic()
    with pytest.raises(ToolFailed, match=r"did not answer within 0.5 s"):
        fetch("http://images.example/", tmp_path, limits=web.WebLimits(1, 0.5, connect_s=0.1))
    assert time.monotonic() - started < 2


def test_a_port_where_nobody_listens_is_told(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ToolFailed, match="cannot be fetched: Connection refused"):
            fetch(f"http://127.0.0.1:{unused.getsockname()[1]}/", tmp_path)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the path of a certificate for localhost that only its owner trusts, its key in it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_only_a_host_that_proves_its_name_is_trusted(certificate, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trusting = WebAccess(allow_private=True, ca_path=f"{certificate}.crt")
    with serve(context) as port:
        assert fetch(f"https://localhost:{port}/image", tmp_path, access=trusting).read_bytes() == CONTENT
        for host, access in (("localhost", HERE), ("127.0.0.1", trusting)):
            with pytest.raises(ToolFailed, match="is not trusted"):
                fetch(f"https://{host}:{port}/image", tmp_path / "never", access=access)
        with pytest.raises(EncompassError, match="holds no authorities"):
            fetch(f"https://localhost:{port}/image", tmp_path / "never", access=WebAccess(True, "/dev/null"))
    assert not (tmp_path / "never").exists()

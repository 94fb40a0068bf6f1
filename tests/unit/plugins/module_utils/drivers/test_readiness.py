# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that answer, answer wrongly, late or never: real ones, on the loopback interface."""

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
from ansible_collections.encompass.images.plugins.module_utils._core.activation import Answer, Probe
from ansible_collections.encompass.images.plugins.module_utils._drivers import caller
from ansible_collections.encompass.images.plugins.module_utils._drivers.readiness import (
    Silence,
    ask_all,
    ask_once,
    await_answers,
)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64  # with the usual 5, of many connections at once some would have to wait a second


class Page(http.server.BaseHTTPRequestHandler):
    """Answers /NUMBER with that status, and says so late under /late."""

    def do_GET(self) -> None:
        if self.path == "/late":
            time.sleep(1)
        self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_: t.Any) -> None:
        pass


@contextlib.contextmanager
def serve(port: int = 0, *, tls: ssl.SSLContext | None = None) -> t.Iterator[int]:
    with Server(("127.0.0.1", port), Page) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> t.Iterator[int]:
    with serve() as number:
        yield number


@pytest.fixture
def silent_port() -> t.Iterator[int]:
    """A port that accepts and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def http_probe(port: int, path: str = "/", *, status: int = 200, timeout_s: float = 5, scheme: str = "http") -> Probe:
    return Probe("127.0.0.1", port, timeout_s, scheme, path, status)


def running(_name: str) -> str:
    return ""


def test_a_port_is_enough_when_no_page_is_asked_for(port: int, silent_port: int) -> None:
    assert ask_once(Probe("127.0.0.1", port, 5)) is None
    assert ask_once(Probe("127.0.0.1", silent_port, 5)) is None


@pytest.mark.parametrize("status", [200, 204, 404, 301])
def test_the_status_that_is_asked_for_counts(port: int, status: int) -> None:
    assert ask_once(http_probe(port, f"/{status}", status=status)) == status


@pytest.mark.parametrize(("path", "says"), [("/503", "it answered 503 instead of 200"), ("/301", "it answered 301")])
def test_another_status_is_no_answer(port: int, path: str, says: str) -> None:
    with pytest.raises(Silence, match=says):
        ask_once(http_probe(port, path))


def test_a_closed_port_is_no_answer() -> None:
    with pytest.raises(Silence, match="connection refused"):
        ask_once(http_probe(free_port()))


def test_what_accepts_and_is_silent_is_no_answer(silent_port: int) -> None:
    started = time.monotonic()
    with pytest.raises(Silence, match="no answer in time"):
        ask_once(http_probe(silent_port), limit_s=0.3)
    assert time.monotonic() - started < 1


def test_what_is_not_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Silence):
            ask_once(http_probe(server.getsockname()[1]))
        thread.join()


def test_a_name_that_is_unknown_is_no_answer() -> None:
    with pytest.raises(Silence):
        ask_once(Probe("no-such-host.invalid", 80, 5, "http", "/"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_tls_is_spoken_without_checking_whose_certificate_it_is(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=nobody"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serve(tls=context) as port:
        assert ask_once(http_probe(port, scheme="https")) == 200
        with pytest.raises(Silence):
            ask_once(http_probe(port), limit_s=1)


def test_a_server_without_tls_is_no_answer_where_tls_is_asked_for(port: int) -> None:
    with pytest.raises(Silence):
        ask_once(http_probe(port, scheme="https"), limit_s=1)


def test_proxies_are_not_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask_once(http_probe(port)) == 200


def test_many_are_asked_at_the_same_time(port: int) -> None:
    started = time.monotonic()
    answers = ask_all({str(number): http_probe(port, "/late") for number in range(20)}, limit_s=5)
    assert time.monotonic() - started < 8
    assert all(answer and answer.status == 200 for answer in answers.values())
    assert ask_all({"x": http_probe(free_port())}, limit_s=1) == {"x": None}
    assert ask_all({}, limit_s=1) == {}


def test_a_server_that_comes_late_is_heard() -> None:
    number = free_port()

    def come_late() -> None:
        time.sleep(0.8)
        with serve(number):
            time.sleep(2)

    thread = threading.Thread(target=come_late)
    thread.start()
    answer = await_answers({"x": http_probe(number)}, {"x": time.monotonic()}, running)["x"]
    thread.join()
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert 0.7 < answer.after_s < 3


def test_each_has_its_own_time(port: int) -> None:
    now = time.monotonic()
    probes = {
        "short": http_probe(free_port(), timeout_s=0.5),
        "long": http_probe(free_port(), timeout_s=1.5),
        "over": http_probe(free_port(), timeout_s=100),
        "wrong": http_probe(port, "/500", timeout_s=0.5),
        "fine": http_probe(port),
    }
    answers = await_answers(probes, {**dict.fromkeys(probes, now), "over": now - 100}, running)
    assert 1.4 < time.monotonic() - now < 3
    assert answers["short"] == f"{probes['short'].target} did not answer within 0.5 s (connection refused)"
    assert "did not answer within 1.5 s" in str(answers["long"])
    assert "did not answer within 100 s" in str(answers["over"])
    assert "it answered 500 instead of 200" in str(answers["wrong"])
    assert isinstance(answers["fine"], Answer)


def test_a_server_that_answers_just_now_is_heard_though_its_time_is_over(port: int) -> None:
    answer = await_answers({"x": http_probe(port, timeout_s=1)}, {"x": time.monotonic() - 5}, running)["x"]
    assert isinstance(answer, Answer)


def test_what_is_futile_is_not_waited_for() -> None:
    started = time.monotonic()
    answers = await_answers(
        {"x": http_probe(free_port(), timeout_s=60)}, {"x": started}, lambda name: f"{name} stopped"
    )
    assert answers == {"x": "x stopped"}
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("make_ends", [os.pipe, lambda: [end.detach() for end in socket.socketpair()]])
def test_a_caller_is_gone_when_it_no_longer_reads(make_ends: t.Callable[[], t.Sequence[int]]) -> None:
    reader, writer = make_ends()
    assert not caller.is_gone(writer)
    os.close(reader)
    assert caller.is_gone(writer)
    os.close(writer)


def test_a_file_is_a_patient_caller(tmp_path: Path) -> None:
    with (tmp_path / "result").open("w", encoding="utf-8") as result:
        assert not caller.is_gone(result.fileno())

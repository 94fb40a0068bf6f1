# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch one file from the web, trusting nothing that the other side says. Private to this collection.

No proxies: the address that is checked is the one that is connected to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import socket
import ssl
import threading
import time
import typing as t

from .._core.errors import ImageRefused, InvalidRequest, ToolFailed
from .._core.os_errors import explain_os_error
from .._core.pool_layout import format_bytes
from .._core.sources import WebAccess
from .._core.web import MAX_REDIRECTS, WebPlace, follow_redirect, may_connect, parse_url

_BLOCK_BYTES = 1 << 18
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"User-Agent": "encompass.images", "Accept-Encoding": "identity", "Connection": "close"}


@dataclasses.dataclass(frozen=True)
class WebLimits:
    """How long to wait for a name or a connection, for the next bytes, and for all of it; and how much to take."""

    max_bytes: int
    total_s: float
    connect_s: float = 10.0
    idle_s: float = 30.0


class _Late(Exception):
    """The whole time is over."""


class _Order(t.NamedTuple):
    """One download; its time is over at ``deadline``, by the monotonic clock."""

    target: str
    limits: WebLimits
    access: WebAccess
    subject: str
    deadline: float


def download(url: str, target: str, limits: WebLimits, *, access: WebAccess, subject: str) -> None:
    """Make a new file (0600) of what a URL answers.

    Raises :class:`InvalidRequest` for a URL or an address that may not be asked, :class:`ImageRefused` for an answer
    that is too long, and :class:`ToolFailed` when the answer does not come, or not whole.
    """
    order = _Order(target, limits, access, subject, time.monotonic() + limits.total_s)
    place = parse_url(url, subject)
    for _redirect in range(MAX_REDIRECTS + 1):
        try:
            location = _ask(place, order)
        except _Late as exc:
            raise ToolFailed(subject, f"{place.shown} did not answer within {limits.total_s:g} s") from exc
        if location is None:
            return
        place = follow_redirect(place, location, subject)
    raise ToolFailed(subject, f"its URL leads on more than {MAX_REDIRECTS} times", remedy="Give the final URL.")


def _ask(place: WebPlace, order: _Order) -> str | None:
    """Write the answer to the file and return None, or return where a redirect leads."""
    with (
        _connected(place, order) as connection,
        _explained(place, order.subject),
        _ended_at(connection, order.deadline),
    ):
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
        connection.settimeout(order.limits.idle_s)
        request = http.client.HTTPConnection(place.host, place.port)
        request.sock, request.auto_open = connection, 0  # it never connects by itself
        request.request("GET", place.target, headers={**_HEADERS, "Host": place.authority})
        answer = request.getresponse()
        if answer.status in _REDIRECTS:
            return answer.headers.get("Location", "")
        _check_answer(answer, place, order)
        _write_body(answer, place, order)
    return None


def _check_answer(answer: http.client.HTTPResponse, place: WebPlace, order: _Order) -> None:
    if answer.status != 200:
        raise ToolFailed(order.subject, f"{place.shown} answered {answer.status}", remedy="Look at the URL.")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ToolFailed(order.subject, f"{place.shown} answered in an encoding that was not asked for")
    if answer.length is not None and answer.length > order.limits.max_bytes:
        raise _explain_length(place, order)


def _write_body(answer: http.client.HTTPResponse, place: WebPlace, order: _Order) -> None:
    """Write what comes, as it comes; what was promised decides nothing but whether all of it came."""
    promised, written = answer.length, 0
    descriptor = _create(order)
    try:
        while block := answer.read1(_BLOCK_BYTES):
            written += len(block)
            if written > order.limits.max_bytes:
                raise _explain_length(place, order)
            _write_fully(descriptor, block, order)
    finally:
        os.close(descriptor)
    if promised is not None and written != promised:
        problem = f"{place.shown} ended after {written} of {promised} bytes"
        raise ToolFailed(order.subject, problem, remedy="Run again.")


def _explain_length(place: WebPlace, order: _Order) -> ImageRefused:
    return ImageRefused(
        order.subject,
        f"{place.shown} answers more than the {format_bytes(order.limits.max_bytes)} that are allowed",
        remedy="Raise max_gib if that is right.",
        reason="size",
    )


def _create(order: _Order) -> int:
    try:
        return os.open(order.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise explain_os_error(order.subject, "stage it", exc) from exc


def _write_fully(descriptor: int, block: bytes, order: _Order) -> None:
    try:
        while block:
            block = block[os.write(descriptor, block) :]
    except OSError as exc:
        raise explain_os_error(order.subject, "stage it", exc) from exc


@contextlib.contextmanager
def _connected(place: WebPlace, order: _Order) -> t.Iterator[socket.socket]:
    """Connect to an address of the host that may be asked; the handshake of TLS is still to be done."""
    addresses = _resolve(place, order)
    allowed = [address for address in addresses if may_connect(address, allow_private=order.access.allow_private)]
    if not allowed:
        raise InvalidRequest(
            order.subject,
            f"{place.host} has the address {addresses[0]}, which is not to be asked",
            remedy="Give a URL of the public web, or set allow_private for one of your own networks.",
        )
    with _explained(place, order.subject):
        plain = _connect(allowed, place.port, order)
    with contextlib.closing(plain):
        if place.scheme == "http":
            yield plain
            return
        context = _make_tls_context(order)
        wrapped = context.wrap_socket(plain, server_hostname=place.host, do_handshake_on_connect=False)
        with contextlib.closing(wrapped):
            yield wrapped


def _make_tls_context(order: _Order) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=order.access.ca_path or None)
    except OSError as exc:
        raise InvalidRequest(order.subject, f"{order.access.ca_path} holds no authorities of certificates") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _resolve(place: WebPlace, order: _Order) -> list[str]:
    """Return the host's addresses; the resolver has no time limit of its own, so it works in a thread that may stay."""
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            answers = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            found.extend(str(answer[4][0]) for answer in answers)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_limit_connecting(order))
    if not found:
        raise ToolFailed(
            order.subject, f"the name {place.host} is not found", remedy="Look at the URL and the resolver."
        )
    return list(found)


def _connect(addresses: t.Sequence[str], port: int, order: _Order) -> socket.socket:
    """Connect to the first address that answers; the whole time is limited however many a name has."""
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), timeout=_limit_connecting(order))
    return socket.create_connection((addresses[-1], port), timeout=_limit_connecting(order))


def _limit_connecting(order: _Order) -> float:
    """Return how long to wait for a name or an address at most."""
    left_s = order.deadline - time.monotonic()
    if left_s <= 0:
        raise _Late
    return min(order.limits.connect_s, left_s)


@contextlib.contextmanager
def _ended_at(connection: socket.socket, deadline: float) -> t.Iterator[None]:
    """Cut the connection when the time is over, whatever the other side is sending by then, and raise _Late."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # that of TLS would wait for the other side

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, ToolFailed):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise _Late


@contextlib.contextmanager
def _explained(place: WebPlace, subject: str) -> t.Iterator[None]:
    """Turn the network's errors into ours."""
    try:
        yield
    except ssl.SSLCertVerificationError as exc:
        problem = f"{place.host} is not trusted: {exc.verify_message}"
        raise ToolFailed(subject, problem, remedy="Give the authority of its certificate by ca_path.") from exc
    except (TimeoutError, socket.timeout) as exc:  # one and the same from Python 3.10 on
        raise ToolFailed(subject, f"{place.shown} fell silent", remedy="Run again.") from exc
    except (OSError, http.client.HTTPException) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else type(exc).__name__
        raise ToolFailed(subject, f"{place.shown} cannot be fetched: {reason}", remedy="Run again.") from exc

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether servers answer, many at once. Private to this collection; may change without notice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import socket
import ssl
import time
import typing as t

from .._core.activation import Answer, Probe

CONNECT_S = 1.0
"""How long one try waits for a connection: a server that is not up yet must not hold up the next try."""
ANSWER_S = 10.0
"""How long one try waits for an answer once connected: a first request may have to wake up much."""
PAUSE_S = 0.1
_LOOK_EVERY_S = 2.0
_MAX_THREADS = 256


class Silence(Exception):
    """The server did not answer this time, and why."""


def ask_once(probe: Probe, *, limit_s: float = ANSWER_S) -> int | None:
    """Ask the server once; return the HTTP status, None without HTTP. Raises :class:`Silence`.

    Neither proxies nor redirects are followed, and certificates are not checked: only this very server's answer counts.
    """
    try:
        with _connect(probe, limit_s) as connection:
            return _get_status(probe, connection, limit_s) if probe.path else None
    except (OSError, http.client.HTTPException) as exc:
        raise Silence(_describe(exc)) from exc


def _connect(probe: Probe, limit_s: float) -> t.ContextManager[socket.socket]:
    return contextlib.closing(socket.create_connection((probe.address, probe.port), timeout=min(CONNECT_S, limit_s)))


def _get_status(probe: Probe, connection: socket.socket, limit_s: float) -> int:
    connection.settimeout(limit_s)
    if probe.scheme == "https":
        connection = _make_tls_context().wrap_socket(connection, server_hostname=probe.address)
    request = http.client.HTTPConnection(probe.address, probe.port)
    request.sock = connection
    try:
        request.request("GET", probe.path, headers={"Connection": "close", "User-Agent": "encompass.images"})
        status = request.getresponse().status
    finally:
        request.close()
    if status != probe.status:
        raise Silence(f"it answered {status} instead of {probe.status}")
    return status


def _make_tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _describe(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):  # one and the same from Python 3.10 on
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def ask_all(probes: t.Mapping[str, Probe], *, limit_s: float) -> dict[str, Answer | None]:
    """Ask every server once, all at the same time; None for one that does not answer."""

    def ask(probe: Probe) -> Answer | None:
        with contextlib.suppress(Silence):
            return Answer(status=ask_once(probe, limit_s=limit_s))
        return None

    return _map_all(ask, probes)


def await_answers(
    probes: t.Mapping[str, Probe], since: t.Mapping[str, float], find_futility: t.Callable[[str], str]
) -> dict[str, Answer | str]:
    """Ask every server again and again, all at the same time, until it answers or its time is over.

    ``since`` is the monotonic time from which each server's limit counts. ``find_futility`` tells, now and then, why a
    server need not be waited for any more, "" as long as it is worth it.
    Returns each server's answer, or in words why there is none.
    """

    def wait(item: tuple[str, Probe]) -> Answer | str:
        name, probe = item
        return _await_answer(name, probe, since[name], find_futility)

    return _map_all(wait, {name: (name, probe) for name, probe in probes.items()})


ItemT = t.TypeVar("ItemT")
ResultT = t.TypeVar("ResultT")


def _map_all(work: t.Callable[[ItemT], ResultT], items: t.Mapping[str, ItemT]) -> dict[str, ResultT]:
    if not items:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(_MAX_THREADS, len(items))) as pool:
        return dict(zip(items, pool.map(work, items.values())))


def _await_answer(name: str, probe: Probe, since: float, find_futility: t.Callable[[str], str]) -> Answer | str:
    look_at = time.monotonic() + _LOOK_EVERY_S
    while True:
        left_s = since + probe.timeout_s - time.monotonic()
        try:
            status = ask_once(probe, limit_s=max(0.1, min(ANSWER_S, left_s)))
        except Silence as exc:
            reason = str(exc)
        else:
            return Answer(time.monotonic() - since, status)
        if left_s <= 0:
            return f"{probe.target} did not answer within {probe.timeout_s:g} s ({reason})"
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _LOOK_EVERY_S
            futility = find_futility(name)
            if futility:
                return futility
        time.sleep(PAUSE_S)

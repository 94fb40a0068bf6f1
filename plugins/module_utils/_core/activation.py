# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts a machine until its server answers, and what stops it: pure plans. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse

from .domain import console_log_of
from .errors import Conflict, InvalidRequest, NotReady
from .provider import Power, PowerSeen
from .steps import Step

ACTIVE = "active"
INACTIVE = "inactive"
_PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class Probe:
    """How to see that a server answers: a TCP connection, or with a path a GET that must give this status."""

    address: str
    port: int
    timeout_s: float
    scheme: str = "tcp"
    path: str = ""
    status: int = 200

    @property
    def target(self) -> str:
        """Return what is asked, in words."""
        if self.scheme == "tcp":
            return f"{self.address} port {self.port}"
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.address}{port}{self.path}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """A server's first answer: after how long, and the HTTP status where there is one."""

    after_s: float = 0.0
    status: int | None = None


@dataclasses.dataclass(frozen=True)
class Activation:
    """What is asked for one machine."""

    state: str
    name: str
    uuid: str = ""
    probe: Probe | None = None
    stop_timeout_s: float = 60.0
    power_off: bool = True
    stage: str = ""
    """What the catalog says of the machine's clone; empty when nobody says."""


@dataclasses.dataclass(frozen=True)
class ActivationSeen:
    """The machine's power, what its server answered, and how it was last stopped by us."""

    machine: PowerSeen | None = None
    answer: Answer | None = None
    stopped: str = ""


@dataclasses.dataclass(frozen=True)
class StartDomain:
    """Switch the machine on."""

    name: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"start domain {self.name}"


@dataclasses.dataclass(frozen=True)
class ResumeDomain:
    """Let a paused machine go on."""

    name: str
    reason: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"resume domain {self.name}, which is paused ({self.reason})"


@dataclasses.dataclass(frozen=True)
class AwaitAnswer:
    """Wait until the server answers."""

    probe: Probe

    def describe(self) -> str:
        """Return the step in words."""
        wanted = "" if self.probe.scheme == "tcp" else f" with {self.probe.status}"
        return f"wait until {self.probe.target} answers{wanted}, at most {self.probe.timeout_s:g} s"


@dataclasses.dataclass(frozen=True)
class PowerOffDomain:
    """Switch a paused machine off, which can obey nobody."""

    name: str
    reason: str

    def describe(self) -> str:
        """Return the step in words."""
        return f"switch off domain {self.name}, which is paused ({self.reason})"


@dataclasses.dataclass(frozen=True)
class StopDomain:
    """Shut the machine down; switch it off when it does not obey in time, unless it must not be."""

    name: str
    timeout_s: float
    power_off: bool = True

    def describe(self) -> str:
        """Return the step in words."""
        if not self.power_off:
            return f"shut down domain {self.name} by ACPI within {self.timeout_s:g} s"
        return f"shut down domain {self.name} by ACPI, switch it off when it still runs after {self.timeout_s:g} s"


def read_activation(state: str, options: t.Mapping[str, t.Any]) -> Activation:
    """Return what the options of one machine ask for."""
    ready = options.get("ready")
    probe = read_probe(options["name"], options.get("address") or "", ready) if ready and state == ACTIVE else None
    return Activation(
        state=state,
        name=options["name"],
        uuid=(options.get("uuid") or "").lower(),
        probe=probe,
        stop_timeout_s=float(options["stop_timeout_s"]),
        power_off=bool(options.get("power_off", True)),
        stage=options.get("stage") or "",
    )


def presume_activation(item: Activation, seen: ActivationSeen) -> ActivationSeen:
    """Return what would be seen if the machine were attached, as the catalog says, and not running yet."""
    return ActivationSeen(PowerSeen(item.uuid, Power.OFF)) if item.stage == "attached" else seen


def read_probe(name: str, address: str, ready: t.Mapping[str, t.Any]) -> Probe | None:
    """Return the probe that ``ready`` describes; None when it asks for nothing.

    A URL is a whole one, in which ``{address}`` stands for the machine's, or only a path on the machine.
    """
    subject, url, port = f"machine {name}", ready.get("url"), ready.get("port")
    if not url and not port:
        return None
    timeout_s = float(ready["timeout_s"])
    if not url:
        return Probe(_require_address(subject, address), _require_port(subject, port), timeout_s)
    parts = _split_url(subject, f"http://{{address}}{url}" if url.startswith("/") else url)
    host = str(parts.hostname)
    return Probe(
        address=_require_address(subject, address) if host == "{address}" else host,
        port=_require_port(subject, _port_of(subject, parts) or port or _PORTS[parts.scheme]),
        timeout_s=timeout_s,
        scheme=parts.scheme,
        path=urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")),
        status=int(ready.get("status") or 200),
    )


def _split_url(subject: str, url: str) -> urllib.parse.SplitResult:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or any(ord(letter) <= 0x20 for letter in url):
        raise InvalidRequest(subject, f"the URL {url!r} of its readiness check is not an http or https URL")
    return parts


def _port_of(subject: str, parts: urllib.parse.SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError as exc:
        raise InvalidRequest(subject, f"the URL of its readiness check has no valid port ({exc})") from exc


def _require_port(subject: str, port: t.Any) -> int:
    if not 1 <= int(port) <= 65535:
        raise InvalidRequest(subject, f"its readiness check names port {port}, which is none")
    return int(port)


def _require_address(subject: str, address: str) -> str:
    if not address:
        raise InvalidRequest(
            subject,
            "its server shall answer, but the machine has no address",
            remedy="Assign it first, or give a whole URL.",
        )
    return address


def plan_activation(item: Activation, seen: ActivationSeen) -> list[Step]:
    """Return the steps that start a machine and hear its server, or that stop it.

    A machine that is not there may be planned by a step before, so only the start itself finds out. Raises
    :class:`Conflict` when the name is another machine's.
    """
    machine = seen.machine
    if machine is not None and item.uuid and machine.uuid != item.uuid:
        raise Conflict(
            f"machine {item.name}",
            f"the provider's domain of this name has the UUID {machine.uuid}, not {item.uuid}",
            remedy="Run encompass.images.discover, then see which of the two is right.",
        )
    if item.state == INACTIVE:
        return _plan_stop(item, machine)
    steps: list[Step] = []
    if machine is None or machine.power is Power.OFF:
        steps.append(StartDomain(item.name))
    elif machine.power is Power.PAUSED:
        steps.append(ResumeDomain(item.name, machine.reason))
    if item.probe is not None and (steps or seen.answer is None):
        steps.append(AwaitAnswer(item.probe))
    return steps


def _plan_stop(item: Activation, machine: PowerSeen | None) -> list[Step]:
    if machine is None or machine.power is Power.OFF:
        return []
    if machine.power is Power.PAUSED and not item.power_off:
        raise explain_obstinacy(item.name, f"it is paused ({machine.reason})")
    if machine.power is Power.PAUSED:
        return [PowerOffDomain(item.name, machine.reason)]
    return [StopDomain(item.name, item.stop_timeout_s, item.power_off)]


def explain_obstinacy(name: str, reason: str) -> NotReady:
    """Return the error for a machine that was not shut down and must not be switched off."""
    return NotReady(
        f"machine {name}",
        f"{reason}, and it must not be switched off",
        remedy="Shut the guest down from within and run again, or have it switched off by force.",
    )


def explain_silence(name: str, reason: str) -> NotReady:
    """Return the error for a server that did not answer."""
    log = console_log_of(name)
    return NotReady(
        f"machine {name}",
        reason,
        remedy=f"See {log} on its provider, and run again when it is repaired; the machine is left as it is.",
    )


def report_activation(item: Activation, seen: ActivationSeen) -> dict[str, t.Any]:
    """Return the record's fields once the plan is done; ``answered`` and ``stopped`` are of this run only."""
    answered = None
    if item.state == ACTIVE and seen.answer is not None:
        answered = {"after_s": round(seen.answer.after_s, 1), "status": seen.answer.status}
    stage = ACTIVE if item.state == ACTIVE else "attached"
    return {"stage": stage, "answered": answered, "stopped": seen.stopped or None}


def diff_activation(item: Activation, seen: ActivationSeen) -> tuple[dict[str, str], dict[str, str]]:
    """Return the machine's power before and after."""
    before = seen.machine.power.value if seen.machine else "not there"
    return {"power": before}, {"power": (Power.RUNNING if item.state == ACTIVE else Power.OFF).value}

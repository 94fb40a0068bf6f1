# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user declares, made into typed and checked requests. Pure; private to this collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...module_utils._core.data_volumes import (
    FORMATS,
    LABEL_MAX_CHARS,
    check_file_system,
    check_size,
    check_volume_name,
)
from ...module_utils._core.domain import DISK_BUSES
from ...module_utils._core.errors import InvalidRequest
from .texts import parse_list

CURRENT = "current"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class NetworkRequest:
    """One NIC of every member; ``addresses`` are given to the members in order, the rest is allocated."""

    name: str
    addresses: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Ready:
    """When a server counts as active: a port that accepts, or a URL that answers with ``status``."""

    port: int | None = None
    url: str | None = None
    status: int = 200
    timeout_s: int = 180


@dataclasses.dataclass(frozen=True)
class DataVolume:
    """A volume that every member has for itself, and keeps whatever it serves."""

    name: str
    virtual_bytes: int
    pool: str
    bus: str = "virtio"
    format: str = "qcow2"
    filesystem: str = ""
    label: str = ""


@dataclasses.dataclass(frozen=True)
class DeploymentRequest:
    """A declared number of servers of one function, as ``encompass_deployments`` holds it."""

    name: str
    function: str
    count: int = 1
    version: int | str = CURRENT
    cpus: int | None = None
    memory_mib: int | None = None
    networks: tuple[NetworkRequest, ...] = (NetworkRequest("encompass"),)
    pool: str = "default"
    method: str = "auto"
    strategy: str = "spread"
    providers: tuple[str, ...] = ()
    inputs: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    ready: Ready | None = None
    stop_timeout_s: int = 60
    standby: int = 1
    vars: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    data: tuple[DataVolume, ...] = ()

    @property
    def servers(self) -> list[str]:
        """The names of the members that are wanted."""
        return [f"{self.name}-{number}" for number in range(1, self.count + 1)]


@dataclasses.dataclass(frozen=True)
class ReassignRequest:
    """Machines that shall serve a function, all those of a deployment or some by name."""

    function: str
    deployment: str = ""
    machines: tuple[str, ...] = ()
    version: int | str = CURRENT
    inputs: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    ready: Ready | None = None


@dataclasses.dataclass(frozen=True)
class MigrationRequest:
    """Machines that shall be at another provider, all those of a deployment or some by name."""

    deployment: str = ""
    machines: tuple[str, ...] = ()
    to: str = ""
    """The provider; empty for the best of the others."""
    live: bool | None = None
    """Whether they go on running; None for those that can."""
    fenced: tuple[str, ...] = ()
    """Providers of which the operator says that nothing runs there any more."""


def parse_migrations(declared: t.Sequence[t.Any]) -> list[MigrationRequest]:
    """Return what machines are to move; raises :class:`InvalidRequest` for anything that is not understood."""
    return [_parse_migration(entry, f"migration number {number}") for number, entry in enumerate(declared, 1)]


def _parse_migration(entry: t.Any, subject: str) -> MigrationRequest:
    if not isinstance(entry, t.Mapping):
        raise InvalidRequest(subject, "it is not a dictionary")
    _refuse_unknown(subject, entry, {"deployment", "machines", "to", "live", "fenced"})
    machines = _parse_texts(subject, "machines", entry.get("machines"))
    if bool(machines) == bool(entry.get("deployment")):
        raise InvalidRequest(subject, "it needs either machines or a deployment")
    live = str(entry.get("live", "auto")).lower()
    if live not in _LIVE:
        raise InvalidRequest(subject, f"its live is {entry['live']!r}, not auto, true or false")
    return MigrationRequest(
        deployment=str(entry.get("deployment") or ""),
        machines=machines,
        to=str(entry.get("to") or ""),
        live=_LIVE[live],
        fenced=_parse_texts(subject, "fenced", entry.get("fenced")),
    )


_LIVE = {"auto": None, "true": True, "yes": True, "false": False, "no": False}


def parse_reassignments(declared: t.Sequence[t.Any]) -> list[ReassignRequest]:
    """Return what machines are to serve; raises :class:`InvalidRequest` for anything that is not understood."""
    return [_parse_reassignment(entry, f"reassignment number {number}") for number, entry in enumerate(declared, 1)]


def _parse_reassignment(entry: t.Any, subject: str) -> ReassignRequest:
    if not isinstance(entry, t.Mapping):
        raise InvalidRequest(subject, "it is not a dictionary")
    _refuse_unknown(subject, entry, {"function", "deployment", "machines", "version", "inputs", "ready"})
    machines = _parse_texts(subject, "machines", entry.get("machines"))
    if bool(machines) == bool(entry.get("deployment")):
        raise InvalidRequest(subject, "it needs either machines or a deployment")
    return ReassignRequest(
        function=_parse_name(subject, "function", entry.get("function")),
        deployment=str(entry.get("deployment") or ""),
        machines=machines,
        version=_parse_version(subject, entry.get("version")),
        inputs=_require_mapping(subject, "inputs", entry.get("inputs")),
        ready=_parse_ready(subject, entry.get("ready")),
    )


def parse_deployments(declared: t.Any) -> list[DeploymentRequest]:
    """Return the declared deployments, each checked as far as that needs no catalog."""
    if not isinstance(declared, list):
        raise InvalidRequest("encompass_deployments", "it is not a list of deployments")
    requests = [parse_deployment(entry, f"deployment number {number}") for number, entry in enumerate(declared, 1)]
    seen: dict[str, str] = {}
    for request in requests:
        for name in (request.name, *request.servers):
            if name in seen:
                raise InvalidRequest(
                    f"deployment {request.name}",
                    f"the name {name} is declared twice (also by deployment {seen[name]})",
                    remedy="Give every deployment a name of its own.",
                )
        seen.update(dict.fromkeys((request.name, *request.servers), request.name))
    return requests


def parse_deployment(entry: t.Any, subject: str) -> DeploymentRequest:
    """Return one declared deployment; raises :class:`InvalidRequest` for anything that is not understood."""
    if not isinstance(entry, t.Mapping):
        raise InvalidRequest(subject, "it is not a dictionary")
    name = entry.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidRequest(
            subject,
            f"its name is {name!r}",
            remedy="Use at most 40 lower-case letters, digits and hyphens, starting with a letter.",
        )
    subject = f"deployment {name}"
    _refuse_unknown(
        subject, entry, {*_SCALARS, "name", "networks", "placement", "ready", "inputs", "vars", "version", "data"}
    )
    fields = {key: parse(subject, key, entry[key]) for key, parse in _SCALARS.items() if entry.get(key) is not None}
    if "function" not in fields:
        raise InvalidRequest(
            subject, "it names no function", remedy="Say what its servers are for: function: web-server."
        )
    placement = _require_mapping(subject, "placement", entry.get("placement"))
    _refuse_unknown(f"{subject}, placement", placement, {"strategy", "providers"})
    return DeploymentRequest(
        name=name,
        version=_parse_version(subject, entry.get("version")),
        networks=_parse_networks(subject, entry.get("networks")),
        strategy=_parse_choice("spread", "pack")(subject, "placement.strategy", placement.get("strategy", "spread")),
        providers=_parse_texts(subject, "placement.providers", placement.get("providers")),
        inputs=_require_mapping(subject, "inputs", entry.get("inputs")),
        ready=_parse_ready(subject, entry.get("ready")),
        vars=_require_mapping(subject, "vars", entry.get("vars")),
        data=_parse_data(subject, entry.get("data"), pool=fields.get("pool", DeploymentRequest.pool)),
        **fields,
    )


def _refuse_unknown(subject: str, given: t.Mapping[str, t.Any], known: t.Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidRequest(
            subject, f"it has no field {unknown[0]}", remedy=f"Its fields are {', '.join(sorted(known))}."
        )


def _parse_texts(subject: str, key: str, value: t.Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in parse_list(subject, f"its {key} are not a list", value))


def _require_mapping(subject: str, key: str, value: t.Any) -> t.Mapping[str, t.Any]:
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise InvalidRequest(subject, f"its {key} is not a dictionary")
    return value


Parser = t.Callable[[str, str, t.Any], t.Any]


def _parse_integer(minimum: int, maximum: int) -> Parser:
    def parse(subject: str, key: str, value: t.Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            number = minimum - 1
        if isinstance(value, bool) or not minimum <= number <= maximum:
            raise InvalidRequest(subject, f"its {key} is {value!r}, not a whole number from {minimum} to {maximum}")
        return number

    return parse


def _parse_choice(*choices: str) -> Parser:
    def parse(subject: str, key: str, value: t.Any) -> str:
        if value not in choices:
            raise InvalidRequest(subject, f"its {key} is {value!r}, not one of {', '.join(choices)}")
        return str(value)

    return parse


def _parse_name(subject: str, key: str, value: t.Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise InvalidRequest(subject, f"its {key} is {value!r}, not a name")
    return str(value)


_SCALARS: dict[str, Parser] = {
    "function": _parse_name,
    "count": _parse_integer(0, 10_000),
    "cpus": _parse_integer(1, 1024),
    "memory_mib": _parse_integer(16, 64 * 1024 * 1024),
    "pool": _parse_name,
    "method": _parse_choice("auto", "overlay", "copy"),
    "stop_timeout_s": _parse_integer(0, 3600),
    "standby": _parse_integer(0, 100),
}


def _parse_version(subject: str, value: t.Any) -> int | str:
    if value in (None, "", CURRENT):
        return CURRENT
    return t.cast(int, _parse_integer(1, 1_000_000)(subject, "version", value))


def _parse_networks(subject: str, value: t.Any) -> tuple[NetworkRequest, ...]:
    if value is None:
        return (NetworkRequest("encompass"),)
    problem = "its networks are not a list of names or of {name, addresses}"
    entries = parse_list(subject, problem, value)
    if not entries:
        raise InvalidRequest(subject, problem)
    networks = []
    for entry in entries:
        fields = entry if isinstance(entry, t.Mapping) else {"name": entry}
        _refuse_unknown(f"{subject}, networks", fields, {"name", "addresses"})
        name = _parse_name(subject, "network", fields.get("name"))
        networks.append(NetworkRequest(name, _parse_texts(subject, "addresses", fields.get("addresses"))))
    return tuple(networks)


def _parse_ready(subject: str, value: t.Any) -> Ready | None:
    fields = _require_mapping(subject, "ready", value)
    if not fields:
        return None
    _refuse_unknown(f"{subject}, ready", fields, {"port", "url", "status", "timeout_s"})
    port, url = fields.get("port"), fields.get("url")
    if (port is None) == (url is None):
        raise InvalidRequest(subject, "its ready needs either a port or a url")
    if url is not None and not re.match(r"https?://", str(url)):
        raise InvalidRequest(subject, f"its ready.url is {url!r}", remedy="Write it like http://{address}/health.")
    return Ready(
        port=None if port is None else _parse_integer(1, 65535)(subject, "ready.port", port),
        url=None if url is None else str(url),
        status=_parse_integer(100, 599)(subject, "ready.status", fields.get("status", 200)),
        timeout_s=_parse_integer(1, 86400)(subject, "ready.timeout_s", fields.get("timeout_s", 180)),
    )


def _parse_data(subject: str, value: t.Any, *, pool: str) -> tuple[DataVolume, ...]:
    if value is not None and not isinstance(value, list):
        raise InvalidRequest(subject, "its data are not a list of volumes")
    volumes = tuple(parse_data_volume(subject, entry, pool=pool) for entry in value or ())
    for volume in volumes:
        if [other.name for other in volumes].count(volume.name) > 1:
            raise InvalidRequest(subject, f"its data volume {volume.name} is declared twice")
    return volumes


def parse_data_volume(subject: str, entry: t.Any, *, pool: str) -> DataVolume:
    """Return one declared data volume; ``pool`` is where it lives when it does not say."""
    fields = _require_mapping(subject, "data volume", entry)
    name = check_volume_name(subject, fields.get("name"))
    subject = f"{subject}, data volume {name}"
    _refuse_unknown(subject, fields, {"name", *_SIZES, *_DATA_FIELDS})
    sizes = [unit for unit in _SIZES if fields.get(unit) is not None]
    if len(sizes) != 1:
        raise InvalidRequest(subject, "it needs a size", remedy="Give either size_gib or size_mib.")
    size = _parse_integer(1, 1 << 30)(subject, sizes[0], fields[sizes[0]])
    given = {key: parse(subject, key, fields[key]) for key, parse in _DATA_FIELDS.items() if fields.get(key)}
    volume = DataVolume(name, size << _SIZES[sizes[0]], **{"pool": pool, **given})
    check_size(subject, volume.virtual_bytes)
    check_file_system(subject, volume.filesystem, volume.label, volume.virtual_bytes)
    return volume


_SIZES = {"size_gib": 30, "size_mib": 20}
_DATA_FIELDS: dict[str, Parser] = {
    "pool": _parse_name,
    "bus": _parse_choice(*DISK_BUSES),
    "format": _parse_choice(*FORMATS),
    "filesystem": _parse_choice(*LABEL_MAX_CHARS),
    "label": _parse_name,
}

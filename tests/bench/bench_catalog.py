# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the catalog against its limits: ``python -m tests.bench.bench_catalog`` from the root of the checkout.

Figures of a shared machine vary; ratios are of runs that alternate within this one call.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import yaml

from tests.lab.postgresql import PostgresqlServer
from tests.tools.collection_path import link_checkout

OBJECTS = 10_000
SERVERS = 1_000
FUNCTIONS = 20
FILLER = "x" * 2_000  # records of real masters and clones are of about 3 KB


def main() -> None:
    """Run all measurements and print one line for each."""
    collections = str(link_checkout())
    sys.path.insert(0, collections)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = collections
    with tempfile.TemporaryDirectory(prefix="encompass-bench-") as directory, PostgresqlServer() as server:
        os.environ["PGPASSFILE"] = str(server.passwords)
        path = Path(directory)
        for measure, servers in ((measure_queries, (OBJECTS - 2 * FUNCTIONS) // 2), (measure_operations, SERVERS)):
            catalog = fill_catalog(path / f"{servers}.sqlite", servers)
            print("SQLite")
            measure(catalog)
            print("PostgreSQL on this machine, disk writes and TLS included")
            server.clear()
            measure(move(path / f"{servers}.sqlite", server.url))
        measure_inventory(path)


def move(path: Path, url: str) -> t.Any:
    """Return the catalog moved into the database."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.moving import move_catalog
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

    seconds = take_time(lambda: move_catalog(open_catalog, str(path), url))
    catalog = open_catalog(url)
    report(f"move of {len(catalog.find('clone'))} clones with all that belongs to them", seconds)
    return catalog


def measure_queries(catalog: t.Any) -> None:
    """Read from a catalog of 10,000 objects."""
    names = [row.name for row in catalog.find("clone")][::10]
    one = [take_time(lambda name=name: catalog.get("clone", name)) for name in names]
    query = [take_time(lambda: catalog.find("clone", function="function-7", stage="active")) for _turn in range(20)]
    found = len(catalog.find("clone", function="function-7", stage="active"))
    report("one record of 10,000", statistics.median(one), 0.002)
    report("  the slowest but one in a hundred", statistics.quantiles(one, n=100)[98], 0.002)
    report(f"query by function and state, {found} found", statistics.median(query), 0.050)


def measure_operations(catalog: t.Any) -> None:
    """Begin and commit operations of one object and of many, with the disk writes that make them durable."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner

    rows, owner = catalog.find("clone"), current_owner()

    def operate(count: int, turn: int) -> float:
        start = time.perf_counter()
        operation = catalog.begin("activate", [row.key for row in rows[:count]], owner=owner)
        catalog.commit(operation.id, {row.key: {**row.body, "turn": turn} for row in rows[:count]})
        return time.perf_counter() - start

    report("begin and commit of 1 object", statistics.median(operate(1, turn) for turn in range(50)))
    report("begin and commit of 1,000 objects", statistics.median(operate(1000, turn) for turn in (100, 101, 102)))


def measure_inventory(directory: Path) -> None:
    """List 1,000 servers by the plugin and by a static file, in turns, with the fact cache in memory for both."""
    fill_catalog(directory / "servers.sqlite", servers=SERVERS).close()
    (directory / "catalog.yml").write_text(
        yaml.safe_dump({"plugin": "encompass.images.catalog", "catalog_url": f"{directory}/servers.sqlite"})
    )
    write_static_inventory(directory / "static.yml")
    (directory / "ansible.cfg").touch()
    cases = {
        "static file": lambda: list_inventory(directory / "static.yml"),
        "the catalog": lambda: list_inventory(directory / "catalog.yml"),
        "the catalog, which is the fact cache too": lambda: list_inventory(
            directory / "catalog.yml",
            ANSIBLE_CACHE_PLUGIN="encompass.images.catalog",
            ANSIBLE_CACHE_PLUGIN_CONNECTION=f"{directory}/servers.sqlite",
        ),
    }
    counts = {name: work().count('"ansible_host"') for name, work in cases.items()}
    if set(counts.values()) != {SERVERS}:
        sys.exit(f"the listings differ in their hosts: {counts}")
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _turn in range(5):
        for name, work in cases.items():
            times[name].append(take_time(work))
    static = statistics.median(times["static file"])
    for name in cases:
        seconds = statistics.median(times[name])
        report(f"--list of 1,000 servers, {name}", seconds, 2 * static)
        print(f"  ratio to the static file: {seconds / static:.2f} (limit 2)")


def fill_catalog(path: Path, servers: int) -> t.Any:
    """Return a catalog with so many servers (a clone and a machine each) and a master and deployment per function."""
    from ansible_collections.encompass.images.plugins.plugin_utils._catalog.store import open_catalog

    catalog = open_catalog(str(path))
    with catalog.transaction() as transaction:
        for number in range(FUNCTIONS):
            function = f"function-{number}"
            transaction.put("master", f"{function}-v1", {"function": function, "version": 1, "filler": FILLER})
            transaction.put("deployment", function, {"spec": {"function": function, "vars": {"ansible_user": "admin"}}})
        for number in range(servers):
            put_server(transaction, number)
    return catalog


def put_server(transaction: t.Any, number: int) -> None:
    """Put a clone and its machine."""
    function, clone = f"function-{number % FUNCTIONS}", f"function-{number % FUNCTIONS}-v1-{number}"
    stage = "active" if number % 10 or number < SERVERS else "attached"
    place = {"provider": f"kvm-{number % 10}", "filler": FILLER}
    identity = {"machine_id": f"id-{number}", "host_keys": {"ed25519": f"SHA256:{number}"}}
    transaction.put(
        "clone",
        clone,
        {
            **place,
            "master": f"{function}-v1",
            "pool": "default",
            "stage": stage,
            "metastate": "operational",
            "machine": f"vm-{number}",
            "volumes": [{"name": "root", "path": f"/pool/clones/{clone}/root.qcow2"}],
            "identity": identity,
        },
    )
    nics = [{"network": "default", "mac": f"mac-{number}", "address": address_of(number)}]
    transaction.put(
        "machine",
        f"vm-{number}",
        {
            **place,
            "server": f"server-{number}",
            "deployment": function,
            "clone": clone,
            "uuid": f"u{number}",
            "nics": nics,
        },
    )


def address_of(number: int) -> str:
    """Return the address of a server."""
    return f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"


def write_static_inventory(path: Path) -> None:
    """Write the hosts, variables and groups that the plugin makes."""
    groups: dict[str, dict[str, dict[str, None]]] = {}
    hosts = {}
    for number in range(SERVERS):
        name, function = f"server-{number}", f"function_{number % FUNCTIONS}"
        hosts[name] = {
            "ansible_host": address_of(number),
            "ansible_user": "admin",
            "encompass_server": name,
            "encompass_machine": f"vm-{number}",
            "encompass_provider": f"kvm-{number % 10}",
        }
        of_host = (
            f"function_{function}",
            f"deployment_{function}",
            f"master_{function}_v1",
            f"provider_kvm_{number % 10}",
            "state_active",
        )
        for group in of_host:
            groups.setdefault(group, {"hosts": {}})["hosts"][name] = None
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}))


def list_inventory(path: Path, **options: str) -> str:
    """Return the listing."""
    environ = {
        **os.environ,
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_CONFIG": str(path.with_name("ansible.cfg")),
        **options,
    }
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(path), "--list"]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=120).stdout


def take_time(work: t.Callable[[], t.Any]) -> float:
    """Return how many seconds the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(what: str, seconds: float, limit: float | None = None) -> None:
    """Print one figure with its limit."""
    verdict = "" if limit is None else f"  limit {limit * 1000:.1f} ms: {'within' if seconds <= limit else 'OVER'}"
    print(f"{what:<60} {seconds * 1000:9.2f} ms{verdict}", flush=True)


if __name__ == "__main__":
    main()

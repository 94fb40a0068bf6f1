# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains to libvirt's XML and back, against golden files."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.domain import (
    Disk,
    Domain,
    Layer,
    Nic,
    Ownership,
    list_differences,
    read_domain,
)
from ansible_collections.encompass.images.plugins.module_utils._core.domain_xml import (
    parse_domain_xml,
    render_domain_xml,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest, ToolFailed
from ansible_collections.encompass.images.tests.unit.plugins.module_utils.core.golden import (
    DATA,
    check_golden,
    list_cases,
    read_case,
)

FOLDER = "domain_xml"
CASES = list_cases(FOLDER)
RECORDS = (Domain, Disk, Layer, Nic, Ownership)

# libvirt's own words for domains that were defined from golden files, with all that it adds; see seen/README.
SEEN = sorted(path.stem for path in (DATA / FOLDER / "seen").glob("*.xml"))


def domain_of(case: str) -> Domain:
    return read_domain(read_case(FOLDER, case))


def records_in(value: t.Any) -> t.Iterator[t.Any]:
    """Yield the record with all records inside of it."""
    if isinstance(value, tuple):
        for entry in value:
            yield from records_in(entry)
    elif dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from records_in(getattr(value, field.name))


@pytest.mark.parametrize("case", CASES)
def test_a_domain_is_rendered_as_once_found_good(case: str) -> None:
    check_golden(FOLDER, f"{case}.xml", render_domain_xml(domain_of(case)))


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_parsed_to_the_same(case: str) -> None:
    domain = domain_of(case)
    assert parse_domain_xml(render_domain_xml(domain)) == domain


@pytest.mark.parametrize("case", SEEN)
def test_what_libvirt_adds_makes_no_difference(case: str) -> None:
    seen = parse_domain_xml((DATA / FOLDER / "seen" / f"{case}.xml").read_text(encoding="utf-8"))
    assert list_differences(domain_of(case), seen) == ()


@pytest.mark.parametrize("record", RECORDS)
def test_every_declared_field_is_touched_by_golden_files(record: type) -> None:
    """A field whose value is the same everywhere may as well be ignored by the renderer."""
    found = [one for case in CASES for one in records_in(domain_of(case)) if isinstance(one, record)]
    constant = [field.name for field in dataclasses.fields(record) if len({getattr(x, field.name) for x in found}) < 2]
    # So far there is only one architecture; a second one needs golden files of its own.
    assert constant == (["arch"] if record is Domain else [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "other"),
        ("uuid", "00000000-0000-4000-8000-000000000000"),
        ("arch", "aarch64"),
        ("firmware", "uefi"),
        ("virt_type", "kvm"),
        ("cpus", 7),
        ("memory_mib", 777),
        ("disks", (Disk("/other.raw", "raw"),)),
        ("nics", ()),
        ("owner", None),
    ],
)
def test_every_field_is_rendered_and_noticed(field: str, value: t.Any) -> None:
    domain = domain_of("plain")
    changed = dataclasses.replace(domain, **{field: value})
    assert list_differences(changed, domain) == (field,)
    assert list_differences(parse_domain_xml(render_domain_xml(changed)), domain) == (field,)


def test_the_fields_above_are_all_fields() -> None:
    marks = t.cast("t.Any", test_every_field_is_rendered_and_noticed).pytestmark[0]
    assert [field for field, _value in marks.args[1]] == [field.name for field in dataclasses.fields(Domain)]


def test_names_never_become_markup() -> None:
    options = read_case(FOLDER, "plain")
    hostile = "</name><x y='1'/>&amp;<!--"
    options["clone"] = options["server"] = hostile
    options["disks"][0]["path"] = f"/pool/{hostile}"
    options["nics"][0]["network"] = f"{hostile}\"'"
    domain = read_domain(options)
    assert parse_domain_xml(render_domain_xml(domain)) == domain


def test_what_xml_cannot_hold_is_refused() -> None:
    options = read_case(FOLDER, "plain")
    options["clone"] = "a\x00b"
    with pytest.raises(InvalidRequest, match="control character"):
        render_domain_xml(read_domain(options))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "../etc"}, "its name must be"),
        ({"name": ""}, "its name must be"),
        ({"uuid": "5f1d"}, "is none"),
        ({"arch": "s390x"}, "arch s390x is not one of"),
        ({"cpus": 0}, "at least one CPU"),
        ({"memory_mib": 8}, "at least 16 MiB"),
        ({"disks": []}, "has no disk"),
        ({"disks": [{"path": "root.qcow2", "format": "qcow2"}]}, "absolute path"),
        ({"disks": [{"path": "/a", "format": "raw"}, {"path": "/a", "format": "raw"}]}, "the same file"),
        ({"disks": [{"path": "/a", "format": "raw", "serial": "x" * 21}]}, "more than 20 characters"),
        ({"nics": [{"network": "n", "mac": "52:54:00:00:00"}]}, "MAC address"),
    ],
)
def test_what_no_domain_can_be_is_refused(changes: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_domain({**read_case(FOLDER, "plain"), **changes})


def test_disks_of_one_bus_keep_their_order_and_others_do_not_matter() -> None:
    one, two, three = Disk("/1", "raw"), Disk("/2", "raw"), Disk("/3", "raw", bus="scsi")
    domain = dataclasses.replace(domain_of("plain"), disks=(one, three, two))
    assert list_differences(domain, dataclasses.replace(domain, disks=(one, two, three))) == ()
    assert list_differences(domain, dataclasses.replace(domain, disks=(two, three, one))) == ("disks",)


def test_many_disks_are_named_as_linux_names_them() -> None:
    disks = tuple(Disk(f"/{number}", "raw") for number in range(28))
    text = render_domain_xml(dataclasses.replace(domain_of("plain"), disks=disks))
    assert [name in text for name in ('dev="vda"', 'dev="vdz"', 'dev="vdaa"', 'dev="vdab"')] == [True] * 4


def test_a_domain_of_somebody_else_is_understood() -> None:
    seen = parse_domain_xml((DATA / FOLDER / "foreign.xml").read_text(encoding="utf-8"))
    assert seen.owner is None
    assert (seen.memory_mib, seen.cpus, seen.firmware) == (2048, 2, "uefi")
    # The drive without a medium is left out; block devices and remote volumes count as well.
    assert [disk.path for disk in seen.disks] == ["/dev/vg0/root", "rbd/data", "/isos/tool.iso"]
    assert [disk.read_only for disk in seen.disks] == [False, False, True]
    assert [nic.network for nic in seen.nics] == ["br0", "default"]


@pytest.mark.parametrize("text", ["", "<domain", "<domain type='qemu'><name>x</name></domain>"])
def test_nonsense_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(ToolFailed):
        parse_domain_xml(text)

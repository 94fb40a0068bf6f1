# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a donor's domain, and in which order: nobody is left frozen, and nobody is copied while starting."""

from __future__ import annotations

import os
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.capturing import FlattenVolume
from ansible_collections.encompass.images.plugins.module_utils._core.donation import (
    BackUpDisks,
    DonorDisk,
    ProveOff,
    ThawDomain,
)
from ansible_collections.encompass.images.plugins.module_utils._core.errors import Conflict, EncompassError, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._drivers import domain_backup, image_files, qemu_img
from ansible_collections.encompass.images.plugins.module_utils._module import domain_donors, donating
from ansible_collections.encompass.images.plugins.module_utils._module.capturing import CaptureOptions, Copies

AGENT = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"


class VirtError(Exception):
    """Stands in for the library's error."""

    def get_error_message(self) -> str:
        return str(self.args[0])

    def get_error_code(self) -> int:
        return 0


class FakeDomain:
    """A domain's handle with a memory; ``answers`` are errors to raise, each in its turn, None for success."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, list[str | None]] = {}
        self.active, self.frozen = True, False

    def _note(self, call: str) -> None:
        self.calls.append(call)
        answers = self.answers.get(call)
        problem = answers.pop(0) if answers else None
        if problem:
            raise VirtError(problem)

    def isActive(self) -> bool:
        return self.active

    def XMLDesc(self, _flags: int) -> str:
        return f"<domain><devices>{AGENT}</devices></domain>"

    def backupGetXMLDesc(self, _flags: int) -> str:
        raise VirtError("no job")

    def fsFreeze(self) -> None:
        self._note("freeze")
        self.frozen = True

    def fsThaw(self) -> None:
        self._note("thaw")
        self.frozen = False

    def backupBegin(self, _order: str, _checkpoint: None, _flags: int) -> None:
        self._note("begin frozen" if self.frozen else "begin")

    def jobStats(self, _flags: int) -> dict[str, int]:
        return {"type": 3}


class FakeHost:
    """A host with one domain."""

    def __init__(self, domain: FakeDomain) -> None:
        self.domain = domain

    def ask_domain(self, _name: str, ask: t.Callable[[t.Any], t.Any], *, limit_s: float | None = None) -> t.Any:
        try:
            return ask(self.domain)
        except VirtError as exc:
            raise ToolFailed("machine old", str(exc)) from exc


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> FakeDomain:
    names = {"libvirtError": VirtError, "VIR_ERR_NO_DOMAIN_BACKUP": 0, "VIR_DOMAIN_JOB_STATS_COMPLETED": 1}
    monkeypatch.setattr(domain_backup, "libvirt", types.SimpleNamespace(**names))
    monkeypatch.setattr(domain_donors, "_POLL_S", 0.0)
    monkeypatch.setattr(os, "chown", lambda *_arguments: None)
    return FakeDomain()


def make_verb(domain: FakeDomain, **changes: t.Any) -> donating.DonorVerb:
    named = {"domain": "old", "ssh": None, "function": "shop", "version": 1}
    entry = {**named, "pool_path": "/pool", "disks": [], "freeze": "auto"}
    hardware = dict.fromkeys(("arch", "firmware", "disk_bus", "min_cpus", "min_memory_mib"))
    request = donating.parse_donor({**entry, **hardware, **changes})
    donors = domain_donors.DomainDonors(t.cast(t.Any, FakeHost(domain)))
    return donating.DonorVerb({request.name: request}, CaptureOptions(), {type(request): donors})


STEP = BackUpDisks("old", (DonorDisk("vda", "/a", "qcow2"),), ("root",), (), needed_bytes=1, freeze=True)
ALL = ["freeze", "begin frozen", "thaw"]
BUSY = "the agent is at work"

COPIES: dict[str, tuple[str, bool, dict[str, list[str | None]], list[str], tuple[str, str | None] | str]] = {
    "frozen": ("auto", True, {}, ALL, ("frozen", None)),
    "required": ("required", True, {}, ALL, ("frozen", None)),
    "never": ("never", False, {}, ["begin"], ("crash", "it was not to be frozen")),
    "no agent": ("auto", False, {}, ["begin"], ("crash", "no guest agent is connected")),
    "it cannot": ("auto", True, {"freeze": ["no"]}, ["freeze", "begin", "thaw"], ("crash", "no")),
    "it cannot, and must": ("required", True, {"freeze": ["no"]}, ["freeze", "thaw"], "could not be frozen: no"),
    "it cannot, and is deaf": (
        *("auto", True, {"freeze": ["no"], "thaw": ["no"]}),
        *(["freeze", "begin", "thaw"], ("crash", "no")),
    ),
    "the job fails": ("auto", True, {"begin frozen": ["full"]}, ALL, "full"),
    "it is slow to thaw": ("auto", True, {"thaw": [BUSY, BUSY]}, [*ALL, "thaw", "thaw"], ("frozen", None)),
}


@pytest.mark.parametrize("case", COPIES)
def test_who_is_frozen_is_thawed(case: str, domain: FakeDomain, tmp_path: Path) -> None:
    freeze, step_freezes, domain.answers, calls, told = COPIES[case]
    verb = make_verb(domain, freeze=freeze)
    step = STEP if step_freezes else BackUpDisks("old", STEP.disks, STEP.volumes, (), needed_bytes=1)
    (tmp_path / "staged").mkdir()
    copies = Copies(tmp_path / "staged", ("root",))
    if isinstance(told, str):
        with pytest.raises(EncompassError, match=told):
            verb._copy("shop-v1", step, copies)
    else:
        verb._copy("shop-v1", step, copies)
        assert tuple(verb._told["shop-v1"].values()) == told
    assert domain.calls == calls
    assert not domain.frozen


def test_one_that_cannot_be_thawed_is_told(domain: FakeDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_donors, "_THAW_S", 0.0)
    domain.answers = {"thaw": [BUSY] * 9}
    (tmp_path / "staged").mkdir()
    with pytest.raises(ToolFailed, match=r"may still be frozen.*Run virsh domfsthaw old"):
        make_verb(domain)._copy("shop-v1", STEP, Copies(tmp_path / "staged", ("root",)))


def test_what_a_killed_run_left_frozen_is_thawed_first(domain: FakeDomain) -> None:
    domain.frozen = True
    make_verb(domain)._clear("shop-v1", ThawDomain("old"))
    assert (domain.calls, domain.frozen) == (["thaw"], False)


@pytest.mark.parametrize(
    ("happens", "words"),
    [("nothing", ""), ("start", "it was started while it was copied"), ("ran", "it changed while it was copied")],
)
def test_what_is_off_has_to_stay_off(happens: str, words: str, domain: FakeDomain, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"before")
    seen = image_files.see_file(str(disk), "donor old")
    assert seen
    domain.active = False

    def convert(*_arguments: t.Any, **_options: t.Any) -> None:
        domain.active = happens == "start"
        if happens == "ran":
            disk.write_bytes(b"by then")

    verb = make_verb(domain)
    copies = Copies(tmp_path, ("root",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qemu_img, "convert", convert)
        verb._copy("shop-v1", FlattenVolume("root", str(disk), "raw", 1), copies)
    if words:
        with pytest.raises(Conflict, match=words):
            verb._copy("shop-v1", ProveOff("old", (seen,)), copies)
    else:
        verb._copy("shop-v1", ProveOff("old", (seen,)), copies)
        assert verb._told["shop-v1"] == {"consistency": "off", "consistency_reason": None}

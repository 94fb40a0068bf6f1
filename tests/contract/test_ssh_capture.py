# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module capture on a machine that a real sshd stands for: broken off and gone on with, sealed, refused."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.contract.guests import make_master
from tests.contract.module_process import start_module
from tests.contract.pools import make_layout, mounted_tmpfs
from tests.contract.sshd import Sshd, loop_device, running_sshd
from tests.lab.commands import run, wait_until

pytest.importorskip("guestfs", reason="the Python binding of libguestfs is not installed")

MIB = 1 << 20
DATA_MIB = 96


@dataclasses.dataclass(frozen=True)
class Donor:
    """A disk with a system, and who serves it."""

    sshd: Sshd
    device: str

    def entry(self, pool: Path, **changes: t.Any) -> dict[str, t.Any]:
        known = {"identity_file": self.sshd.identity_file, "known_hosts": self.sshd.known_hosts}
        named = {"ssh": "root@127.0.0.1", "port": self.sshd.port, "disks": [self.device], "function": "shop"}
        return {**named, **known, "pool_path": str(pool), **changes}


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Donor]:
    image = make_master(tmp_path_factory.mktemp("donor"), data_mib=DATA_MIB)
    raw = image.with_suffix(".raw")
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
    with running_sshd(tmp_path_factory.mktemp("sshd")) as sshd, loop_device(raw) as device:
        yield Donor(sshd, device)


def start_capture(entry: dict[str, t.Any], *, check_mode: bool = False) -> subprocess.Popen[str]:
    return start_module("capture", {"donors": [entry], "virt_type": "qemu"}, check_mode=check_mode)


def finish(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    output, errors = process.communicate(timeout=600)
    assert output.strip().startswith("{"), errors
    return t.cast("dict[str, t.Any]", json.loads(output))


def count_kept(pool: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_blocks * 512 for path in (pool / ".staging").glob("donor~shop-v1~*/root.raw"))
    return 0


def break_off(donor: Donor, pool: Path, most_bytes: int, how: str) -> dict[str, t.Any]:
    """Have a capture end when it has copied so much."""
    process = start_capture(donor.entry(pool))
    wait_until(lambda: count_kept(pool) > most_bytes, timeout_s=60, what="a part of the copy", every_s=0.002)
    if how == "cut":
        donor.sshd.cut()
        return finish(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return {}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    make_layout(folder)
    return folder


@pytest.fixture(scope="module")
def captured(donor: Donor, pool: Path) -> dict[str, t.Any]:
    """Capture the donor at the third attempt: the connection of the first was lost, the second was killed."""
    result = break_off(donor, pool, 16 * MIB, "cut")
    assert result["msg"] == (
        "donor root@127.0.0.1: the connection to it was lost. What was copied is kept: run again to go on. "
        "It thaws its file systems by itself."
    )
    first = count_kept(pool)
    assert 16 * MIB < first < DATA_MIB * MIB
    break_off(donor, pool, first + 16 * MIB, "kill")
    assert first < count_kept(pool) < DATA_MIB * MIB
    assert not list((pool / "masters").glob("*.qcow2"))
    kept = count_kept(pool)
    result = finish(start_capture(donor.entry(pool)))
    assert not result["failed"], result
    (item,) = result["objects"]
    return {**item, "kept": kept}


def test_it_goes_on_with_what_was_copied(captured: dict[str, t.Any]) -> None:
    assert ", going on with what an earlier run copied; none of its file systems is mounted" in str(captured["steps"])
    told = captured["record"]["captured"]
    assert told["consistency"] == "off"
    assert 0 < told["fetched_bytes"] < (DATA_MIB + 32) * MIB - captured["kept"]


def test_the_master_is_sealed_and_nothing_else_is_left(captured: dict[str, t.Any], pool: Path) -> None:
    record = captured["record"]
    (volume,) = record["volumes"]
    content = Path(volume["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == volume["digest"]
    assert set(record["sealed"].values()) == {True}
    assert record["software"]["distro"] == "debian"
    assert list((pool / ".staging").iterdir()) == []


def test_a_second_run_does_not_ask_the_donor(captured: dict[str, t.Any], donor: Donor, pool: Path) -> None:
    again = finish(start_capture(donor.entry(pool, ssh="root@192.0.2.1")))
    assert (again["changed"], again["failed"]) == (False, False)
    assert again["objects"][0]["record"] == captured["record"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"port": 1}, "it cannot be reached: ssh: connect to host 127.0.0.1 port 1: Connection refused. See that"),
        ({"ssh": "root@nowhere.invalid"}, "its name is not known to the provider. Look at the name"),
        ({"known_hosts": "/dev/null"}, "the provider does not know its host key. Compare its fingerprint"),
        ({"known_hosts": "{folder}/wrong_hosts"}, "its host key is another one than the provider knows. Find out why"),
        ({"identity_file": "{folder}/host_key"}, "it lets nobody in without a password. Give identity_file"),
        ({"identity_file": "{folder}/nobody"}, "{device} cannot be read there. Log in as root, or give become: true"),
        ({"identity_file": "{folder}/nobody", "become": True}, "its sudo asks for a password. Allow"),
        ({"disks": ["/dev/nothing"]}, "it has no disk /dev/nothing. Look at lsblk there"),
        ({"ssh": "-oProxyCommand=touch /tmp/x"}, "its address is none for ssh"),
        ({"disks": ["/dev/vda\nlook"]}, "its disk '/dev/vda\\nlook' is no device"),
        ({"domain": "old"}, "it has no name, or two. Give either domain or ssh"),
        ({"freeze_limit_s": 0}, "its freeze_limit_s is not 1 or more"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_refused_leaves_nothing(donor: Donor, tmp_path: Path, changes: dict[str, t.Any], sentence: str) -> None:
    folder = donor.sshd.folder
    wrong = f"[127.0.0.1]:{donor.sshd.port} {(folder / 'key.pub').read_text(encoding='ascii')}"
    (folder / "wrong_hosts").write_text(wrong, encoding="ascii")
    filled = {key: value.format(folder=folder) if isinstance(value, str) else value for key, value in changes.items()}
    result = finish(start_capture(donor.entry(tmp_path, **filled)))
    assert result["failed"]
    expected = f": {sentence.format(device=donor.device)}"
    assert expected in result["msg"]
    assert "PRIVATE" not in str(result)
    assert list(tmp_path.iterdir()) == []


def test_check_mode_tells_the_disks_and_touches_nothing(donor: Donor, tmp_path: Path) -> None:
    result = finish(start_capture(donor.entry(tmp_path), check_mode=True))
    assert result["changed"]
    step = result["objects"][0]["steps"][0]
    assert step.startswith(f"copy {donor.device} (") and "of root@127.0.0.1 over ssh; " in step
    assert list(tmp_path.iterdir()) == []


def test_a_pool_that_gets_full_is_left_as_it_was(donor: Donor, tmp_path: Path) -> None:
    with mounted_tmpfs(tmp_path / "full", 32 * MIB) as full:
        make_layout(full)
        result = finish(start_capture(donor.entry(full)))
        assert "got full" in result["msg"] and "what was written is removed again" in result["msg"]
        assert list((full / ".staging").iterdir()) == []


def test_a_disk_without_a_system_is_refused(donor: Donor, tmp_path: Path) -> None:
    path, pool = tmp_path / "disk", tmp_path / "pool"
    path.write_bytes(os.urandom(8 * MIB))
    make_layout(pool)
    with loop_device(path) as device:
        result = finish(start_capture(donor.entry(pool, disks=[device])))
    assert "donor root@127.0.0.1: libguestfs finds no operating system in it" in result["msg"]
    assert list((pool / ".staging").iterdir()) == []

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masters from the web, from packages, and with signatures: real module processes, servers and tools."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ImageRefused, ToolFailed
from ansible_collections.encompass.images.plugins.module_utils._core.library_types import (
    MasterRequest,
    MasterVolume,
    VolumeImport,
)
from ansible_collections.encompass.images.plugins.module_utils._core.pool_layout import FileSeen, Pool
from ansible_collections.encompass.images.plugins.module_utils._core.sources import ImportLimits
from ansible_collections.encompass.images.plugins.module_utils._drivers import image_files
from ansible_collections.encompass.images.plugins.module_utils._drivers import qemu_img as qemu_img_driver
from ansible_collections.encompass.images.plugins.module_utils._module import importing
from ansible_collections.encompass.images.tests.corpus.headers import vmdk
from ansible_collections.encompass.images.tests.corpus.packages import ova

from tests.contract.conftest import Store
from tests.contract.module_process import is_unchanged, run_module, start_module
from tests.contract.pools import MIB, PoolDir, make_layout, make_raw, qemu_img

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, remembers what was asked for, and takes its time with what is called slow."""

    asked: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.path = self.path.partition("?")[0]
        super().do_GET()

    def copyfile(self, source, outputfile) -> None:
        with contextlib.suppress(OSError):
            for _pause in range(600 if self.path.startswith("/slow") else 0):
                outputfile.write(source.read(4096))
                time.sleep(0.05)
            super().copyfile(source, outputfile)

    def log_message(self, *_words: t.Any) -> None:
        pass


@pytest.fixture
def web(tmp_path):
    """Return (the folder that is served, its URL)."""
    folder = tmp_path / "web"
    folder.mkdir()
    Files.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder))) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pool(tmp_path):
    """Return an empty pool."""
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Return a raw image of 8 MiB that holds 1 MiB of data."""
    return make_raw(tmp_path_factory.mktemp("raw") / "source.raw", data_bytes=MIB, virtual_bytes=8 * MIB)


def publish(*entries, check_mode=False):
    """Run module master."""
    return run_module("master", {"masters": list(entries)}, check_mode=check_mode)


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def offered(pool, raw, web):
    """Put an image into the web; return its file, and a master of it as module master takes it."""
    folder, url = web
    image = folder / "image.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", raw, image)
    options = {"function": "fetched", "sha256": digest(image), "allow_private": True}
    return image, pool.master_entry(f"{url}/image.qcow2", "qcow2", **options)


def test_an_image_of_the_web_is_fetched_once(pool, raw, offered):
    image, declared = offered
    entry = {**declared, "source": f"{declared['source']}?token=hunter2"}
    planned = publish(entry, check_mode=True)
    assert (planned["changed"], Files.asked) == (True, [])
    made, again = publish(entry), publish(entry)
    assert ([run["changed"] for run in (made, again)], len(Files.asked)) == ([True, False], 1)
    record = again["objects"][0]["record"]
    assert record["source"] == {"path": declared["source"], "sha256": digest(image), "format": "qcow2"}
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, record["path"])
    assert pool.staged() == []
    written = "".join(path.read_text() for path in pool.path.glob("masters/.sources/*"))
    assert "hunter2" not in json.dumps([planned["objects"], made["objects"], made["diff"]]) + written
    other = publish({**entry, "sha256": "1" * 64})
    assert "it was made of other bytes" in other["msg"]
    assert len(Files.asked) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sha256": None}, "is a URL, and its sha256 is not given"),
        ({"sha256": "0" * 64}, f"{'0' * 64} was expected"),
        ({"allow_private": False}, "has the address 127.0.0.1, which is not to be asked"),
        ({"source": "http://user:hunter2@127.0.0.1/x"}, "its URL holds a user"),
        ({"source": "file:///etc/shadow"}, "its URL has the scheme 'file'"),
        ({"format": "raw"}, "it was declared as raw, but its header is that of qcow2"),
        ({"max_virtual_gib": 0}, "its disk has 8388608 bytes"),
        ({"max_gib": 0}, "answers more than the 0 bytes that are allowed"),
    ],
)
def test_what_is_not_as_it_was_said_to_be_is_not_published(changes, sentence, pool, offered):
    entry = {**offered[1], **changes}
    result = publish({key: value for key, value in entry.items() if value is not None})
    assert sentence in result["msg"]
    assert "hunter2" not in result["msg"]
    assert pool.staged() == list(pool.path.glob("masters/*.qcow2")) == []


def slow_down(image, entry):
    """Return the entry with a source that takes its time."""
    shutil.copy(image, image.with_name("slow.qcow2"))
    return {**entry, "source": entry["source"].replace("image", "slow")}


def test_what_grows_beyond_the_limit_when_it_is_unpacked_is_not_published(pool, tmp_path, monkeypatch):
    dull, bomb = tmp_path / "dull.raw", tmp_path / "bomb.qcow2"
    dull.write_bytes(b"dull " * MIB)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", dull, bomb)
    assert bomb.stat().st_size < MIB
    monkeypatch.setattr(importing, "_GIB", MIB)
    request = MasterRequest("web-v1", Pool(str(pool.path)), (MasterVolume("root", str(bomb), "qcow2"),))
    request = dataclasses.replace(request, limits=importing.parse_limits({"max_gib": 1, "max_virtual_gib": 8}))
    one = VolumeImport("root", FileSeen(str(bomb), "", 0, 0), "qcow2", digest(bomb), "")
    with pytest.raises(ImageRefused, match="as qcow2 it would take"):
        importing.import_image(request, one, tmp_path / "made.qcow2", subject="master web-v1", timeout_s=60)
    assert not (tmp_path / "made.qcow2").exists()


def import_here(pool, image, image_format, limits):
    """Import an image in this process, beside its pool."""
    volume = MasterVolume("root", str(image), image_format)
    request = MasterRequest("web-v1", Pool(str(pool.path)), (volume,), limits=limits)
    one = VolumeImport("root", FileSeen(str(image), "", 0, 0), image_format, digest(image), "")
    importing.import_image(request, one, pool.path.parent / "made.qcow2", subject="master web-v1", timeout_s=60)


def test_a_disk_of_holes_in_a_package_is_not_unpacked_into_zeros(pool, tmp_path):
    package, disk = tmp_path / "holes.ova", vmdk()
    content = ova({"disk.vmdk": disk + bytes(3 * MIB - len(disk))}, manifest=None)
    package.write_bytes(content[: content.index(disk) + len(disk)])
    os.truncate(package, len(content))
    with pytest.raises(ImageRefused, match=r"its disk disk.vmdk takes 3145728 bytes"):
        import_here(pool, package, "ova", ImportLimits(2 * MIB, 1 << 40))


def test_a_disk_that_qemu_img_finds_larger_than_its_header_told_is_not_published(pool, raw, monkeypatch):
    monkeypatch.setattr(importing, "refuse_source", lambda *_arguments: None)
    with pytest.raises(ImageRefused, match=r"its disk has 8388608 bytes \(8.0 MiB\), at most 4.0 MiB are allowed"):
        import_here(pool, raw, "raw", ImportLimits(64 * MIB, 4 * MIB))


def test_qemu_img_gets_limits_and_no_file_but_the_image(pool, raw, monkeypatch):
    calls, run_tool = [], qemu_img_driver.run_tool

    def record(argv, **options):
        calls.append((argv, options["limits"]))
        return run_tool(argv, **options)

    monkeypatch.setattr(qemu_img_driver, "run_tool", record)
    import_here(pool, raw, "raw", ImportLimits(64 * MIB, 64 * MIB))
    assert [argv[1] for argv, _limits in calls] == ["measure", "convert"]
    for argv, limits in calls:
        (image,) = (json.loads(word[5:]) for word in argv if word.startswith("json:"))
        assert (image["driver"], image["backing"], image["file"]["driver"]) == ("raw", None, "file")
        assert limits.memory_bytes and limits.cpu_s and limits.file_bytes <= 3 * MIB


def test_a_file_of_holes_is_refused_before_it_is_read(pool, raw):
    sentences = {"raw": "its disk has 4398046511104 bytes", "qcow2": "its file is 4398046511104 bytes long"}
    for image_format, sentence in sentences.items():
        image = pool.path.parent / f"holes.{image_format}"
        qemu_img("convert", "-f", "raw", "-O", image_format, raw, image)
        os.truncate(image, 4 << 40)
        started = time.monotonic()
        result = publish({**pool.master_entry(image, image_format, function="holes"), "max_virtual_gib": 8})
        assert sentence in result["msg"]
        assert time.monotonic() - started < 30


def test_an_image_that_takes_too_long_to_read_is_told(tmp_path):
    image = tmp_path / "large"
    image.write_bytes(bytes(2 * MIB))
    with pytest.raises(ToolFailed, match="could not be read within 0 s"):
        image_files.hash_file(str(image), "image x", timeout_s=0)


def test_a_killed_download_is_cleaned_up_and_repeated(pool, offered):
    image, entry = offered
    process = start_module("master", {"masters": [slow_down(image, entry)]})
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in pool.path.glob(".staging/*/source/image")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(pool.staged()) == 1
    result = publish(entry)
    assert not result["failed"], result
    assert result["objects"][0]["steps"][0].startswith("remove what a killed run left")
    assert pool.staged() == []


def test_a_download_ends_with_its_time(pool, offered):
    result = run_module("master", {"masters": [slow_down(*offered)], "timeout_s": 1})
    assert "did not answer within 1 s" in result["msg"]
    assert pool.staged() == []


# Signatures


def gpg(home: Path, *words: object) -> None:
    """Run GnuPG with keys of its own."""
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def openpgp(tmp_path_factory):
    """Return what signs a file by OpenPGP, and the keyring."""
    if not (shutil.which("gpg") and shutil.which("gpgv")):
        pytest.skip("gpg or gpgv is not installed")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg(home, "--quick-generate-key", "images@example.com", "ed25519", "sign", "never")
    gpg(home, "--output", home / "ring.gpg", "--export")
    yield lambda path: gpg(home, "--output", f"{path}.sig", "--detach-sign", path), home / "ring.gpg"
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=60)


@pytest.fixture(scope="module")
def minisign(tmp_path_factory):
    """Return what signs a file by minisign, and the public key."""
    if shutil.which("minisign") is None:
        pytest.skip("minisign is not installed")
    folder = tmp_path_factory.mktemp("minisign")
    secret, public = folder / "secret", folder / "public"

    def run(*words: object) -> None:
        subprocess.run(["minisign", *map(str, words)], check=True, capture_output=True, timeout=60)

    run("-G", "-W", "-s", secret, "-p", public)
    return lambda path: run("-S", "-s", secret, "-m", path, "-x", f"{path}.sig"), public


@pytest.mark.parametrize("kind", ["openpgp", "minisign"])
def test_only_what_the_owner_of_the_key_signed_is_taken(kind, request, pool, offered):
    sign, key = request.getfixturevalue(kind)
    image, declared = offered
    sign(image)
    signature = {"type": kind, "file": f"{declared['source']}.sig", "key": str(key)}
    entry = {**declared, "signature": signature}
    good = image.read_bytes()
    with image.open("ab") as stream:
        stream.write(bytes(512))
    result = publish({**entry, "sha256": digest(image)})
    assert "its signature does not hold" in result["msg"]
    image.write_bytes(good)
    stranger = image.with_name("stranger")
    stranger.write_bytes(b"no key at all")
    result = publish({**entry, "signature": {**signature, "key": str(stranger)}})
    assert "its signature does not hold" in result["msg"]
    assert pool.staged() == list(pool.path.glob("masters/*.qcow2")) == []
    signed = image.with_name("image.qcow2.sig")
    result = publish({**entry, "signature": {**signature, "file": str(signed)}})
    assert not result["failed"], result
    assert is_unchanged(publish(entry))


def test_a_tool_that_lacks_is_told_to_be_installed(offered, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    signature = {"type": "minisign", "file": __file__, "key": __file__}
    result = publish({**offered[1], "signature": signature})
    assert result["msg"].endswith("Install minisign on the provider.")


# Packages


def pack(folder: Path, *raws: Path) -> Path:
    """Return a package of disks, each a stream as virtual machines are exported in."""
    disks = {}
    for number, raw in enumerate(raws, 1):
        disk = folder / f"disk{number}.vmdk"
        qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, disk)
        disks[disk.name] = disk.read_bytes()
    package = folder / "machine.ova"
    package.write_bytes(ova(disks))
    return package


def test_the_disk_of_a_package_becomes_a_master(pool, raw, tmp_path):
    entry = pool.master_entry(pack(tmp_path, raw), "ova", function="packed")
    planned, made, again = publish(entry, check_mode=True), publish(entry), publish(entry)
    assert [run["changed"] for run in (planned, made, again)] == [True, True, False], made
    record = made["objects"][0]["record"]
    assert planned["objects"][0]["record"]["virtual_bytes"] == record["virtual_bytes"] == 8 * MIB
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, record["path"])


def test_each_disk_of_a_package_can_become_a_volume(pool, raw, tmp_path):
    other = make_raw(tmp_path / "other.raw", data_bytes=MIB, virtual_bytes=4 * MIB)
    package = str(pack(tmp_path, raw, other))
    entry = {
        key: value
        for key, value in pool.master_entry(package, "ova", function="packed").items()
        if key not in ("source", "format")
    }
    one = publish({**entry, "source": package, "format": "ova"})
    assert "its package holds disk1.vmdk, disk2.vmdk" in one["msg"]
    volumes = [{"name": f"v{disk}", "source": package, "format": "ova", "disk": disk} for disk in (1, 2)]
    result = publish({**entry, "volumes": volumes})
    assert not result["failed"], result
    for source, volume in zip((raw, other), result["objects"][0]["record"]["volumes"]):
        qemu_img("compare", "-f", "raw", "-F", "qcow2", source, volume["path"])
    assert is_unchanged(publish({**entry, "volumes": volumes}))
    exchanged = [{**volume, "disk": 3 - volume["disk"]} for volume in volumes]
    assert "it was made of disk 1 of its package, not of disk 2" in publish({**entry, "volumes": exchanged})["msg"]
    assert (
        "disk 1 of its source is asked for, which is raw"
        in publish({**entry, "source": str(raw), "format": "raw", "disk": 1})["msg"]
    )


# The playbook


def test_a_playbook_adds_a_master_of_the_web_and_one_of_a_package(project, raw, offered, tmp_path):
    make_layout(tmp_path / "h1")
    catalog = Store(project.url).open()
    with catalog.transaction() as tx:
        place = {"pool": "default", "path": str(tmp_path / "h1"), "shared": False, "reflink": False}
        tx.put("pool", "h1:default", {**place, "providers": ["h1"]})
    image, declared = offered
    options = {key: declared[key] for key in ("source", "format", "allow_private")}
    masters = [
        {"function": "web", "inspect": False, **options, "sha256": digest(image).upper()},
        {"function": "time", "format": "ova", "inspect": False, "source": str(pack(tmp_path, raw))},
    ]
    task = f"- name: Publish\n  encompass.images.master: {json.dumps({'masters': masters})}\n"
    assert "changed=1" in project.play(task)
    assert "changed=0" in project.play(task)
    assert Files.asked == ["/image.qcow2"]
    sources = {row.name: row.body["source"] for row in catalog.find("master")}
    assert sources["web-v1"] == {"path": declared["source"], "sha256": digest(image), "format": "qcow2"}
    assert sources["time-v1"]["format"] == "ova"
    assert len({row.body["volumes"][0]["digest"] for row in catalog.find("master")}) == 1
    catalog.close()

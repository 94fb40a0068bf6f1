# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hostile image is refused before qemu-img could see it; every good one becomes a master that equals it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.encompass.images.plugins.module_utils._core.errors import ImageRefused
from ansible_collections.encompass.images.plugins.module_utils._module.masters import open_masters
from ansible_collections.encompass.images.plugins.module_utils._module.runner import run_job
from ansible_collections.encompass.images.tests.corpus.good import list_recipes
from ansible_collections.encompass.images.tests.corpus.hostile import CLASSES, make_images

from tests.contract.pools import MIB, PoolDir, make_raw, qemu_img

_UNGIVEN = ("name", "sha256", "firmware", "digest", "fingerprint", "signature", "ca_path", "disk")
_HARDWARE = {"arch": "x86_64", "disk_bus": "virtio", "min_cpus": 1, "min_memory_mib": 256}
_DEFAULTS = {
    **_HARDWARE,
    "volume": "root",
    "volumes": [],
    "max_gib": 1,
    "max_virtual_gib": 2048,
    "allow_private": False,
}


@pytest.fixture
def pool(tmp_path):
    """Return an empty pool."""
    path = tmp_path / "pool"
    path.mkdir()
    return PoolDir(path)


def publish(pool, images):
    """Run the verb on images, each a version, in this process; return the outcomes."""
    entries = [
        {
            **dict.fromkeys(_UNGIVEN),
            **_DEFAULTS,
            **pool.master_entry(path, image_format, function="stranger", version=number),
        }
        for number, (image_format, path) in enumerate(images, 1)
    ]
    options = {"state": "present", "masters": entries, "workers": 2, "timeout_s": 60, "when_unused": False}
    with open_masters(options) as job:
        return run_job(job, check_mode=False)


def write_sparse(path: Path, content: bytes) -> Path:
    """Write a file with holes where it is zero."""
    with path.open("wb") as stream:
        for start in range(0, len(content), 4096):
            block = content[start : start + 4096]
            if any(block):
                stream.seek(start)
                stream.write(block)
        stream.truncate(len(content))
    return path


def test_the_corpus_is_large_and_always_the_same():
    images = {name: make_images(name) for name in CLASSES}
    assert len(images) >= 25
    assert sum(map(len, images.values())) >= 300
    assert images == {name: make_images(name) for name in CLASSES}
    assert len(list_recipes()) >= 100


@pytest.mark.parametrize("name", CLASSES)
def test_a_hostile_image_is_refused_for_what_it_is_before_qemu_img_sees_it(name, pool, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is neither qemu-img nor anything else
    images = [
        (image_format, write_sparse(tmp_path / f"{number}.img", content))
        for number, (image_format, content) in enumerate(make_images(name))
    ]
    outcomes = publish(pool, images)
    reason, _make = CLASSES[name]
    answers = [(type(outcome.error), getattr(outcome.error, "reason", outcome.error)) for outcome in outcomes]
    assert answers == [(ImageRefused, reason)] * len(images), [str(outcome.error) for outcome in outcomes]
    assert all(outcome.error.remedy for outcome in outcomes)
    assert pool.staged() == list(pool.path.glob("masters/*.qcow2")) == []


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_every_good_image_becomes_a_master_that_equals_it(pool, tmp_path):
    raw = make_raw(tmp_path / "good.raw", data_bytes=MIB // 2, virtual_bytes=12 * MIB + 512)
    images = []
    for number, (image_format, words) in enumerate(list_recipes()):
        path = tmp_path / f"{number}.{image_format}"
        qemu_img("convert", "-f", "raw", "-O", image_format, *words, raw, path)
        images.append((image_format, path))
    outcomes = publish(pool, images)
    assert [(words, str(one.error)) for words, one in zip(list_recipes(), outcomes) if one.error] == []
    for (image_format, path), outcome in zip(images, outcomes):
        qemu_img("compare", "-f", image_format, "-F", "qcow2", path, outcome.record["path"])

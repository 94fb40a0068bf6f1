# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: hosts, images and a control node, all real."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest

from tests.integration.site import Site
from tests.lab import images
from tests.lab.controller import Controller
from tests.lab.hosts import LabHosts


@pytest.fixture(scope="session")
def lab() -> t.Iterator[LabHosts]:
    """Two hypervisor hosts for the whole session: leave them as you found them."""
    with LabHosts(2) as hosts:
        yield hosts


@pytest.fixture
def fresh_lab() -> t.Iterator[LabHosts]:
    """Two hypervisor hosts for one test, which may leave them as it likes; costs about a second."""
    with LabHosts(2) as hosts:
        yield hosts


@pytest.fixture(scope="session")
def guest_key() -> Path:
    """Return the private key that opens root's ssh on the test images."""
    return images.ensure_guest_key()


@pytest.fixture(scope="session")
def mini_image() -> Path:
    """Return the small web server image; read-only, boots in about four seconds."""
    return images.ensure_image("mini")


@pytest.fixture(scope="session")
def broken_image() -> Path:
    """Return a small image whose web server does not start."""
    return images.ensure_image("broken")


@pytest.fixture(scope="session")
def full_image() -> Path:
    """Return the full Debian web server image; built once, which takes a minute or two."""
    return images.ensure_image("full")


@pytest.fixture(scope="session")
def debian_image() -> Path:
    """Return the full Debian image that takes its settings from a NoCloud disk; built once."""
    return images.ensure_image("debian")


class MakeController(t.Protocol):
    def __call__(self, lab: LabHosts | None = None, **provider_variables: t.Any) -> Controller: ...


@pytest.fixture
def make_controller(tmp_path: Path) -> MakeController:
    """Return a maker of control nodes, each with a catalog, home and inventory of its own."""
    made = 0

    def make(lab: LabHosts | None = None, **provider_variables: t.Any) -> Controller:
        nonlocal made
        made += 1
        return Controller(tmp_path / f"controller-{made}", lab=lab, **provider_variables)

    return make


@pytest.fixture
def controller(make_controller: MakeController, lab: LabHosts) -> Controller:
    """Return a control node whose inventory holds the session's hosts as `encompass_providers`."""
    return make_controller(lab)


class MakeSite(t.Protocol):
    def __call__(self) -> Site: ...


@pytest.fixture(scope="session")
def make_site(tmp_path_factory: pytest.TempPathFactory, mini_image: Path) -> t.Iterator[MakeSite]:
    """Return a maker of sites: two providers of their own with the mini web server as a master."""
    with contextlib.ExitStack() as stack:

        def make() -> Site:
            lab = stack.enter_context(LabHosts(2))
            site = Site(lab, Controller(tmp_path_factory.mktemp("site"), lab=lab))
            site.prepare(mini_image)
            return site

        yield make

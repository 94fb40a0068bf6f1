# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.owner import current_owner, is_certainly_dead


def test_this_process_lives():
    owner = current_owner(run="test.yml")

    assert (owner.pid, owner.run) == (os.getpid(), "test.yml")
    assert owner.user
    assert not is_certainly_dead(owner)


def test_a_zombie_and_a_gone_process_are_dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = current_owner(pid=child.pid)
    assert not is_certainly_dead(owner)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_certainly_dead(owner)  # still a zombie

    child.communicate()
    assert is_certainly_dead(owner)


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        ({"start_time": 1}, True),
        ({"boot_id": "an earlier boot"}, True),
        ({"host": "another"}, False),
        ({"host": "another", "boot_id": "its own", "pid": 2**22 + 1}, False),
    ],
)
def test_what_is_certain(change, dead):
    assert is_certainly_dead(dataclasses.replace(current_owner(), **change)) is dead


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["ansible-playbook", "-i", "hosts.yml", "plays/site.yml", "-v"], "site.yml"),
        (["ansible-playbook", "site.yaml", "-i", "hosts.yml", "-e", "@x.yml"], "site.yaml"),
        (["ansible-playbook", "encompass.images.deploy"], "encompass.images.deploy"),
        (["/usr/bin/ansible", "all", "-m", "ping"], "ansible"),
        ([""], "python"),
    ],
)
def test_the_run_is_guessed_from_the_command_line(words, run, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delenv("JOB_ID", raising=False)

    assert current_owner().run == run


def test_a_job_of_awx_is_named_by_its_number(monkeypatch):
    monkeypatch.setenv("JOB_ID", "17")
    monkeypatch.setenv("AWX_PRIVATE_DATA_DIR", "/runner")

    assert current_owner().run == "AWX job 17"

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README says, held against the code that it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.encompass.images.plugins.module_utils._core.lifecycle import BY_EVENT, INITIAL, TRANSITIONS
from ansible_collections.encompass.images.tests.tools.draw_lifecycle import draw_lifecycle, replace_block

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}


def test_the_life_cycle_is_drawn_from_its_table() -> None:
    drawn = replace_block(TEXTS["README.md"], draw_lifecycle(TRANSITIONS, INITIAL.stage.value))
    assert drawn == TEXTS["README.md"], "run: .venv/bin/python -m tests.tools.draw_lifecycle --write"


def test_the_diagram_has_every_event() -> None:
    diagram = draw_lifecycle(TRANSITIONS, INITIAL.stage.value)
    for event in BY_EVENT:
        assert re.search(rf"[:,] {event.replace('_', ' ')}\b", diagram), event


def known_names() -> set[str]:
    """Return what may follow ``encompass.images.``: modules, plugins, roles and playbooks."""
    kinds = ("plugins/modules/*.py", "plugins/cache/*.py", "plugins/inventory/*.py", "plugins/lookup/*.py", "roles/*")
    return {path.stem for pattern in (*kinds, "playbooks/*.yml") for path in ROOT.glob(pattern)}


def known_variables() -> set[str]:
    """Return the group of providers, every variable that a role declares, and those that servers have."""
    inventory = (ROOT / "plugins/inventory/catalog.py").read_text(encoding="utf-8")
    declared = {"encompass_providers", *re.findall(r'"(encompass_[a-z]+)":', inventory)}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            declared.update(entry.get("options", {}))
    return declared


@pytest.mark.parametrize("name", TEXTS)
def test_names_of_the_collection_exist(name: str) -> None:
    used = set(re.findall(r"\bencompass\.images\.([a-z_]+)", TEXTS[name]))
    assert used <= known_names()


@pytest.mark.parametrize("name", TEXTS)
def test_variables_exist(name: str) -> None:
    used = set(re.findall(r"\bencompass_[a-z_]+", TEXTS[name]))
    assert used <= known_variables()


@pytest.mark.parametrize("name", TEXTS)
def test_commands_of_make_exist(name: str) -> None:
    rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    assert set(re.findall(r"`make ([a-z-]+)`", TEXTS[name])) <= targets


@pytest.mark.parametrize("name", TEXTS)
def test_paths_exist(name: str) -> None:
    paths = re.findall(r"`((?:changelogs|inventory|playbooks|plugins|roles|tests)/[\w./-]*)`", TEXTS[name])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def read_mutations() -> list[tuple[str, str]]:
    """Return the rows of CONTRIBUTING's table of mutations: what was removed, and the test that failed."""
    table = TEXTS["CONTRIBUTING.md"].partition("| what was removed | the test that failed |\n")[2].partition("\n\n")[0]
    rows = [re.split(r" ?\| ?", line) for line in table.splitlines()[1:]]
    return [(removed, failed) for _edge, removed, failed, _other_edge in rows]


def list_words(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def list_tests(path: str) -> str:
    """Return the names of a file's tests, and its texts and those of the trials, of which cases get their names."""
    texts = [(ROOT / path).read_text(encoding="utf-8")]
    cases = [trial.read_text(encoding="utf-8") for trial in (ROOT / "tests/trials").glob("*.py")]
    functions = re.findall(r"def (test_\w+)\(", texts[0])
    constants = [text.replace(" ", "-") for text in re.findall(r'"([^"\n]+)"', "\n".join([*texts, *cases]))]
    return " ".join([*functions, *(f"[{text}]" for text in constants)])


@pytest.mark.parametrize("failed", sorted({failed for _removed, failed in read_mutations()}))
def test_tests_of_mutations_exist(failed: str) -> None:
    path, *names = list_words(failed)
    assert names, f"{failed} names no test"
    for word in names:
        if word.startswith("tests/"):
            path = word
        else:
            assert (f"[{word}]" if "-" in word else word) in list_tests(path), f"{path} has no test {word}"


@pytest.mark.parametrize("removed", [removed for removed, _failed in read_mutations()])
def test_what_was_removed_for_a_mutation_exists(removed: str) -> None:
    words = list_words(removed)
    files = [word for word in words if word.endswith((".py", ".yml"))]
    texts = "".join((ROOT / path).read_text(encoding="utf-8") for path in files)
    missing = [word for word in words if word not in files and word.rpartition(".")[2] not in texts]
    assert not (files and missing), f"{files} have no {missing}"

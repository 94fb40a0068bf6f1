# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option that takes a secret is kept from logs; each that only sounds like one is known by name."""

from __future__ import annotations

import importlib
import re
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible_collections.encompass.images.plugins.module_utils._module import queries, runner
from ansible_collections.encompass.images.plugins.plugin_utils._actions.batch import Batch
from ansible_collections.encompass.images.plugins.plugin_utils._actions.verb_action import VerbAction

PLUGINS = "ansible_collections.encompass.images.plugins"
ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
SOUNDS_SECRET = re.compile(
    r"secret|passw|passphrase|token|credential|private_key|user_data|(^|_)keys?($|_)|identity_file"
)

SECRET = {
    "customize.clones.items.secret_content",
    "customize.clones.items.secret_replacement",
    "customize.clones.seed.user_data",
}
NO_SECRET = {
    "capture.donors.identity_file": "the path of a key",
    "capture.on_secret": "what to do",
    "customize.clones.items.secret": "a truth value",
    "customize.clones.secrets_given": "names of inputs",
    "master.masters.inputs.secret": "a truth value",
    "master.masters.signature.key": "the path of a public key",
    "master.masters.volumes.signature.key": "the path of a public key",
    "role capture.main.encompass_capture_on_secret": "what to do",
}


class Asked(Exception):
    """What a module asks for."""


def read_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """Return the argument specification of a module; empty when only its action looks at its options."""

    def ask(argument_spec: dict[str, t.Any], **_options: t.Any) -> t.NoReturn:
        raise Asked(argument_spec)

    for place in (runner, queries):
        monkeypatch.setattr(place, "AnsibleModule", ask)
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    try:
        if hasattr(module, "main"):
            module.main()
    except Asked as asked:
        return t.cast("dict[str, t.Any]", asked.args[0])
    documented = yaml.safe_load(module.DOCUMENTATION).get("options", {})
    assert not hasattr(module, "main"), name
    return t.cast("dict[str, t.Any]", documented)


def walk(prefix: str, options: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Mapping[str, t.Any]]]:
    """Return every option by its whole name, with those inside it."""
    for name, option in options.items():
        yield f"{prefix}.{name}", option
        yield from walk(f"{prefix}.{name}", option.get("options") or option.get("suboptions") or {})


def list_suspects(prefix: str, options: t.Mapping[str, t.Any]) -> dict[str, bool]:
    """Return the options that sound like secrets, and whether logs leave them out."""
    found = walk(prefix, options)
    return {
        name: bool(option.get("no_log"))
        for name, option in found
        if option.get("no_log") or SOUNDS_SECRET.search(name.rpartition(".")[2])
    }


def test_options_of_modules_that_take_secrets_are_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, bool] = {}
    for name in MODULES:
        found.update(list_suspects(name, read_arguments(name, monkeypatch)))
    assert {name for name, is_kept in found.items() if is_kept} == SECRET
    assert {name for name, is_kept in found.items() if not is_kept} <= set(NO_SECRET)


def is_silenced(action_type: type[VerbAction]) -> bool:
    """Tell whether Ansible keeps the module of an action out of the provider's system log."""
    asked: dict[str, t.Any] = {}
    action: t.Any = action_type.__new__(action_type)
    action._task, action.catalog = types.SimpleNamespace(args={}), None
    action.task_vars = {"inventory_hostname": "hv1"}
    action._execute_module = lambda **call: asked.update(call) or {}
    verb: t.Any = types.SimpleNamespace(module=action.module, option="clones", state="", fixed_options={})
    action._run_module(Batch(verb, "hv1", []), types.SimpleNamespace(id="an operation"))
    return bool(constants.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG", variables=asked["task_vars"]))


def test_the_options_of_modules_that_take_secrets_are_in_no_system_log() -> None:
    names = {path.stem for path in (ROOT / "plugins/action").glob("*.py")}
    actions = {name: importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule for name in sorted(names)}
    verbs = {name: action for name, action in actions.items() if issubclass(action, VerbAction)}
    assert {name for name, action in verbs.items() if is_silenced(action)} == {name.split(".")[0] for name in SECRET}


def test_no_variable_of_a_role_is_a_secret_by_itself() -> None:
    """Secrets are in inputs and connections, whose names a site chooses."""
    found: dict[str, bool] = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            found.update(list_suspects(f"role {path.parts[-3]}.{entry}", spec.get("options", {})))
    assert set(found) <= set(NO_SECRET)


def test_nothing_is_excused_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name for module in MODULES for name, _option in walk(module, read_arguments(module, monkeypatch))}
    assert {name for name in NO_SECRET if not name.startswith("role ")} <= names

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layer may import what, read from the source."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
IMPURE = ("ansible", "os", "subprocess", "socket", "time", "random", "pathlib", "shutil", "libvirt", "guestfs")
CONTROLLER = ("action", "cache", "inventory", "lookup", "filter", "callback", "plugin_utils")

# layer -> patterns of imports that it must not have (relative imports are made absolute below plugins.)
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "module_utils/_core": (*(rf"{name}(\..*)?" for name in IMPURE), r"plugins\.(?!module_utils\._core\b).*"),
    "module_utils/_drivers": (
        r"ansible(\..*)?",
        r"plugins\.(?!module_utils\.(_core|_drivers)\b).*",
        # One outside thing per file; running tools and taking locks is the ground that all of them stand on, and two
        # providers are two of libvirt's hosts.
        r"plugins\.module_utils\._drivers\.(?!process\b|locks\b|os_errors\b|libvirt\b).*",
    ),
    "module_utils/_module": (r"ansible\.(?!module_utils\b).*", r"plugins\.plugin_utils.*"),
    "modules": (r"ansible\.(?!module_utils\b).*", r"plugins\.plugin_utils.*", r"plugins\.modules\..*"),
    "plugin_utils": (r"plugins\.modules.*", r"plugins\.action.*"),
    **{layer: (r"plugins\.modules.*",) for layer in CONTROLLER if layer != "plugin_utils"},
}


def imports_of(path: Path) -> t.Iterator[str]:
    """Yield every import of a file by its full name; ours start with ``plugins.``."""
    package = ("plugins", *path.relative_to(PLUGINS).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            name = node.module or ""
            yield name.replace("ansible_collections.encompass.images.", "")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            prefix = ".".join((*base, *((node.module,) if node.module else ())))
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_only_what_it_may(layer: str) -> None:
    wrong = [
        f"{path.relative_to(PLUGINS)} imports {name}"
        for path in sorted((PLUGINS / layer).rglob("*.py"))
        for name in imports_of(path)
        if any(re.fullmatch(pattern, name) for pattern in FORBIDDEN[layer])
    ]
    assert not wrong


def test_one_place_decides_about_check_mode() -> None:
    modules = [PLUGINS / "modules", PLUGINS / "module_utils"]
    deciding = {
        path.name
        for root in modules
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.If, ast.IfExp)) and "check_mode" in ast.dump(node.test)
    }
    assert deciding <= {"runner.py"}

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the life cycle of a clone from its table, for the README.

    .venv/bin/python -m tests.tools.draw_lifecycle           # print the diagram
    .venv/bin/python -m tests.tools.draw_lifecycle --write   # put it into README.md

In README.md it stands between two marks, and tests/unit/test_readme.py compares it with the table.
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from plugins.module_utils._core.lifecycle import Transition

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- life cycle: drawn by tests/tools/draw_lifecycle.py -->"
END = "<!-- end of the life cycle -->"

# How a diagram in Mermaid's language writes both the beginning and the end.
NOTHING = "[*]"


def draw_lifecycle(transitions: t.Iterable[Transition], first: str) -> str:
    """Return the diagram as a Markdown block; ``first`` is the stage that a new clone has."""
    labels: dict[tuple[str, str], list[str]] = {}
    for transition in transitions:
        for source in transition.sources:
            target = source if transition.keeps_stage else transition.target
            arrow = (source.value, target.value if target else NOTHING)
            labels.setdefault(arrow, []).append(transition.event.replace("_", " "))
    arrows = [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in labels.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    {NOTHING} --> {first}: reserve", *arrows, "```"])


def replace_block(text: str, diagram: str) -> str:
    """Return the text with the diagram between the two marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    replaced, count = pattern.subn(lambda _found: f"{BEGIN}\n{diagram}\n{END}", text)
    if count != 1:
        raise SystemExit(f"{README.name}: the marks of the life cycle are there {count} times, not once")
    return replaced


def main(arguments: list[str]) -> None:
    """Print the diagram, or write it."""
    from plugins.module_utils._core.lifecycle import INITIAL, TRANSITIONS

    diagram = draw_lifecycle(TRANSITIONS, INITIAL.stage.value)
    if arguments == ["--write"]:
        README.write_text(replace_block(README.read_text(encoding="utf-8"), diagram), encoding="utf-8")
    else:
        print(diagram)


if __name__ == "__main__":
    main(sys.argv[1:])

# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden files: what is rendered is compared with what was once looked at and found good.

Set REGENERATE_GOLDEN=1 to write them anew, then read the difference before committing it.
"""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"


def list_cases(folder: str) -> list[str]:
    """Return the names of the cases in a folder of the data."""
    return sorted(path.stem for path in (DATA / folder).glob("*.json"))


def read_case(folder: str, name: str) -> dict[str, t.Any]:
    """Return a case's content."""
    content: dict[str, t.Any] = json.loads((DATA / folder / f"{name}.json").read_text(encoding="utf-8"))
    return content


def check_golden(folder: str, name: str, text: str) -> None:
    """Compare a text with its golden file, or write that anew when we are told to."""
    path = DATA / folder / name
    if os.environ.get("REGENERATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")

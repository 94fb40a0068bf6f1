# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand in for the get-pip script that ansible-test fetches from a server of its own: take pip from the package index.

ansible-test runs it in a new virtual environment with `pip==VERSION --no-setuptools --no-wheel` and pip's own options.
The wheel of that version lies beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    (wheel,) = Path(__file__).resolve().parent.glob("pip-*.whl")
    sys.path.insert(0, str(wheel))
    from pip._internal.cli.main import main as pip  # type: ignore[import-not-found,unused-ignore]

    arguments = [word for word in sys.argv[1:] if word not in {"--no-setuptools", "--no-wheel"}]
    raise SystemExit(pip(["install", "--upgrade", "--force-reinstall", *arguments]))


if __name__ == "__main__":
    main()

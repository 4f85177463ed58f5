# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /// script
# dependencies = ["nox>=2025.02.09", "antsibull-nox"]
# ///

"""The sessions of antsibull-nox (antsibull-nox.toml), and one for each part of a test run (tests/tools/parts.py)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import antsibull_nox
import nox

TOOLS = Path(__file__).parent / "tests" / "tools"
sys.path.insert(0, str(TOOLS))

import parts  # noqa: E402

antsibull_nox.load_antsibull_nox_toml()


def add(part: parts.Part) -> None:
    """A part is a session of its own, with the environment that the runner keeps for all of them."""

    def run(session: nox.Session) -> None:
        arguments = {"ARGS": shlex.join(session.posargs)}
        session.run(sys.executable, str(TOOLS), "test", part.name, external=True, env=arguments)

    run.__doc__ = part.action.__doc__
    nox.session(name=part.name, venv_backend="none", default=False, tags=[part.group])(run)


for part in parts.PARTS:
    # The part "nox" is those of antsibull-nox.
    if part.name != "nox":
        add(part)

if __name__ == "__main__":
    nox.main()

# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python interpreters of the machine: the one to build environments with, and those to check against."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from layout import Failure

OLDEST = (3, 11)
# What the newest ansible-core asks for on a control node.
NEWEST_CORE = (3, 12)
# Newest first, as far as the pinned ansible-core supports them on a control node.
CONTROLLER = ("3.13", "3.12", "3.11")
# What ansible-core's own checks can try the gateways' code with.
TARGETS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def probe(command: str, code: str) -> str | None:
    """Return what the interpreter prints for the code, or None where there is no such interpreter or it fails."""
    try:
        result = subprocess.run(
            [command, "-I", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _real(command: str) -> tuple[str, tuple[int, int]] | None:
    """Resolve a name, be it a version manager's shim, to the interpreter itself and its version."""
    code = "import sys; print(getattr(sys, '_base_executable', '') or sys.executable, *sys.version_info[:2])"
    answer = probe(command, code)
    if not answer:
        return None
    path, major, minor = answer.rsplit(" ", 2)
    return path, (int(major), int(minor))


def controller() -> Path:
    """Return the interpreter for the environments: the one that runs this, or the newest suitable one on PATH."""
    for command in (sys.executable, *(f"python{version}" for version in CONTROLLER)):
        found = _real(command)
        if found and found[1] >= OLDEST:
            return Path(found[0])
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise Failure(
        f"The control node needs Python 3.11 or newer, and {sys.executable} is {version}. "
        "Name another one: make PYTHON=/path/to/python3"
    )


def for_tests() -> Path:
    """Return the interpreter for the tests: another one than controller() where the newest ansible-core asks for it."""
    python = controller()
    there = targets()
    candidates = [python, *(there[version] for version in CONTROLLER if version in there)]
    return next(filter(newest_core, candidates), python)


def newest_core(python: Path) -> bool:
    """Whether it runs the newest ansible-core on a control node."""
    found = _real(str(python))
    return found is not None and found[1] >= NEWEST_CORE


@functools.lru_cache(maxsize=None)
def targets() -> dict[str, Path]:
    """Return the interpreters by version that can make virtual environments, shims resolved."""
    found: dict[str, Path] = {}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for version in TARGETS:
        for command in (f"python{version}", *sorted(map(str, versions.glob(f"{version}.*/bin/python{version}")))):
            real = _real(command)
            if real and probe(real[0], "import ensurepip, venv") is not None:
                found[version] = Path(real[0])
                break
    return found

# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments with pinned requirements, made once and kept until the requirements change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import packages
from interpreters import controller, for_tests, probe
from layout import CACHE, ROOT, VENVS, Failure, locked, prune, use

REQUIREMENTS = ROOT / "requirements"
# The environment of the tests.
TESTS = "test"
VERSION = "import sys; print(*sys.version_info[:2], sep='.')"
_in_use: list[IO[str]] = []


def environment(name: str, python: Path | None = None) -> Path:
    """Return the directory of the environment of requirements/<name>.txt, ready for use."""
    python = python or (for_tests() if name == TESTS else controller())
    packages.ensure(["start"], python)
    kind = f"{name}-{probe(str(python), VERSION)}"
    directory = VENVS / f"{kind}-{_digest(name)}"
    with locked(VENVS / f"{name}.lock"):
        _in_use.append(use(directory))
        if not _usable(directory):
            _create(directory, name, python)
    prune(VENVS, f"{kind}-*", directory)
    return directory


def core(directory: Path) -> str:
    """Tell which ansible-core an environment has: "2.21"."""
    found = next(directory.glob("lib/python*/site-packages/ansible_core-*.dist-info"))
    return ".".join(found.name.split("-")[1].split(".")[:2])


def variables(directory: Path) -> dict[str, str]:
    """Return this process's environment with the virtual one in front."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    env["VIRTUAL_ENV"] = str(directory)
    env["PATH"] = os.pathsep.join([str(directory / "bin"), packages.SEARCH])
    return env


def _usable(directory: Path) -> bool:
    """Complete, not moved since, and its interpreter is not gone since."""
    mark = directory / "complete"
    return mark.exists() and mark.read_text(encoding="utf-8") == str(directory) and (directory / "bin/python").exists()


def _digest(name: str) -> str:
    """Identify what goes in."""
    return hashlib.sha256((REQUIREMENTS / f"{name}.txt").read_bytes()).hexdigest()[:8]


def _create(directory: Path, name: str, python: Path) -> None:
    where = directory.relative_to(ROOT)
    print(f"Preparing the virtual environment {where} with {python} ...", file=sys.stderr, flush=True)
    if directory.exists():
        shutil.rmtree(directory)
    log = CACHE / "logs" / f"environment-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    with log.open("w") as out:
        _run([str(python), "-m", "venv", str(directory)], log, out.fileno())
        # Nothing but what was pinned gets in, and nothing is built here, with tools that no hash covers.
        install = [*pip, "install", "--progress-bar", "off", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
        _run([*install, "-r", str(REQUIREMENTS / f"{name}.txt")], log, out.fileno())
        _run([*pip, "check"], log, out.fileno())
    (directory / "complete").write_text(str(directory), encoding="utf-8")


def _run(command: list[str], log: Path, out: int) -> None:
    if subprocess.call(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out):
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise Failure(f"{tail}\nThis failed: {' '.join(command)}\nAll of its output is in {log}")

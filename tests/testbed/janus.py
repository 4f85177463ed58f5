# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real Janus controller for the gateways of the bed, which reach no package index: an archive of Python packages.

Test equipment, as a facility would have it; the collection installs no controller.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from .engine import run, say
from .images import SUITE

CONSTRAINTS = Path(__file__).resolve().parents[1] / "janus" / "constraints.txt"
# What the gateways have, whatever runs here; and what their libc takes.
_PYTHON = {"bookworm": "3.11"}[SUITE]
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux2014")
# Packages without a wheel on PyPI; they are Python alone.
_SOURCES = ("ansible-tower-cli", "virtfs")


def controller(cache: Path) -> Path:
    """Return the archive of the controller and what it needs, made once for each set of pins.

    Raises:
        BedError: It cannot be had.
    """
    pins = CONSTRAINTS.read_text()
    machine = platform.machine()
    recipe = "\n".join((_PYTHON, machine, *_PLATFORMS, *_SOURCES, pins))
    archive = cache / "janus" / f"gateway-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar.gz"
    if archive.exists():
        return archive
    say("installing the Janus controller for the gateways")
    began = time.monotonic()
    archive.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        wheels, packages, partial = (Path(scratch) / name for name in ("wheels", "packages", "partial"))
        sources = [line for line in pins.splitlines() if line.partition("==")[0] in _SOURCES]
        run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), *sources])
        run(
            [
                *(*pip, "install", "--no-compile", "--no-deps", "--target", str(packages)),
                *("--python-version", _PYTHON, "--implementation", "cp", "--only-binary=:all:"),
                *(f"--platform={name}_{machine}" for name in _PLATFORMS),
                *("--find-links", str(wheels), "--requirement", str(CONSTRAINTS)),
            ]
        )
        with tarfile.open(partial, "w:gz", compresslevel=1) as file:
            file.add(packages, "packages")
        for old in archive.parent.glob("gateway-*.tar.gz"):
            old.unlink()
        shutil.move(partial, archive)
    say(f"made {archive.name} in {time.monotonic() - began:.0f} s")
    return archive

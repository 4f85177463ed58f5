# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real Janus controller for the gateways of the bed, which reach no package index: an archive of Python packages.

Test equipment, as a facility would have it; the collection installs no controller.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from .engine import run, say
from .images import SUITE

REQUIREMENTS = Path(__file__).resolve().parents[1] / "janus" / "controller.txt"
BUILD = REQUIREMENTS.with_name("build.txt")
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
    pins = REQUIREMENTS.read_text()
    machine = platform.machine()
    recipe = "\n".join((_PYTHON, machine, *_PLATFORMS, *_SOURCES, pins, BUILD.read_text()))
    archive = cache / "janus" / f"gateway-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar.gz"
    if archive.exists():
        return archive
    say("installing the Janus controller for the gateways")
    began = time.monotonic()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        packages, partial = Path(scratch, "packages"), Path(scratch, "partial")
        _install(packages, Path(scratch), pins)
        with tarfile.open(partial, "w:gz", compresslevel=1) as file:
            file.add(packages, "packages")
        for old in archive.parent.glob("gateway-*.tar.gz"):
            old.unlink()
        shutil.move(partial, archive)
    say(f"made {archive.name} in {time.monotonic() - began:.0f} s")
    return archive


def _install(packages: Path, scratch: Path, pins: str) -> None:
    """Install into a directory for the gateways; nothing whose hash is not among the pins."""
    pinned = {block.partition("==")[0]: block for block in re.split(r"\n(?=\w)", pins) if "==" in block}
    run([sys.executable, "-m", "venv", str(scratch / "tools")])
    pip = [str(scratch / "tools" / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    hashed = ["--no-deps", "--require-hashes"]
    run([*pip, "install", *hashed, "--requirement", str(BUILD)])
    for name, wanted in (("sources", True), ("wheels", False)):
        chosen = [block for package, block in pinned.items() if (package in _SOURCES) == wanted]
        (scratch / f"{name}.txt").write_text("\n".join(chosen) + "\n")
    build = [*hashed, "--no-build-isolation", "--wheel-dir", str(scratch / "built")]
    run([*pip, "wheel", *build, "--requirement", str(scratch / "sources.txt")])
    target = ["install", "--no-compile", "--no-deps", "--target", str(packages)]
    target += ["--python-version", _PYTHON, "--implementation", "cp", "--only-binary=:all:"]
    target += [f"--platform={name}_{platform.machine()}" for name in _PLATFORMS]
    run([*pip, *target, "--require-hashes", "--requirement", str(scratch / "wheels.txt")])
    run([*pip, *target, *map(str, (scratch / "built").glob("*.whl"))])

# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of the machine: what packages.txt lists is there, or is installed where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from interpreters import probe
from layout import CACHE, ROOT, Failure, locked

LIST = ROOT / "tests" / "packages.txt"
# Programs of administrators are no part of every user's PATH.
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass
class Package:
    """One line of packages.txt."""

    name: str
    need: str
    probe: str
    reason: str

    def missing(self, python: Path) -> bool:
        kind, value = self.probe.split(":", 1)
        if kind == "command":
            return shutil.which(value, path=SEARCH) is None
        if kind == "module":
            return probe(str(python), f"import {value}") is None
        return not Path(value).exists()


def listed() -> list[Package]:
    """Read packages.txt."""
    packages = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            packages.append(Package(*line.split(None, 3)))
    return packages


def ensure(needs: Sequence[str], python: Path) -> None:
    """See to it that everything listed for these needs is there."""
    install(lacking(needs, python), python)


def lacking(needs: Sequence[str], python: Path) -> list[Package]:
    """Return what is listed for these needs and not there; an error if this user cannot install it."""
    missing = [package for package in listed() if package.need in needs and package.missing(python)]
    if missing:
        _prefix(missing)
    return missing


def install(missing: Sequence[Package], python: Path) -> None:
    """Install packages; another run may do so at the same time."""
    if not missing:
        return
    with locked(CACHE / "packages.lock"):
        _install([package for package in missing if package.missing(python)])
    left = [package for package in missing if package.missing(python)]
    if left:
        raise Failure(f"installed, but not to be found: {', '.join(f'{one.name} ({one.probe})' for one in left)}")


def _prefix(missing: Sequence[Package]) -> list[str]:
    """Return what goes before apt-get for this user to install packages, or say who can."""
    what, command = _described(missing)
    if shutil.which("apt-get") is None:
        raise Failure(f"This machine lacks (by their names in Debian):\n{what}\nPlease install them.")
    if os.geteuid() == 0:
        return []
    if subprocess.call(["sudo", "-n", "true"], stderr=subprocess.DEVNULL) if shutil.which("sudo") else True:
        raise Failure(f"This machine lacks:\n{what}\nAn administrator installs them with: {command}")
    return ["sudo", "-n"]


def _described(missing: Sequence[Package]) -> tuple[str, str]:
    """Return a list of packages for people, and the command that installs them."""
    what = "\n".join(f"  {package.name:<22}{package.reason}" for package in missing)
    return what, f"apt-get install {' '.join(package.name for package in missing)}"


def _install(missing: Sequence[Package]) -> None:
    if not missing:
        return
    prefix = _prefix(missing)
    what, command = _described(missing)
    names = [package.name for package in missing]
    print(f"This machine lacks, and gets from apt-get:\n{what}", file=sys.stderr, flush=True)
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", "--no-install-recommends", *names]
    log = CACHE / "logs" / "apt-get.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        subprocess.call([*apt, "update"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        code = subprocess.call(install, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if code:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise Failure(f"{tail}\n{command} failed, see {log}")

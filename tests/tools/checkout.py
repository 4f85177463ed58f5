# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project's files: which they are, a digest of them, and copies of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterable

from layout import COLLECTION, ROOT

# Where there is no git to ask: what is no part of the project.
_FOREIGN = {".git", ".venv", ".cache", "dist", "output", "__pycache__"}


def files() -> list[Path]:
    """List the tracked files and the untracked ones that are not ignored, relative to the root."""
    # The owner of the files may be someone else: root looks at a user's checkout.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        names = _walk()
    else:
        names = sorted(Path(os.fsdecode(name)) for name in found.stdout.split(b"\0") if name)
    # Deleted but still tracked files are listed, too.
    return [name for name in names if os.path.lexists(ROOT / name)]


def _walk() -> list[Path]:
    names = []
    for directory, inner, here in os.walk(ROOT):
        inner[:] = [name for name in inner if name not in _FOREIGN and not name.endswith("_cache")]
        names += [Path(directory, name).relative_to(ROOT) for name in here if not name.endswith(".pyc")]
    return sorted(names)


def digest(names: Iterable[Path]) -> str:
    """Identify the content of these files."""
    result = hashlib.sha256()
    for name in names:
        path = ROOT / name
        result.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0".encode())
        result.update(hashlib.sha256(path.read_bytes()).digest())
    return result.hexdigest()[:12]


def copy(destination: Path, names: Iterable[Path]) -> Path:
    """Copy these files below destination as a collection and return its directory."""
    collection = destination / COLLECTION
    for name in names:
        target = collection / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(str(ROOT / name), str(target), follow_symlinks=False)
    return collection

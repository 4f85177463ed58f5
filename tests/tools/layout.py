# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are in a checkout, and what several runs at once share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO, Iterator

ROOT = Path(__file__).resolve().parents[2]
VENVS = ROOT / ".venv"
CACHE = ROOT / ".cache"
DIST = ROOT / "dist"
COLLECTION = Path("ansible_collections", "scistream", "gateway")


class Failure(Exception):
    """Something that the user is told in one message, without a traceback."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock named by path; other runs wait for it."""
    with _lock_file(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def use(directory: Path) -> IO[str]:
    """Mark a directory as in use for as long as the returned file is open."""
    file = _lock_file(_use_lock(directory))
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def prune(directory: Path, pattern: str, keep: Path) -> None:
    """Remove the directories that match, but keep and those that another run uses."""
    for old in directory.glob(pattern):
        if old == keep or not old.is_dir():
            continue
        with _lock_file(_use_lock(old)) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(old, ignore_errors=True)
            _use_lock(old).unlink()


def _use_lock(directory: Path) -> Path:
    return directory.with_name(directory.name + ".lock")


def _lock_file(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o644))

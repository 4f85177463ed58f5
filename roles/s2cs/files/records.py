# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a supervisor writes to the directory of a session: its log, whose size is limited, and its state.

On a full disk, as little as possible is lost.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

STATE_FILE = "supervisor.json"
# Room for the longest state: replacing it in place takes no block of a disk that is full.
STATE_BYTES = 1024
LOG_FILE, OLDER, BEFORE = "log", "log.1", "log.before"
LOG_LIMIT = 8 * 1024 * 1024


class Log:
    """The file `log`: the output of the command and of the supervisor, at most three times the limit."""

    def __init__(self) -> None:
        self.file = -1
        self.size = 0
        # Earlier output does not explain what happens now.
        with suppress(OSError):
            os.unlink(OLDER)
        self.begin(BEFORE)

    def begin(self, kept: str = OLDER) -> None:
        """Begin a new file, and keep the previous one."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        with suppress(OSError):
            os.rename(LOG_FILE, kept)
        with suppress(OSError):
            self.file = os.open(LOG_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self.size = os.fstat(self.file).st_size

    def write(self, text: bytes) -> None:
        """Append output. On a full disk, output is lost."""
        with suppress(OSError):
            self.size += os.write(self.file, text)
        if self.size > LOG_LIMIT or self.file < 0:
            self.begin()

    def say(self, text: str) -> None:
        """Write a line of the supervisor."""
        self.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} supervisor: {text}\n".encode("utf-8", "replace"))


def read_small(path: str) -> bytes:
    """Return a file of at most a page, in fewer steps than a file object takes: each session reads several."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def write_state(text: str) -> None:
    """Replace the state completely, or overwrite the previous one if the disk has no space for both."""
    padded = (text.ljust(STATE_BYTES - 1) + "\n").encode("ascii")
    temporary = f"{STATE_FILE}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            if os.write(descriptor, padded) != len(padded):
                raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            os.close(descriptor)
        os.rename(temporary, STATE_FILE)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        descriptor = os.open(STATE_FILE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, padded, 0)
        finally:
            os.close(descriptor)


def measure() -> int:
    """Return the disk space that the directory `run` uses, in bytes."""
    total, waiting = 0, ["run"]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    # Empty files use space as well.
                    total += max(512, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total

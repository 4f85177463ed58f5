# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor keeps in the directory of a session: its log, which cannot grow, and its state.

A full disk takes away what it must, and nothing else.
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
    """The file `log`: what the command and the supervisor write, never more than three times the limit."""

    def __init__(self) -> None:
        self.file = -1
        self.size = 0
        # What was written before this supervisor was started is no reason for what happens now.
        with suppress(OSError):
            os.unlink(OLDER)
        self.begin(BEFORE)

    def begin(self, kept: str = OLDER) -> None:
        """Begin a new file, and keep the one that there is."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        with suppress(OSError):
            os.rename(LOG_FILE, kept)
        with suppress(OSError):
            self.file = os.open(LOG_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self.size = os.fstat(self.file).st_size

    def write(self, text: bytes) -> None:
        """Append; what a full disk does not take is lost."""
        with suppress(OSError):
            self.size += os.write(self.file, text)
        if self.size > LOG_LIMIT or self.file < 0:
            self.begin()

    def say(self, text: str) -> None:
        """Write a line of the supervisor's own."""
        self.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} supervisor: {text}\n".encode("utf-8", "replace"))


def write_state(text: str) -> None:
    """Write the state as a whole, or in place of the one before where the disk has no room for both."""
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
    """Return how many bytes of the disk the directory `run` takes."""
    total, waiting = 0, ["run"]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    # What is only a name takes room as well.
                    total += max(512, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total

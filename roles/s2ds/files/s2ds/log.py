# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log lines on standard error that never block the forwarder.

A reader of standard error that stops reading must not stop the streams. Lines that cannot be written immediately are
dropped, and their number is logged as soon as possible.
"""

from __future__ import annotations

import os
import socket
import stat
import time

ERRORS_FD = 2
MAX_LINE_LENGTH = 2000
REFUSALS = 10  # in one second


class Log:
    def __init__(self) -> None:
        self._fd = ERRORS_FD
        self._socket: socket.socket | None = None
        self._dropped = 0
        try:
            kind = os.fstat(ERRORS_FD).st_mode
            if stat.S_ISSOCK(kind):
                self._socket = socket.socket(fileno=os.dup(ERRORS_FD))
            elif stat.S_ISFIFO(kind):
                # A separate open file, because O_NONBLOCK on the inherited one would affect the parent as well.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._fd = os.open(f"/proc/self/fd/{ERRORS_FD}", flags)
        except OSError:
            pass

    def line(self, text: str) -> None:
        if self._dropped and self._write(f"{self._dropped} lines dropped: the log is not being read"):
            self._dropped = 0
        if self._dropped or not self._write(text):
            self._dropped += 1

    def unexpected(self) -> None:
        """Log the exception that is being handled."""
        # Imported here, because it needs more memory than most of the forwarder.
        import traceback

        self.line("unexpected: " + traceback.format_exc().replace("\n", " | "))

    def _write(self, text: str) -> bool:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = f"{stamp}.{int(now * 1000) % 1000:03d}Z {text[:MAX_LINE_LENGTH]}\n".encode()
        try:
            if self._socket is not None:
                self._socket.send(line, socket.MSG_DONTWAIT)
            else:
                os.write(self._fd, line)
        except BlockingIOError:
            return False
        except OSError:
            pass  # Standard error is gone. The streams continue without a log.
        return True


class Refusals:
    """Log lines about refused connections, limited so that repeated attempts cannot fill the disk."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._past: list[float] = []
        self._silent = 0

    def line(self, text: str, what: str = "refused") -> None:
        now = time.monotonic()
        self._past = [moment for moment in self._past if now - moment < 1]
        if len(self._past) >= REFUSALS:
            self._silent += 1
            return
        self._past.append(now)
        more = f" ({self._silent} more were not logged)" if self._silent else ""
        self._silent = 0
        self._log.line(f"{what} {text}{more}")

# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipes for splicing, which connections only hold while they contain bytes.

The kernel limits the pages that all pipes of an unprivileged user may hold (fs.pipe-user-pages-soft). Beyond that limit
it refuses large pipes. Therefore connections share pipes, smaller pipes are used if large ones are refused, and pipes
that have not been used for some seconds are closed.
"""

from __future__ import annotations

import fcntl
import os

SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which is only defined since Python 3.10
STEPS = (262144, 65536)
KEEP = 2
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Pipe:
    __slots__ = ("input", "output", "size", "slots")

    def __init__(self, wanted: int) -> None:
        self.output, self.input = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        refusal = OSError()
        for size in (wanted, *(step for step in STEPS if step < wanted)):
            try:
                self.size = fcntl.fcntl(self.input, SET_PIPE_SIZE, size)
                break
            except OSError as error:
                refusal = error
        else:
            # Beyond the limit, only pipes of 8 KiB are available, and copying is faster.
            self.close()
            raise refusal
        # What it holds, however small the pieces are.
        self.slots = self.size // PAGE_SIZE

    def close(self) -> None:
        os.close(self.output)
        os.close(self.input)


class PipePool:
    def __init__(self, size: int) -> None:
        self.size = size
        self._idle: list[Pipe] = []
        self._unused = 0

    def take(self) -> Pipe:
        if not self._idle:
            return Pipe(self.size)
        pipe = self._idle.pop()
        self._unused = min(self._unused, len(self._idle))
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Return an empty pipe to the pool. A pipe that is too small is closed, as the next one may be larger."""
        if len(self._idle) >= KEEP or pipe.size < self.size:
            pipe.close()
            return
        self._idle.append(pipe)

    def resize(self, size: int) -> None:
        if size != self.size:
            self.size = size
            self._close(len(self._idle))

    def trim(self) -> None:
        """Close the pipes that have not been used since the last call."""
        self._close(self._unused)
        self._unused = len(self._idle)

    def _close(self, count: int) -> None:
        for pipe in self._idle[:count]:
            pipe.close()
        del self._idle[:count]
